//! A fleet of one coordinator on loopback, and members to connect to it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::service::InterceptorLayer;
use tonic::transport::{Channel, Server};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use windlass_certs::ca::{CertificateAuthority, Leaf};
use windlass_certs::csr::CertifiedIdentity;
use windlass_certs::identity::{Grant, Identity};
use windlass_certs::revocation::Revocations;
use windlass_certs::tls::{
    AcceptOptions, ClientTls, ConnectError, ConnectInfo, ConnectOptions, HandshakeStats, ServerTls, connect,
    listen,
};
use windlass_core::FleetId;
pub(crate) use windlass_testkit::now;

pub(crate) fn demo() -> FleetId {
    "demo".parse().unwrap()
}

pub(crate) fn authority() -> CertificateAuthority {
    CertificateAuthority::generate(demo(), now()).unwrap()
}

pub(crate) fn agent(generation: u64) -> Leaf {
    Leaf::agent(Identity::agent(demo(), "web-1".parse().unwrap()), generation)
}

pub(crate) fn operator() -> Leaf {
    Leaf::operator(Identity::operator(demo(), &"ada".parse().unwrap()), Grant::admin(), 1)
}

pub(crate) fn coordinator(generation: u64) -> Leaf {
    Leaf::coordinator(Identity::coordinator(demo(), "main".parse().unwrap()), generation)
}

/// A coordinator that serves the standard health service.
pub(crate) struct Fleet {
    pub(crate) ca: CertificateAuthority,
    pub(crate) tls: ServerTls,
    pub(crate) revocations: Revocations,
    pub(crate) address: SocketAddr,
    pub(crate) stats: Arc<HandshakeStats>,
    /// The connections that handlers saw, one per RPC.
    pub(crate) seen: mpsc::UnboundedReceiver<ConnectInfo>,
    _tasks: JoinSet<()>,
}

impl Fleet {
    pub(crate) fn start() -> Self {
        Self::start_with(authority(), AcceptOptions::default())
    }

    pub(crate) fn start_with(ca: CertificateAuthority, options: AcceptOptions) -> Self {
        let own = ca.issue_new(&coordinator(1), now()).unwrap();
        let revocations = Revocations::new();
        let tls = ServerTls::new(&own, &[ca.certificate().clone()], revocations.clone()).unwrap();
        let (acceptor, incoming) = listen("127.0.0.1:0".parse().unwrap(), tls.clone(), options).unwrap();
        let (address, stats) = (acceptor.local_addr().unwrap(), acceptor.stats());
        let (sender, seen) = mpsc::unbounded_channel();
        let watch = InterceptorLayer::new(move |request: tonic::Request<()>| {
            let info = request.extensions().get::<ConnectInfo>().expect("set by tonic").clone();
            drop(sender.send(info));
            Ok(request)
        });
        let (_, health) = tonic_health::server::health_reporter();
        let mut tasks = JoinSet::new();
        tasks.spawn(acceptor.run(CancellationToken::new()));
        tasks.spawn(async move {
            let router = Server::builder().layer(watch).add_service(health);
            drop(router.serve_with_incoming(incoming).await);
        });
        Self { ca, tls, revocations, address, stats, seen, _tasks: tasks }
    }

    pub(crate) fn member(&self, leaf: &Leaf) -> CertifiedIdentity {
        self.ca.issue_new(leaf, now()).unwrap()
    }

    pub(crate) fn client(&self, identity: &CertifiedIdentity) -> ClientTls {
        ClientTls::new(demo(), vec![self.ca.fingerprint()], identity, Revocations::new()).unwrap()
    }

    pub(crate) async fn connect(&self, tls: &ClientTls) -> Result<Channel, ConnectError> {
        connect(&self.address.to_string(), tls, &ConnectOptions::default()).await
    }

    /// Connects, asks for health, and answers who the coordinator thinks we are.
    pub(crate) async fn greet(&mut self, tls: &ClientTls) -> Result<ConnectInfo, ConnectError> {
        let channel = self.connect(tls).await?;
        check(&channel).await.unwrap();
        Ok(self.seen.recv().await.unwrap())
    }
}

pub(crate) async fn check(channel: &Channel) -> Result<(), tonic::Status> {
    HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await.map(drop)
}

pub(crate) async fn watch(channel: &Channel) -> tonic::Streaming<HealthCheckResponse> {
    let mut stream =
        HealthClient::new(channel.clone()).watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    stream.message().await.unwrap().expect("a first answer");
    stream
}

/// Waits for a condition, with a deadline.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    let waiting = async {
        while !holds() {
            tick.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}
