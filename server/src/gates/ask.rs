//! One question to one provider: no redirects, no proxy, a deadline for all of it, and no more bytes than a gate reads.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, ClientBuilder, Response, StatusCode, Url, redirect};
use windlass_core::Timestamp;
use windlass_core::gate::{Answer, AnswerFault, MAX_ANSWER, Said, kept_json, read_json, read_prometheus};
use windlass_core::release::GateAsk;
use windlass_core::rollout::Question;

use super::Networks;

/// The longest time for a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// Asks providers.
pub(crate) struct Asker {
    networks: Arc<Networks>,
    /// For `http`: knows no certificate, and so needs none of the host's.
    plain: Client,
    /// For `https`, made when the first question needs it.
    secure: OnceLock<Client>,
}

/// The address does not stand in the networks that may be asked.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct NotAllowed(String);

/// Looks names up, and leaves out addresses that may not be asked.
struct Resolver(Arc<Networks>);

/// The reason for which there is no answer, and the bytes that say so, if any.
struct NoAnswer {
    said: Said,
    bytes: Vec<u8>,
}

fn no_answer(kind: AnswerFault, detail: impl Into<String>) -> NoAnswer {
    NoAnswer { said: Said::fault(kind, detail), bytes: Vec::new() }
}

impl Asker {
    /// One that may reach these networks beside public addresses.
    ///
    /// # Errors
    /// No client can be made.
    pub(crate) fn new(networks: Networks) -> Result<Self, reqwest::Error> {
        // reqwest takes the process-wide provider; a second call finds the first one's, which is the same.
        drop(rustls::crypto::ring::default_provider().install_default());
        let networks = Arc::new(networks);
        let plain = builder(&networks).tls_certs_only([]).build()?;
        Ok(Self { networks, plain, secure: OnceLock::new() })
    }

    /// Asks a question at `now`. There is always an answer within its timeout, if only one that says why there is none.
    pub(crate) async fn ask(&self, question: &Question, now: Timestamp) -> Answer {
        let began = Instant::now();
        let timeout = question.ask.timeout().map_or(CONNECT, |timeout| timeout.duration());
        let said = match tokio::time::timeout(timeout, self.bytes(question, now)).await {
            Err(_) => Err(no_answer(AnswerFault::TimedOut, format!("not within {} ms", timeout.as_millis()))),
            Ok(answer) => answer,
        };
        let (said, bytes) = match said {
            Ok(bytes) => (read(question, &bytes, now), kept(question, bytes, now)),
            Err(NoAnswer { said, bytes }) => (said, bytes),
        };
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (sent, raw) = (sent(question), String::new());
        Answer { sent, at: now, took_ms, said, raw, cut: false }.with_raw(&bytes)
    }

    async fn bytes(&self, question: &Question, now: Timestamp) -> Result<Vec<u8>, NoAnswer> {
        let Some(url) = url(question) else {
            return Err(no_answer(AnswerFault::NotAllowed, "it is no address of a server"));
        };
        // A name is looked up by the resolver, which checks; an address in digits is never looked up.
        if let Some(address) = literal(&url) {
            self.networks.check(address).map_err(|why| no_answer(AnswerFault::NotAllowed, why))?;
        }
        let client = self.client(&url).map_err(|error| unreachable(&error))?;
        let response = client.get(url).send().await.map_err(|error| unreachable(&error))?;
        let status = response.status();
        let bytes = body(response).await?;
        if status == StatusCode::OK {
            return Ok(bytes);
        }
        // Prometheus says what is wrong with a query together with a status of its own.
        if matches!(question.ask, GateAsk::Prometheus { .. }) {
            let said = read_prometheus(&bytes, question.window, now);
            if matches!(said, Said::Fault { kind: AnswerFault::QueryFailed, .. }) {
                return Err(NoAnswer { said, bytes });
            }
        }
        Err(no_answer(AnswerFault::Status, format!("status {status}")))
    }

