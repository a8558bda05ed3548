//! Host policy's last word, spoken right before an engine acts: a path that was allowed when a plan was judged may be
//! a link by the time a container is made or starts again, and only the engine knows which folders other containers
//! bind, and which registries it would ask in plain HTTP.

mod binds;
mod registries;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;
use windlass_core::host::HostPolicy;
use windlass_core::policy::allows_repository;
use windlass_core::reconcile::{Container, Launch, LocalImage, VerifiedRelease};
use windlass_core::release::Image;
use windlass_core::{Digest, EnvironmentId};

use crate::engine;
use crate::policy::{Mounts, resolve};
use crate::runtime::{
    Command, EngineEvent, EngineInfo, HostBinds, Listed, LogLine, LogOptions, Networks, OnProgress,
    PullError, Runtime, RuntimeError, RuntimeStream, Source, answer,
};

/// The longest time of an engine call that changes something.
const DEADLINE: Duration = Duration::from_secs(60);

/// An engine that asks policy before it pulls and before it creates; all else goes through.
#[derive(Debug)]
pub struct Guarded<R> {
    inner: R,
    mounts: Mounts,
    policy: HostPolicy,
    socket: PathBuf,
    files: PathBuf,
    /// Held while a container with binds starts, so that of two that may not run together the second is refused.
    starting: Mutex<()>,
}

impl<R: Runtime> Guarded<R> {
    /// `socket` is where the engine's own settings are asked for, `files` the folder below which files of releases are
    /// laid down.
    pub fn new(inner: R, mounts: Mounts, policy: HostPolicy, socket: PathBuf, files: PathBuf) -> Self {
        Self { inner, mounts, policy, socket, files, starting: Mutex::default() }
    }

    /// Drops the origin of an image unless policy checks it.
    fn originally(&self, image: LocalImage) -> LocalImage {
        let origins =
            if self.policy.verify_origin { image.origins.or_else(|| Some(BTreeSet::new())) } else { None };
        LocalImage { origins, ..image }
    }

    /// Plain HTTP off loopback needs the policy's word, whatever the engine was told.
    async fn check_registry(&self, image: &Image) -> Result<(), PullError> {
        if allows_repository(&self.policy.insecure_registries, &image.repository) {
            return Ok(());
        }
        // An engine that does not answer this does not pull either.
        let Ok(Some(info)) = engine::get(&self.socket, "/info").await else { return Ok(()) };
        let registry = image.repository.split('/').next().unwrap_or_default();
        if registries::is_plain(&info, registry).await {
            return Err(PullError::Failed(format!(
                "host policy: insecure_registries: the engine would ask `{registry}` in plain HTTP, and it is not listed"
            )));
        }
        Ok(())
    }
}

/// Has a step done in time, or gives it up: an engine may hang in the middle of an answer.
async fn in_time<T>(
    doing: &'static str,
    step: impl Future<Output = Result<T, RuntimeError>> + Send,
) -> Result<T, RuntimeError> {
    let late = || RuntimeError::TimedOut { doing, after: DEADLINE };
    timeout(DEADLINE, step).await.unwrap_or_else(|_| Err(late()))
}

/// Every call has a deadline, but for what its caller limits: creating and starting, stopping (which takes as long as
/// the release says), pulling, commands, and what is followed.
impl<R: Runtime> Runtime for Guarded<R> {
    async fn pull(&self, image: &Image, progress: OnProgress<'_>) -> Result<LocalImage, PullError> {
        self.check_registry(image).await?;
        let pulled = self.originally(self.inner.pull(image, progress).await?);
        match &pulled.origins {
            Some(origins) if !origins.contains(&image.repository) => Err(PullError::WrongImage(format!(
                "host policy: verify_origin: the engine does not say that `{}` came from there",
                image.pinned()
            ))),
            _ => Ok(pulled),
        }
    }

    async fn create(&self, launch: &Launch) -> Result<String, RuntimeError> {
        let launch = self.checked_launch(launch).await?;
        self.inner.create(&launch).await
    }

    async fn info(&self) -> Result<EngineInfo, RuntimeError> {
        answer(self.inner.info()).await
    }

    async fn list(&self) -> Result<Vec<Listed>, RuntimeError> {
        answer(self.inner.list()).await
    }

    async fn inspect(&self, id: &str) -> Result<Option<Container>, RuntimeError> {
        answer(self.inner.inspect(id)).await
    }

    async fn is_made_as(&self, id: &str, release: &VerifiedRelease) -> Result<bool, RuntimeError> {
        self.inner.is_made_as(id, release).await
    }

    async fn hold(&self, images: &BTreeSet<Digest>) -> Result<(), RuntimeError> {
        self.inner.hold(images).await
    }

    async fn images(&self) -> Result<BTreeMap<Digest, LocalImage>, RuntimeError> {
        let images = in_time("list images", self.inner.images()).await?;
        Ok(images.into_iter().map(|(digest, image)| (digest, self.originally(image))).collect())
    }

    async fn remove_image(&self, id: &str) -> Result<(), RuntimeError> {
        in_time("remove an image", self.inner.remove_image(id)).await
    }

    async fn networks(&self) -> Result<Networks, RuntimeError> {
        answer(self.inner.networks()).await
    }

    async fn remove_network(&self, environment: &EnvironmentId) -> Result<(), RuntimeError> {
        in_time("remove a network", self.inner.remove_network(environment)).await
    }

    async fn start(&self, id: &str) -> Result<(), RuntimeError> {
        if self.inner.host_binds().await?.binds.iter().all(|bind| bind.container != id) {
            return self.inner.start(id).await;
        }
        let _starting = self.starting.lock().await;
        self.check_start(id).await?;
        self.inner.start(id).await
    }

    async fn stop(&self, id: &str) -> Result<(), RuntimeError> {
        self.inner.stop(id).await
    }

    async fn remove(&self, id: &str, instance: &str) -> Result<(), RuntimeError> {
        in_time("remove the container", self.inner.remove(id, instance)).await
    }

    async fn tidy(&self, here: &BTreeSet<String>) {
        if timeout(DEADLINE, self.inner.tidy(here)).await.is_err() {
            tracing::warn!("the files of instances that are no more could not be removed in time");
        }
        self.take_over_restarts().await;
    }

    async fn folder(&self, source: Source<'_>) -> Result<Option<PathBuf>, RuntimeError> {
        match source {
            // A path that may not be bound is not looked into either.
            Source::Bind(path) => resolve(&self.mounts, path).map(Some).map_err(RuntimeError::Forbidden),
            Source::Volume(_) => answer(self.inner.folder(source)).await,
        }
    }

    async fn host_binds(&self) -> Result<HostBinds, RuntimeError> {
        in_time("list what binds the host", self.inner.host_binds()).await
    }

    async fn never_restart(&self, id: &str) -> Result<(), RuntimeError> {
        in_time("set the restart policy", self.inner.never_restart(id)).await
    }

    async fn keep_running(&self, id: &str) -> Result<(), RuntimeError> {
        in_time("update the restart policy", self.inner.keep_running(id)).await
    }

    fn logs(&self, id: &str, options: LogOptions) -> RuntimeStream<LogLine> {
        self.inner.logs(id, options)
    }

    async fn exec(&self, id: &str, argv: &[String], limit: Duration) -> Result<Command, RuntimeError> {
        self.inner.exec(id, argv, limit).await
    }

    async fn goes_on(&self, command: &str) -> Result<bool, RuntimeError> {
        self.inner.goes_on(command).await
    }

    fn events(&self) -> RuntimeStream<EngineEvent> {
        self.inner.events()
    }
}

#[cfg(test)]
mod tests;
