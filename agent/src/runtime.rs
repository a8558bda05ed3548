//! The container engine, as the agent needs it: a trait of the least it asks for.
//!
//! [`docker`] speaks to a Docker Engine and is the only module that knows how; [`fake`] is an engine in
//! memory for tests. Containers are [`windlass_core::reconcile::Container`]s. Labels say which may be ours; which are,
//! the journal says.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use futures_util::Stream;
use ipnet::Ipv4Net;
use windlass_core::host::GpuAccess;
use windlass_core::observation::PullProgress;
use windlass_core::reconcile::{Container, Launch, LocalImage, VerifiedRelease};
use windlass_core::release::Image;
use windlass_core::{Digest, EnvironmentId, Timestamp};

pub mod access;
pub mod docker;
pub mod fake;
pub mod labels;
mod publish;

pub(crate) use publish::{address_gone, published_on, reached_at};

/// A failure of the engine.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// It does not answer: nothing is known about anything.
    #[error("the container engine does not answer")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The item does not exist.
    #[error("the engine knows no {what} `{name}`")]
    NotFound {
        /// `container` or `image`.
        what: &'static str,
        /// Which.
        name: String,
    },
    /// A port of the host is taken.
    #[error("port {port} of the host is taken")]
    PortTaken {
        /// Which; 0 if the engine does not say.
        port: u16,
    },
    /// A container that is none of ours has the name.
    #[error("another container has the name `{0}`")]
    NameTaken(String),
    /// It answered and would not.
    #[error("the engine refused to {doing}: {message}")]
    Refused {
        /// The attempted action.
        doing: &'static str,
        /// The engine's message.
        message: String,
    },
    /// The host's policy does not let it; the engine was not asked.
    #[error("host policy: {0}")]
    Forbidden(String),
    /// It took too long.
    #[error("the engine did not {doing} within {} s", after.as_secs())]
    TimedOut {
        /// The attempted action.
        doing: &'static str,
        /// The time that it was given.
        after: Duration,
    },
}

impl RuntimeError {
    /// Whether the engine is missing, rather than the thing asked for.
    pub const fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// The longest time for an answer of the engine. One that hangs accepts connections and never answers; the caller must notice, and
/// say that it is the engine.
pub const ANSWER: Duration = Duration::from_secs(10);

/// The answer to a question, if it comes in time.
pub async fn answer<T>(
    question: impl Future<Output = Result<T, RuntimeError>> + Send,
) -> Result<T, RuntimeError> {
    let late = || RuntimeError::Unavailable(format!("no answer within {} s", ANSWER.as_secs()).into());
    tokio::time::timeout(ANSWER, question).await.unwrap_or_else(|_| Err(late()))
}

/// Names the culprit of something that was not done in time: the engine, if it answers nothing else either.
pub async fn blame<R: Runtime>(runtime: &R, error: RuntimeError) -> RuntimeError {
    match error {
        RuntimeError::TimedOut { .. } => answer(runtime.list()).await.err().unwrap_or(error),
        RuntimeError::Unavailable(_)
        | RuntimeError::NotFound { .. }
        | RuntimeError::PortTaken { .. }
        | RuntimeError::NameTaken(_)
        | RuntimeError::Forbidden(_)
        | RuntimeError::Refused { .. } => error,
    }
}

/// The reason for which an image did not come.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The engine does not answer.
    #[error(transparent)]
    Engine(RuntimeError),
    /// The registry, or the engine, refused; in words for people.
    #[error("{0}")]
    Failed(String),
    /// The registry could not answer just now, in words for people.
    #[error("{message}")]
    Transient {
        /// The message of the registry, or of the engine.
        message: String,
        /// When it wants to be asked again, if it says so.
        retry_after: Option<Duration>,
    },
    /// Another image than the asked one came.
    #[error("{0}")]
    WrongImage(String),
}

