//! The rogue itself: a listener with a changeable face, a script of answers, and a record of what agents said.
//!
//! It owns a runtime of its own, so that a test is plain code that waits for conditions.

use std::collections::BTreeMap;
use std::net::{Shutdown, SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::Server;
use windlass_certs::join::JoinToken;
use windlass_core::Digest;
use windlass_core::observation::Observation;
use windlass_proto::limits::MAX_MESSAGE;
use windlass_proto::pb;
use windlass_proto::pb::agent_link_server::AgentLinkServer;
use windlass_proto::pb::connect_response::Message as Spoken;
use windlass_proto::pb::enrolment_server::EnrolmentServer;

use super::face::Face;
use windlass_testkit::now;

use super::keys::{Keys, fleet, host};
use super::service::Service;
use crate::wait;

const HANDSHAKE: Duration = Duration::from_secs(5);
const CONNECTED: Duration = Duration::from_secs(15);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A coordinator that says what a test wants.
#[derive(Debug)]
pub struct Rogue {
    shared: Arc<Shared>,
    address: SocketAddr,
    _runtime: Runtime,
}

/// The rogue's answers.
#[derive(Debug, Default)]
pub struct Script {
    /// Versions of the trust document, the first first.
    pub trust: Vec<Vec<u8>>,
    /// The trust version it says it has, if that is not how many there are.
    pub trust_version: Option<u64>,
    /// Answers to the digests that agents ask for.
    pub releases: BTreeMap<String, Vec<u8>>,
}

/// The messages that it heard.
#[derive(Debug, Default)]
pub struct Said {
    /// The first message of each stream.
    pub hellos: Vec<pb::Hello>,
    /// The newest observation of the newest stream.
    pub observation: Option<Observation>,
    /// Receipts.
    pub receipts: Vec<Vec<u8>>,
    /// Heartbeats.
    pub heartbeats: u64,
    /// Digests that were asked for.
    pub fetched: Vec<String>,
    /// The number of times that trust documents were asked for.
    pub trust_asked: u64,
    /// The ends of handshakes: the other side's complaint, or none.
    pub handshakes: Vec<Option<String>>,
    /// The way to the agent, and which stream it is; none while there is none.
    pub(super) live: Option<(usize, Out)>,
}

/// The coordinator's half of a stream.
pub(super) type Out = mpsc::Sender<Result<pb::ConnectResponse, Status>>;

/// The state that the tasks of the rogue share with the test.
#[derive(Debug)]
pub(super) struct Shared {
    script: Mutex<Script>,
    said: Mutex<Said>,
    face: Mutex<Arc<Face>>,
    live: Mutex<Vec<StdStream>>,
    pub(super) handle: Handle,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Script {
    pub(super) fn announced(&self) -> u64 {
        self.trust_version.unwrap_or(self.trust.len() as u64)
    }
}

impl Shared {
    pub(super) fn script(&self) -> MutexGuard<'_, Script> {
        lock(&self.script)
    }

    pub(super) fn said(&self) -> MutexGuard<'_, Said> {
        lock(&self.said)
    }
}