    fn client(&self, url: &Url) -> Result<&Client, reqwest::Error> {
        if url.scheme() == "http" {
            return Ok(&self.plain);
        }
        if let Some(secure) = self.secure.get() {
            return Ok(secure);
        }
        let secure = builder(&self.networks).https_only(true).build()?;
        Ok(self.secure.get_or_init(|| secure))
    }
}

fn builder(networks: &Arc<Networks>) -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("windlass/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .no_proxy()
        .connect_timeout(CONNECT)
        // A connection that is kept would be one to an address that nobody checks again.
        .pool_max_idle_per_host(0)
        .dns_resolver(Resolver(networks.clone()))
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let networks = self.0.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = networks.of(found).map_err(NotAllowed)?;
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// The text that is sent, with its placeholders filled in.
fn sent(question: &Question) -> String {
    match &question.ask {
        GateAsk::Prometheus { query, .. } => question.words.query(query),
        GateAsk::Http { url, .. } => question.words.url(url),
        GateAsk::ErrorRate { .. }
        | GateAsk::P95 { .. }
        | GateAsk::Crashes { .. }
        | GateAsk::Memory { .. }
        | GateAsk::Cpu { .. }
        | GateAsk::GpuMemory { .. }
        | GateAsk::GpuErrors { .. } => String::new(),
    }
}

fn url(question: &Question) -> Option<Url> {
    let sent = sent(question);
    let url = if let GateAsk::Prometheus { url, .. } = &question.ask {
        let mut url = Url::parse(&format!("{}/api/v1/query", url.trim_end_matches('/'))).ok()?;
        let at = question.key.until.to_string();
        url.query_pairs_mut().append_pair("query", &sent).append_pair("time", &at);
        url
    } else {
        Url::parse(&sent).ok()?
    };
    let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
    (is_web && url.username().is_empty() && url.password().is_none()).then_some(url)
}

/// The address that an URL says in digits, however they are written.
pub(super) fn literal(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn read(question: &Question, bytes: &[u8], now: Timestamp) -> Said {
    match &question.ask {
        GateAsk::Prometheus { .. } => read_prometheus(bytes, question.window, now),
        GateAsk::Http { pointer, .. } => read_json(bytes, pointer.as_deref()),
        GateAsk::ErrorRate { .. }
        | GateAsk::P95 { .. }
        | GateAsk::Crashes { .. }
        | GateAsk::Memory { .. }
        | GateAsk::Cpu { .. }
        | GateAsk::GpuMemory { .. }
        | GateAsk::GpuErrors { .. } => Said::fault(AnswerFault::NotAsked, "no provider answers it"),
    }
}

/// The bytes of an answer that are stored: none of a page that is not what the gate asks for.
fn kept(question: &Question, bytes: Vec<u8>, now: Timestamp) -> Vec<u8> {
    match &question.ask {
        GateAsk::Http { pointer, .. } => kept_json(&bytes, pointer.as_deref()),
        _ if matches!(read(question, &bytes, now), Said::Fault { kind: AnswerFault::NotJson, .. }) => {
            Vec::new()
        }
        _ => bytes,
    }
}

/// The whole body, unless it is longer than any answer.
async fn body(mut response: Response) -> Result<Vec<u8>, NoAnswer> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| unreachable(&error))? {
        if bytes.len() + chunk.len() > MAX_ANSWER {
            return Err(no_answer(AnswerFault::TooLarge, ""));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// The reason for which there was no response, from the error's innermost cause.
fn unreachable(error: &reqwest::Error) -> NoAnswer {
    let mut cause: &dyn Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
        if cause.is::<NotAllowed>() {
            return no_answer(AnswerFault::NotAllowed, cause.to_string());
        }
    }
    let kind = if error.is_timeout() { AnswerFault::TimedOut } else { AnswerFault::NoConnection };
    no_answer(kind, cause.to_string())
}
