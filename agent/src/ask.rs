//! Warm-up requests and smoke tests: sent to an instance as its release says, with the release's own deadlines. Whether an
//! answer is the wanted one is [`windlass_core::release::Expect`]'s to say.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout, timeout_at};
use windlass_core::Span;
use windlass_core::observation::SmokeFailure;
use windlass_core::reconcile::{Question, Tested, VerifiedRelease};
use windlass_core::release::{Answer, MAX_ANSWER, Request, Smoke, WarmUp, excerpt};

use crate::exchange;

/// An instance, as it is asked.
#[derive(Debug, Clone)]
pub(crate) struct Instance {
    /// Address at which its ports are published.
    pub(crate) address: String,
    /// Its ports on the host, by name.
    pub(crate) ports: BTreeMap<String, u16>,
    /// Its release.
    pub(crate) release: Arc<VerifiedRelease>,
}

/// The result of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Done {
    /// The warm-up request at this place was sent.
    Warmed(usize),
    /// The smoke test at this place has its verdict.
    Tested(usize, Tested),
}

/// Asks one question to its end. `None` if the release has no such request.
pub(crate) async fn ask(instance: &Instance, question: Question) -> Option<Done> {
    let spec = &instance.release.release.spec;
    match question {
        Question::WarmUp(place) => {
            warm_up(instance, spec.warm_up.get(place)?).await;
            Some(Done::Warmed(place))
        }
        Question::Smoke(place) => Some(Done::Tested(place, smoke(instance, spec.smoke.get(place)?).await)),
    }
}

/// A pause after a request that was not answered: a service that refuses them is not flooded.
const PAUSE: Duration = Duration::from_millis(50);

async fn warm_up(instance: &Instance, warm_up: &WarmUp) {
    let until = Instant::now() + warm_up.timeout.duration();
    let (mut sent, mut answered) = (0_u32, 0_u32);
    while sent < warm_up.times {
        match timeout_at(until, send(instance, &warm_up.request)).await {
            Ok(Ok(_)) => answered += 1,
            Ok(Err(_)) => sleep(PAUSE).await,
            Err(_) => break,
        }
        sent += 1;
    }
    tracing::info!(request = %warm_up.request, times = warm_up.times, sent, answered, "warmed up");
}

async fn smoke(instance: &Instance, smoke: &Smoke) -> Tested {
    let tries = smoke.tries.max(1);
    let mut tried = 0;
    loop {
        tried += 1;
        match attempt(instance, smoke).await {
            Ok(()) => return Tested::Passed,
            Err(failure) if tried >= tries => {
                tracing::warn!(%failure, "a smoke test failed");
                return Tested::Failed(Box::new(SmokeFailure { tries: tried, ..failure }));
            }
            Err(failure) => tracing::info!(%failure, tried, "a smoke test is tried again"),
        }
        sleep(smoke.every.duration()).await;
    }
}

async fn attempt(instance: &Instance, smoke: &Smoke) -> Result<(), SmokeFailure> {
    let begun = Instant::now();
    let answer = timeout(smoke.timeout.duration(), send(instance, &smoke.request)).await;
    let took = |time: Duration| Span::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    let failure = |wanted: String, got: String| SmokeFailure {
        asked: smoke.request.to_string(),
        wanted,
        got,
        status: None,
        body: String::new(),
        took: took(begun.elapsed()),
        tries: 1,
    };
    match answer {
        Ok(Ok(answer)) => smoke.expect.compare(&answer).map_err(|difference| SmokeFailure {
            status: Some(answer.status),
            body: excerpt(&answer.body),
            took: took(answer.took),
            ..failure(difference.wanted, difference.got)
        }),
        Ok(Err(why)) => Err(failure("an answer".to_owned(), why)),
        Err(_) => Err(failure(format!("an answer within {}", smoke.timeout), "none".to_owned())),
    }
}

/// Sends a request once; the failure in words.
async fn send(instance: &Instance, request: &Request) -> Result<Answer, String> {
    let port = *instance.ports.get(&request.port).ok_or_else(|| format!("no port `{}`", request.port))?;
    let ask = exchange::Ask {
        host: &instance.address,
        port,
        own: true,
        authority: &instance.address,
        method: &request.method,
        path: &request.path,
        headers: &request.headers,
        body: &request.body,
        tls: request.tls.as_ref(),
        most: MAX_ANSWER,
    };
    exchange::ask(&ask).await.map_err(|(why, _)| why)
}

#[cfg(test)]
mod tests;
