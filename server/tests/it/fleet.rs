//! A fleet's files, its coordinator, and an operator.

use std::fs::Permissions;
use std::future::Future;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use windlass_certs::ca::{CertificateAuthority, Leaf};
use windlass_certs::csr::CertifiedIdentity;
use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_certs::files::create_private_dir;
use windlass_certs::identity::Identity;
use windlass_certs::keys::SigningKey;
use windlass_certs::revocation::Revocations;
use windlass_certs::tls::{ClientTls, ConnectError, ConnectOptions, connect};
use windlass_certs::trust::TrustDocument;
use windlass_core::FleetId;
use windlass_proto::pb;
use windlass_proto::pb::control_client::ControlClient;
use windlass_server::config::{LivenessRules, Overrides};
use windlass_server::store::memory::MemoryStore;
use windlass_server::store::{Store, StoreError};
use windlass_server::{Config, StartError, start, start_on};
use windlass_testkit::keys::Keys;
pub(crate) use windlass_testkit::keys::seal_trust;
pub(crate) use windlass_testkit::now;

/// The longest wait of a test.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// A fleet; dropping it kills the coordinator.
pub(crate) struct Fleet {
    pub(crate) folder: TempDir,
    pub(crate) ca: CertificateAuthority,
    pub(crate) root: SigningKey,
    pub(crate) release_key: SigningKey,
    pub(crate) document: TrustDocument,
    pub(crate) addr: SocketAddr,
    pub(crate) http_addr: SocketAddr,
    /// Kept over restarts where there is one; else the store is in the folder.
    memory: Option<Arc<dyn Store>>,
    tweak: fn(&mut Config),
    stop: CancellationToken,
    running: JoinSet<anyhow::Result<()>>,
}

pub(crate) fn fleet_id() -> FleetId {
    "demo".parse().unwrap()
}

impl Fleet {
    /// A coordinator on a store in memory, with short clocks.
    pub(crate) async fn start() -> Self {
        Self::start_with(true, |_| {}).await
    }

