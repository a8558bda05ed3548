//! A fleet's keys, an agent's end of the socket, and ingress processes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use windlass_agent::clock;
use windlass_agent::traffic::socket;
use windlass_agent::traffic::wire::{self, Down, MOST_DOWN, MOST_UP, PROTOCOL, Up};
use windlass_certs::dsse::PayloadType;
use windlass_certs::keys::SigningKey;
use windlass_certs::trust::{Roles, TrustDocument};
use windlass_core::Digest;
use windlass_core::traffic::{IngressReport, Routes};
use windlass_testkit::keys as testkit;

/// Every wait ends after this.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Waits until `is_so`.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !is_so() {
        assert!(Instant::now() < end, "never: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) struct Keys(pub(crate) testkit::Keys);

impl Keys {
    pub(crate) fn new() -> Self {
        Self(testkit::Keys::generate())
    }

    /// A version of the trust document under which `dispatch` signs tables.
    pub(crate) fn trust(&self, version: u64, dispatch: &SigningKey) -> Down {
        let usual = self.0.document(clock::now());
        let roles = Roles { dispatch: testkit::role(&[dispatch]), ..usual.roles };
        let document = TrustDocument { version, roles, ..usual };
        let envelope = testkit::seal_trust(&document, &[&self.0.root]);
        Down::Trust { envelopes: vec![String::from_utf8(envelope).unwrap()] }
    }

    /// A table for `web.example.com`, signed by the dispatch key.
    pub(crate) fn table(&self, seq: u64, endpoints: &[SocketAddr]) -> Down {
        signed(&table(seq, endpoints), &self.0.dispatch)
    }
}

pub(crate) fn release() -> Digest {
    Digest::of(b"r1")
}

pub(crate) fn table(seq: u64, endpoints: &[SocketAddr]) -> Routes {
    let endpoint = |address: &SocketAddr| {
        format!(
            r#"{{"host":"web-1","address":"{}","port":"http","number":{},"side":"a","release":"{}"}}"#,
            address.ip(),
            address.port(),
            release()
        )
    };
    let endpoints: Vec<String> = endpoints.iter().map(endpoint).collect();
    let text = format!(
        r#"{{"version":1,"fleet":"demo","environment":"production","epoch":1,"seq":{seq},"issued_at":"{}",
        "names":[{{"host":"web.example.com","path":"/","service":"web","port":"http"}}],
        "services":[{{"service":"web","ports":{{"http":{{"container":80}}}},
        "releases":[{{"release":"{}","counter":"r1"}}],"endpoints":[{}],"drain":"30s"}}]}}"#,
        clock::now(),
        release(),
        endpoints.join(",")
    );
    serde_json::from_str(&text).unwrap()
}

pub(crate) fn signed(routes: &Routes, key: &SigningKey) -> Down {
    let envelope = testkit::seal(PayloadType::Routes, routes, &[key]);
    Down::Table { envelope: String::from_utf8(envelope.to_bytes()).unwrap() }
}

/// The agent's end of the socket; dropped, it is away.
pub(crate) struct FakeAgent {
    said: watch::Sender<Vec<Down>>,
    pub(crate) reports: watch::Receiver<BTreeMap<u64, IngressReport>>,
    links: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl FakeAgent {
    /// Says all of `said` to every ingress that connects.
    pub(crate) fn listen(folder: &Path, said: Vec<Down>) -> Self {
        Self::listen_slowly(folder, said, Duration::ZERO)
    }

    /// The same, after a while for each that connects.
    pub(crate) fn listen_slowly(folder: &Path, said: Vec<Down>, pause: Duration) -> Self {
        let listener = socket::listen(&folder.join("ingress.sock")).unwrap();
        let (said, reports) = (watch::Sender::new(said), watch::Sender::new(BTreeMap::new()));
        let (hear, seen) = (said.clone(), reports.subscribe());
        let links = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&links);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
                open.spawn(serve(stream, hear.subscribe(), reports.clone(), pause));
            }
        });
        Self { said, reports: seen, links, _tasks: tasks }
    }

    /// Links that ingresses have made to it.
    pub(crate) fn links(&self) -> usize {
        self.links.load(Ordering::Relaxed)
    }

    pub(crate) fn say(&self, message: Down) {
        self.said.send_modify(|said| said.push(message));
    }

    /// Waits for a report that is as `is_so` says.
    pub(crate) async fn report(
        &mut self,
        what: &str,
        is_so: impl Fn(&IngressReport) -> bool,
    ) -> IngressReport {
        let found = timeout(LONG, self.reports.wait_for(|all| all.values().any(&is_so))).await;
        let found = found.unwrap_or_else(|_| panic!("never: {what}")).unwrap();
        found.values().find(|report| is_so(report)).unwrap().clone()
    }

    /// The address at which the newest process of the ingress listens.
    pub(crate) async fn http(&mut self) -> SocketAddr {
        self.at("http").await
    }

    pub(crate) async fn at(&mut self, name: &str) -> SocketAddr {
        let report = self.report(name, |r| r.listens.iter().any(|listen| listen.name == name)).await;
        report.listens.into_iter().find(|listen| listen.name == name).unwrap().address
    }
}

