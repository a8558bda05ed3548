//! Host policy's last word, spoken right before an engine acts: a path that was allowed when a plan was judged may be
//! a link by the time a container is made, and only the engine knows which registries it would ask in plain HTTP.

mod registries;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use windlass_core::Digest;
use windlass_core::host::HostPolicy;
use windlass_core::policy::allows_repository;
use windlass_core::reconcile::{Container, Launch, LocalImage, VerifiedRelease};
use windlass_core::release::Image;

use crate::engine;
use crate::policy::{Mounts, resolve};
use crate::runtime::{
    Command, EngineEvent, EngineInfo, Listed, LogLine, LogOptions, OnProgress, PullError, Runtime,
    RuntimeError, RuntimeStream,
};

/// An engine that asks policy before it pulls and before it creates; all else goes through.
#[derive(Debug)]
pub struct Guarded<R> {
    inner: R,
    mounts: Mounts,
    policy: HostPolicy,
    socket: PathBuf,
}

impl<R: Runtime> Guarded<R> {
    /// `socket` is where the engine's own settings are asked for.
    pub fn new(inner: R, mounts: Mounts, policy: HostPolicy, socket: PathBuf) -> Self {
        Self { inner, mounts, policy, socket }
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

    /// The launch with every host path replaced by where it leads now, if that is allowed.
    fn check_mounts(&self, launch: &Launch) -> Result<Launch, RuntimeError> {
        let mut release = VerifiedRelease::clone(&launch.release);
        for (name, volume) in &mut release.release.spec.volumes {
            let Some(path) = &mut volume.host_path else { continue };
            let refused = |why| RuntimeError::Refused {
                doing: "create the container",
                message: format!("host policy: mounts: volume `{name}`: {why}"),
            };
            let real = resolve(&self.mounts, path).map_err(refused)?;
            *path = real.to_string_lossy().into_owned();
        }
        Ok(Launch { release: Arc::new(release), ..launch.clone() })
    }
}

impl<R: Runtime> Runtime for Guarded<R> {
    async fn pull(&self, image: &Image, progress: OnProgress<'_>) -> Result<LocalImage, PullError> {
        self.check_registry(image).await?;
        self.inner.pull(image, progress).await
    }

    async fn create(&self, launch: &Launch) -> Result<String, RuntimeError> {
        if launch.release.release.spec.volumes.values().all(|volume| volume.host_path.is_none()) {
            return self.inner.create(launch).await;
        }
        let launch = self.check_mounts(launch)?;
        self.inner.create(&launch).await
    }

    async fn info(&self) -> Result<EngineInfo, RuntimeError> {
        self.inner.info().await
    }

    async fn list(&self) -> Result<Vec<Listed>, RuntimeError> {
        self.inner.list().await
    }

    async fn inspect(&self, id: &str) -> Result<Option<Container>, RuntimeError> {
        self.inner.inspect(id).await
    }

    async fn images(&self) -> Result<BTreeMap<Digest, LocalImage>, RuntimeError> {
        self.inner.images().await
    }

    async fn remove_image(&self, id: &str) -> Result<(), RuntimeError> {
        self.inner.remove_image(id).await
    }

    async fn start(&self, id: &str) -> Result<(), RuntimeError> {
        self.inner.start(id).await
    }

    async fn stop(&self, id: &str) -> Result<(), RuntimeError> {
        self.inner.stop(id).await
    }

    async fn remove(&self, id: &str, instance: &str) -> Result<(), RuntimeError> {
        self.inner.remove(id, instance).await
    }

    async fn tidy(&self, here: &BTreeSet<String>) {
        self.inner.tidy(here).await;
    }

    async fn keep_running(&self, id: &str) -> Result<(), RuntimeError> {
        self.inner.keep_running(id).await
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