/// Facts about an engine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineInfo {
    /// Its version.
    pub version: String,
    /// Version of its API.
    pub api_version: String,
    /// Operating system of the host, for people.
    pub os: String,
    /// Kernel release.
    pub kernel: String,
    /// Platform of images, like `linux/amd64`.
    pub platform: String,
    /// The folder of its data.
    pub data_root: String,
    /// Its way to give GPUs to containers.
    pub gpu_access: GpuAccess,
}

/// A container in a list: enough to notice that it changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The engine's id.
    pub id: String,
    /// The engine's word for its state.
    pub state: String,
}

/// Host paths that containers of an engine bind, of any origin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostBinds {
    /// Binds of containers.
    pub binds: Vec<HeldBind>,
    /// Volumes whose driver options make them a bind, by name, with those options in words.
    pub volumes: BTreeMap<String, String>,
}

/// The networks of an engine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks {
    /// Inner networks that were made for this agent, by environment.
    pub own: BTreeMap<EnvironmentId, Ipv4Net>,
    /// The addresses of all others.
    pub others: BTreeSet<Ipv4Net>,
}

/// A bind of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldBind {
    /// The engine's id of the container.
    pub container: String,
    /// Name of the container, for people.
    pub name: String,
    /// Whether its process runs, or the engine will make it run.
    pub is_up: bool,
    /// The volume that is the bind, by name; `None` if the container binds the path itself.
    pub volume: Option<String>,
    /// The path on the host.
    pub path: String,
    /// Whether the container may write there.
    pub is_writable: bool,
}

/// Something happened to a container of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineEvent {
    /// The engine's id.
    pub container: String,
    /// What.
    pub kind: EventKind,
}

/// An event of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// Its process ended with this code.
    Died(i64),
    /// The kernel killed something in it for memory.
    OutOfMemory,
    /// It has gone.
    Destroyed,
    /// Anything else: look at it again.
    Changed,
}

/// A line that a container wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogLine {
    /// When, by the engine's clock.
    pub at: Option<Timestamp>,
    /// The same in Unix nanoseconds; 0 if the engine does not say.
    pub nanos: i64,
    /// Whether it was written to stderr.
    pub stderr: bool,
    /// The line without its end, cut at 1 MiB.
    pub text: String,
    /// It was longer.
    pub cut: bool,
    /// Number of entries of the engine's log that it takes: the engine splits long lines.
    pub parts: u32,
}

/// Which lines of a container are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// So many of the last lines; all that are kept if absent.
    pub tail: Option<u32>,
    /// None before this.
    pub since: Option<Timestamp>,
    /// Go on as more are written.
    pub follow: bool,
}

/// The end of a command in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// By itself, with this exit code.
    Exited(i64),
    /// It took too long, and was killed.
    Killed,
    /// It took too long, and cannot be killed from here; the engine's id of it.
    GoesOn(String),
}