    /// The same with other settings, and on disk if asked.
    pub(crate) async fn start_with(in_memory: bool, tweak: fn(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ca = CertificateAuthority::generate(fleet_id(), now()).unwrap();
        let keys = Keys::generate();
        let usual = keys.document(now());
        let document = TrustDocument { ca: vec![ca.fingerprint()], ..usual };
        write(folder.path(), &ca, &keys, &document);
        let memory = in_memory.then(|| Arc::new(MemoryStore::new()) as Arc<dyn Store>);
        Self::begin(folder, ca, (keys.root, keys.release), document, memory, tweak).await
    }

    /// The coordinator of a recorded fleet, on its store.
    pub(crate) async fn of(recorded: &Path, store: Arc<dyn Store>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["ca/ca.pem", "ca/ca.key", "keys/dispatch.key", "keys/audit.key", "trust/1.json"] {
            let to = folder.path().join(name);
            create_private_dir(to.parent().unwrap()).unwrap();
            std::fs::copy(recorded.join(name), &to).unwrap();
            std::fs::set_permissions(&to, Permissions::from_mode(0o600)).unwrap();
        }
        let ca = CertificateAuthority::load(&folder.path().join("ca")).unwrap();
        std::fs::write(folder.path().join("server.toml"), "").unwrap();
        let key = |name: &str| {
            let pem = std::fs::read_to_string(recorded.join("keys").join(name)).unwrap();
            SigningKey::from_pem(&pem).unwrap()
        };
        let keys = (key("root.key"), key("release.key"));
        let document = std::fs::read(folder.path().join("trust/1.json")).unwrap();
        let document = Envelope::parse(&document, PayloadType::Trust.max_len()).unwrap();
        let document = serde_json::from_slice(document.payload_bytes()).unwrap();
        Self::begin(folder, ca, keys, document, Some(store), |_| {}).await
    }

    async fn begin(
        folder: TempDir,
        ca: CertificateAuthority,
        (root, release_key): (SigningKey, SigningKey),
        document: TrustDocument,
        memory: Option<Arc<dyn Store>>,
        tweak: fn(&mut Config),
    ) -> Self {
        let unset = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut fleet = Self {
            folder,
            ca,
            root,
            release_key,
            document,
            addr: unset,
            http_addr: unset,
            memory,
            tweak,
            stop: CancellationToken::new(),
            running: JoinSet::new(),
        };
        fleet.run().await;
        fleet
    }

    /// Starts the coordinator, on the address it had before.
    pub(crate) async fn run(&mut self) {
        let overrides = Overrides { listen: Some(self.addr), http: Some(self.http_addr) };
        let mut config = Config::load(self.folder.path(), overrides).unwrap();
        config.liveness = LivenessRules {
            heartbeat: Duration::from_millis(200),
            suspect: Duration::from_secs(2),
            lost: Duration::from_secs(3),
            unknown: Duration::from_secs(2),
        };
        (self.tweak)(&mut config);
        for address in [self.addr, self.http_addr] {
            is_free(address).await;
        }
        let running = match &self.memory {
            Some(store) => start_on(config, store.clone()).await.unwrap(),
            None => {
                let begun = Instant::now();
                loop {
                    match start(config.clone()).await {
                        Ok(running) => break running,
                        Err(StartError::Store(StoreError::InUse { .. })) if begun.elapsed() < LIMIT => {}
                        Err(error) => panic!("{error:?}"),
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        };
        self.addr = running.addr;
        self.http_addr = running.http_addr.unwrap();
        self.stop = CancellationToken::new();
        self.running.spawn(running.run(self.stop.clone().cancelled_owned()));
    }

    /// Stops the coordinator in order.
    pub(crate) async fn stop(&mut self) {
        self.stop.cancel();
        while let Some(ended) = self.running.join_next().await {
            ended.unwrap().unwrap();
        }
    }

    /// Ends the coordinator where it stands. What tonic runs for it ends a moment later.
    pub(crate) async fn kill(&mut self) {
        self.running.shutdown().await;
    }

    /// The store in memory.
    pub(crate) fn store(&self) -> &dyn Store {
        &**self.memory.as_ref().unwrap()
    }

    /// Another store from the next start on.
    pub(crate) fn replace_store(&mut self, store: impl Store) {
        self.memory = Some(Arc::new(store));
    }

    /// Waits until the coordinator has ended by itself, and answers why.
    pub(crate) async fn died(&mut self) -> anyhow::Error {
        let ended = tokio::time::timeout(LIMIT, self.running.join_next()).await;
        ended.expect("it ends in time").unwrap().unwrap().unwrap_err()
    }

    /// A connection with a certificate.
    pub(crate) async fn channel(&self, identity: &CertifiedIdentity) -> Result<Channel, ConnectError> {
        let pins = vec![self.ca.fingerprint()];
        let tls = ClientTls::new(fleet_id(), pins, identity, Revocations::new()).unwrap();
        connect(&self.addr.to_string(), &tls, &ConnectOptions::default()).await
    }

    /// A connection without one.
    pub(crate) async fn stranger(&self) -> Channel {
        let tls = ClientTls::anonymous(fleet_id(), vec![self.ca.fingerprint()], Revocations::new()).unwrap();
        connect(&self.addr.to_string(), &tls, &ConnectOptions::default()).await.unwrap()
    }

    /// An operator's certificate.
    pub(crate) fn operator(&self, grant: &str) -> CertifiedIdentity {
        self.named_operator("alice", grant)
    }

    /// The certificate of an operator with this name.
    pub(crate) fn named_operator(&self, name: &str, grant: &str) -> CertifiedIdentity {
        let identity = Identity::operator(fleet_id(), &name.parse().unwrap());
        self.ca.issue_new(&Leaf::operator(identity, grant.parse().unwrap(), 1), now()).unwrap()
    }

    /// A client of an operator.
    pub(crate) async fn control(&self, grant: &str) -> ControlClient<Channel> {
        ControlClient::new(self.channel(&self.operator(grant)).await.unwrap())
    }

    /// `host ls -o json`.
    pub(crate) async fn hosts(&self) -> serde_json::Value {
        let mut control = self.control("viewer/*").await;
        let hosts = control.list_hosts(pb::ListHostsRequest {}).await.unwrap();
        serde_json::from_slice(&hosts.into_inner().view).unwrap()
    }

    /// Waits until `host ls` shows a host in a state.
    pub(crate) async fn wait_for(&self, host: &str, state: &str) {
        until(&format!("{host} is {state}"), async || {
            let hosts = self.hosts().await;
            let found = hosts.as_array().unwrap().iter().find(|shown| shown["name"] == host).cloned();
            found.is_some_and(|shown| shown["state"] == state)
        })
        .await;
    }

    /// Every event so far, as `kind subject`.
    pub(crate) async fn events(&self) -> Vec<String> {
        let mut control = self.control("viewer/*").await;
        let request = pb::StreamEventsRequest { tail: 1000, ..Default::default() };
        let mut stream = control.stream_events(request).await.unwrap().into_inner();
        let mut events = Vec::new();
        while let Some(event) = stream.message().await.unwrap() {
            let event: serde_json::Value = serde_json::from_slice(&event.view).unwrap();
            events.push(format!(
                "{} {}",
                event["kind"].as_str().unwrap(),
                event["subject"].as_str().unwrap()
            ));
        }
        events
    }
}

/// Waits for a condition; panics with its name when it does not come true in time.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let begun = Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Everything that `windlass init --server-dir` writes.
fn write(folder: &Path, ca: &CertificateAuthority, keys: &Keys, document: &TrustDocument) {
    ca.save(&folder.join("ca")).unwrap();
    create_private_dir(&folder.join("keys")).unwrap();
    create_private_dir(&folder.join("trust")).unwrap();
    keys.dispatch.save(&folder.join("keys/dispatch.key")).unwrap();
    keys.audit.save(&folder.join("keys/audit.key")).unwrap();
    std::fs::write(folder.join("trust/1.json"), seal_trust(document, &[&keys.root])).unwrap();
    std::fs::write(folder.join("server.toml"), "").unwrap();
}

/// Waits until nobody has the address any more: what a coordinator that was killed leaves of tonic ends a moment later, and
/// a connection of another test may have got its port meanwhile.
async fn is_free(address: SocketAddr) {
    let begun = Instant::now();
    while let Err(error) = std::net::TcpListener::bind(address) {
        assert!(begun.elapsed() < LIMIT, "{address}: {error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