async fn serve(
    stream: tokio::net::UnixStream,
    mut said: watch::Receiver<Vec<Down>>,
    reports: watch::Sender<BTreeMap<u64, IngressReport>>,
    pause: Duration,
) {
    let (mut from, mut to) = tokio::io::split(stream);
    assert!(matches!(wire::read(&mut from, MOST_UP).await, Ok(Some(Up::Hello { .. }))));
    let (fleet, host) = ("demo".parse().unwrap(), "web-1".parse().unwrap());
    wire::write(
        &mut to,
        &Down::Hello { protocol: PROTOCOL, fleet, host, reach: Default::default() },
        MOST_DOWN,
    )
    .await
    .unwrap();
    let hear = async {
        while let Ok(Some(message)) = wire::read(&mut from, MOST_UP).await {
            let Up::Report(report) = message else { continue };
            assert_eq!(report.check(), Ok(()));
            reports.send_modify(|all| drop(all.insert(report.process, *report)));
        }
    };
    let tell = async {
        let mut done = 0;
        sleep(pause).await;
        loop {
            let news = said.borrow_and_update().split_off_from(done);
            done += news.len();
            for message in news {
                if wire::write(&mut to, &message, MOST_DOWN).await.is_err() {
                    return;
                }
            }
            if wire::write(&mut to, &Down::Told, MOST_DOWN).await.is_err() {
                return;
            }
            if said.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        () = hear => {}
        () = tell => {}
    }
}

trait SplitOff {
    fn split_off_from(&self, at: usize) -> Vec<Down>;
}

impl SplitOff for Vec<Down> {
    fn split_off_from(&self, at: usize) -> Vec<Down> {
        self.iter().skip(at).cloned().collect()
    }
}

/// An ingress process; dropped, it is killed.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(folder: &Path, arguments: &[&str]) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_windlass-agent"))
            .arg("ingress")
            .args(["--data".as_ref(), folder.as_os_str()])
            .args(arguments)
            .args(["--log-filter", "info"])
            .env_clear()
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// The process of a command that becomes an ingress.
    pub(crate) fn of(command: &mut Command) -> Self {
        Self(command.env_clear().stdin(Stdio::null()).spawn().unwrap())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// Waits for the end, and answers whether it was a good one.
    pub(crate) async fn end(&mut self) -> bool {
        let mut status = None;
        until("the process ends", || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap().success()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A folder of an agent.
pub(crate) struct World {
    _temporary: tempfile::TempDir,
    pub(crate) folder: PathBuf,
    pub(crate) keys: Arc<Keys>,
}

impl World {
    pub(crate) fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().join("agent");
        windlass_certs::files::create_private_dir(&folder).unwrap();
        Self { _temporary: temporary, folder, keys: Arc::new(Keys::new()) }
    }

    /// An agent that knows the first trust document, and says `more`.
    pub(crate) fn agent(&self, more: Vec<Down>) -> FakeAgent {
        let first = self.keys.trust(1, &self.keys.0.dispatch);
        FakeAgent::listen(&self.folder, [vec![first], more].concat())
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Process {
        Process::start(&self.folder, arguments)
    }
}