/// The source of a volume of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source<'a> {
    /// A named volume, by the engine's name.
    Volume(&'a str),
    /// A folder of the host.
    Bind(&'a str),
}

/// Something that arrives piece by piece.
pub type RuntimeStream<T> = Pin<Box<dyn Stream<Item = Result<T, RuntimeError>> + Send>>;

/// Is told how far a pull is.
pub type OnProgress<'a> = &'a (dyn Fn(PullProgress) + Send + Sync);

/// The container engine, as the agent asks it. Everything may be asked twice: a state that holds already is success.
pub trait Runtime: Send + Sync + 'static {
    /// Facts about the engine.
    fn info(&self) -> impl Future<Output = Result<EngineInfo, RuntimeError>> + Send;
    /// Every container with the labels of this fleet and host.
    fn list(&self) -> impl Future<Output = Result<Vec<Listed>, RuntimeError>> + Send;
    /// One of them in full; `None` if it has gone or is not ours. Its `health` is the engine's word, if it
    /// has one: paused, or what the HEALTHCHECK of its image says; since when is filled in later.
    fn inspect(&self, id: &str) -> impl Future<Output = Result<Option<Container>, RuntimeError>> + Send;
    /// Whether the container is made as its release says: of its image, with its command, environment, mounts and rights.
    fn is_made_as(
        &self,
        id: &str,
        release: &VerifiedRelease,
    ) -> impl Future<Output = Result<bool, RuntimeError>> + Send;
    /// Holds these images, lest somebody who tidies up takes them for unused, and lets go of all others that it held.
    fn hold(&self, images: &BTreeSet<Digest>) -> impl Future<Output = Result<(), RuntimeError>> + Send;
    /// The images on the host, by the digest of their manifest or index.
    fn images(&self) -> impl Future<Output = Result<BTreeMap<Digest, LocalImage>, RuntimeError>> + Send;
    /// Fetches an image by digest and checks that what came is what was named. Reports bytes as they come.
    fn pull(
        &self,
        image: &Image,
        progress: OnProgress<'_>,
    ) -> impl Future<Output = Result<LocalImage, PullError>> + Send;
    /// Removes an image, unless a container uses it.
    fn remove_image(&self, id: &str) -> impl Future<Output = Result<(), RuntimeError>> + Send;
    /// The networks of the engine.
    fn networks(&self) -> impl Future<Output = Result<Networks, RuntimeError>> + Send;
    /// Removes the inner network of an environment, which nothing is in.
    fn remove_network(
        &self,
        environment: &EnvironmentId,
    ) -> impl Future<Output = Result<(), RuntimeError>> + Send;
    /// Makes a container, and the inner network that it is to be in, and answers with its id. It does not run, and the
    /// engine does not restart it.
    fn create(&self, launch: &Launch) -> impl Future<Output = Result<String, RuntimeError>> + Send;
    /// Starts a container.
    fn start(&self, id: &str) -> impl Future<Output = Result<(), RuntimeError>> + Send;
    /// Asks its process to end, and kills it after the stop timeout of its release.
    fn stop(&self, id: &str) -> impl Future<Output = Result<(), RuntimeError>> + Send;
    /// Removes a container that stands still, with its anonymous volumes and the files of its instance.
    fn remove(&self, id: &str, instance: &str) -> impl Future<Output = Result<(), RuntimeError>> + Send;
    /// The folder of the host in which the files of a volume lie; `None` if the volume is not there.
    fn folder(
        &self,
        source: Source<'_>,
    ) -> impl Future<Output = Result<Option<PathBuf>, RuntimeError>> + Send;
    /// Host paths that containers bind. Files that the agent laid down for them are left out.
    fn host_binds(&self) -> impl Future<Output = Result<HostBinds, RuntimeError>> + Send;
    /// Has the engine never start a container by itself again.
    fn never_restart(&self, id: &str) -> impl Future<Output = Result<(), RuntimeError>> + Send;
    /// Removes what a crash left of instances that are not `here`, which is every one that has a container.
    fn tidy(&self, here: &BTreeSet<String>) -> impl Future<Output = ()> + Send;

    /// Has the engine start it again whenever it ends.
    fn keep_running(&self, id: &str) -> impl Future<Output = Result<(), RuntimeError>> + Send;
    /// The lines it wrote.
    fn logs(&self, id: &str, options: LogOptions) -> RuntimeStream<LogLine>;
    /// Runs a command in it. One that takes longer than `limit` is killed.
    fn exec(
        &self,
        id: &str,
        argv: &[String],
        limit: Duration,
    ) -> impl Future<Output = Result<Command, RuntimeError>> + Send;
    /// Whether a command that could not be killed still runs.
    fn goes_on(&self, command: &str) -> impl Future<Output = Result<bool, RuntimeError>> + Send;
    /// Events of our containers, from now on. Ends when the engine goes.
    fn events(&self) -> RuntimeStream<EngineEvent>;
}