impl Rogue {
    /// Listens on `ip`, with an honest face and a port of the kernel's choice.
    ///
    /// # Panics
    /// If that address cannot be listened on.
    pub fn start(ip: &str, keys: Arc<Keys>) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let listener = StdListener::bind((ip, 0)).expect("the lab's gateway can be listened on");
        let address = listener.local_addr().expect("it is bound");
        listener.set_nonblocking(true).expect("a socket");
        let shared = Arc::new(Shared {
            script: Mutex::default(),
            said: Mutex::default(),
            face: Mutex::new(Arc::new(Face::coordinator(&keys.ca, now()))),
            live: Mutex::default(),
            handle: runtime.handle().clone(),
        });
        let (ready, incoming) = mpsc::channel(16);
        runtime.spawn(accept(listener, shared.clone(), ready));
        let service = Service { keys, shared: shared.clone() };
        let link = AgentLinkServer::new(service.clone()).max_decoding_message_size(4 * MAX_MESSAGE);
        let server = Server::builder().add_service(link).add_service(EnrolmentServer::new(service));
        runtime.spawn(async move {
            let ended = server.serve_with_incoming(ReceiverStream::new(incoming)).await;
            drop(ended); // it ends with the runtime
        });
        Self { shared, address, _runtime: runtime }
    }

    /// The address at which it listens.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// A join token for `name`, with the pins of an honest operator.
    ///
    /// # Panics
    /// Without randomness.
    pub fn token(&self, keys: &Keys, name: &str, trust: Digest) -> String {
        let token = JoinToken::new(fleet(), host(name), keys.ca.fingerprint(), trust);
        token.expect("the kernel has randomness").to_string()
    }

    /// Changes its answers from now on.
    pub fn script(&self, edit: impl FnOnce(&mut Script)) {
        edit(&mut self.shared.script());
    }

    /// The messages that it heard.
    pub fn said<T>(&self, look: impl FnOnce(&Said) -> T) -> T {
        look(&self.shared.said())
    }

    /// Shows another face from the next handshake on, and cuts the connections there are.
    pub fn show(&self, face: Face) {
        *lock(&self.shared.face) = Arc::new(face);
        self.cut();
    }

    /// Cuts every connection.
    pub fn cut(&self) {
        {
            let mut said = self.shared.said();
            said.live = None;
            said.observation = None;
        }
        for connection in lock(&self.shared.live).drain(..) {
            let _ = connection.shutdown(Shutdown::Both); // it may have ended by itself
        }
    }

    /// Says something on the newest stream.
    ///
    /// # Panics
    /// If no agent comes.
    #[track_caller]
    pub fn say(&self, message: Spoken) {
        let out = within(CONNECTED, || {
            let live = self.shared.said().live.clone().filter(|(_, out)| !out.is_closed());
            live.map(|(_, out)| out).ok_or_else(|| "no agent is linked to the rogue".to_owned())
        });
        let out = out.expect("an agent comes");
        let _ = out.blocking_send(Ok(pb::ConnectResponse { message: Some(message) })); // a link may break
    }

    /// Offers a plan.
    #[track_caller]
    pub fn offer(&self, envelope: &[u8]) {
        self.say(Spoken::Plan(pb::PlanOffer { envelope: envelope.to_vec().into() }));
    }

    /// Waits until the newest observation is as `look` wants it. `Err` says what it was instead.
    pub fn observed<T>(
        &self,
        limit: Duration,
        look: impl Fn(&Observation) -> Result<T, String>,
    ) -> Result<T, String> {
        within(limit, || match &self.shared.said().observation {
            Some(observation) => look(observation),
            None => Err("nothing observed".to_owned()),
        })
    }
}

/// Looks again and again until `look` answers with `Ok`, or `limit` has passed before the last look: then its `Err`.
pub fn within<T>(limit: Duration, mut look: impl FnMut() -> Result<T, String>) -> Result<T, String> {
    let begun_at = Instant::now();
    loop {
        let looked_at = Instant::now();
        match look() {
            Err(_) if looked_at.duration_since(begun_at) < limit => wait::pause(LOOK_EVERY),
            looked => return looked,
        }
    }
}

async fn accept(
    listener: StdListener,
    shared: Arc<Shared>,
    ready: mpsc::Sender<std::io::Result<TlsStream<TcpStream>>>,
) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    while let Ok((tcp, _)) = listener.accept().await {
        let (shared, ready) = (shared.clone(), ready.clone());
        shared.handle.clone().spawn(async move {
            let Some(tcp) = register(&shared, tcp) else { return };
            let face = lock(&shared.face).clone();
            let Ok(config) = face.config() else { return };
            let shaken = timeout(HANDSHAKE, TlsAcceptor::from(config).accept(tcp)).await;
            let complaint = match &shaken {
                Ok(Ok(_)) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some("timed out".to_owned()),
            };
            shared.said().handshakes.push(complaint);
            if let Ok(Ok(stream)) = shaken {
                drop(ready.send(Ok(stream)).await); // the server may have ended
            }
        });
    }
}

/// Keeps a handle on the connection, so that it can be cut.
fn register(shared: &Shared, tcp: TcpStream) -> Option<TcpStream> {
    let tcp = tcp.into_std().ok()?;
    lock(&shared.live).push(tcp.try_clone().ok()?);
    TcpStream::from_std(tcp).ok()
}
