//! Host paths of a container, checked before it is made and before every start.

use std::borrow::Cow;
use std::sync::Arc;

use windlass_core::reconcile::{Launch, RestartPolicy, VerifiedRelease};
use windlass_core::release::volume_name;

use super::Guarded;
use crate::policy::{Bind, check_again, check_files, check_nested, real_path, resolve};
use crate::runtime::{HostBinds, Runtime, RuntimeError};

fn forbidden(volume: &str, why: impl std::fmt::Display) -> RuntimeError {
    RuntimeError::Forbidden(format!("mounts: volume `{volume}`: {why}"))
}

fn engine_volume(name: &str, folder: &str) -> String {
    format!(
        "the engine's volume `{name}` is a bind of `{folder}` by its driver options, which no agent can hold; give the \
         folder in the manifest as `host_path`"
    )
}

/// Binds of containers other than `id` that run, with links resolved.
fn others(here: &HostBinds, id: Option<&str>) -> Vec<(String, Bind)> {
    let others = here.binds.iter().filter(|bind| bind.is_up && Some(bind.container.as_str()) != id);
    let named = others
        .map(|bind| (bind.name.clone(), Bind { path: real_path(&bind.path), is_writable: bind.is_writable }));
    named.collect()
}

impl<R: Runtime> Guarded<R> {
    /// The launch with every host path replaced by where it leads now, if that is allowed and held.
    pub(super) async fn checked_launch<'a>(
        &self,
        launch: &'a Launch,
    ) -> Result<Cow<'a, Launch>, RuntimeError> {
        let spec = &launch.release.release.spec;
        if !spec.files.is_empty() {
            check_files(&self.files).map_err(|why| RuntimeError::Forbidden(format!("files: {why}")))?;
        }
        if spec.volumes.is_empty() {
            return Ok(Cow::Borrowed(launch));
        }
        let here = self.inner.host_binds().await?;
        let mut release = VerifiedRelease::clone(&launch.release);
        let mut binds = Vec::new();
        for (name, volume) in &mut release.release.spec.volumes {
            let Some(path) = &mut volume.host_path else {
                let known = volume_name(&launch.slot.service, name);
                let folder = here.volumes.get(&known);
                folder.map_or(Ok(()), |folder| Err(forbidden(name, engine_volume(&known, folder))))?;
                continue;
            };
            let real = resolve(&self.mounts, path).map_err(|why| forbidden(name, why))?;
            *path = real.to_string_lossy().into_owned();
            binds.push(Bind { path: path.clone(), is_writable: !volume.read_only });
        }
        let nested = check_nested(&binds, &others(&here, None));
        nested.map_err(|why| RuntimeError::Forbidden(format!("mounts: {why}")))?;
        Ok(Cow::Owned(Launch { release: Arc::new(release), ..launch.clone() }))
    }

    /// Checks the host paths that a container was made with.
    pub(super) async fn check_start(&self, id: &str) -> Result<(), RuntimeError> {
        let here = self.inner.host_binds().await?;
        let mut binds = Vec::new();
        for bind in here.binds.iter().filter(|bind| bind.container == id) {
            if let Some(volume) = &bind.volume {
                return Err(forbidden(volume, engine_volume(volume, &bind.path)));
            }
            check_again(&self.mounts, &bind.path)
                .map_err(|why| RuntimeError::Forbidden(format!("mounts: {why}")))?;
            binds.push(Bind { path: bind.path.clone(), is_writable: bind.is_writable });
        }
        let nested = check_nested(&binds, &others(&here, Some(id)));
        nested.map_err(|why| RuntimeError::Forbidden(format!("mounts: {why}")))
    }

    /// Takes containers with host paths out of the engine's hands: an agent of an earlier version had it restart them,
    /// and an engine checks nothing.
    pub(super) async fn take_over_restarts(&self) {
        let ours = match self.inner.list().await {
            Ok(listed) => listed,
            Err(error) => {
                return tracing::warn!(%error, "restarts of containers with binds stay the engine's");
            }
        };
        let here = match self.inner.host_binds().await {
            Ok(here) => here,
            Err(error) => {
                return tracing::warn!(%error, "restarts of containers with binds stay the engine's");
            }
        };
        let binds = |id: &str| here.binds.iter().any(|bind| bind.container == id);
        for id in ours.into_iter().map(|seen| seen.id).filter(|id| binds(id)) {
            let seen = self.inner.inspect(&id).await;
            if !matches!(&seen, Ok(Some(seen)) if seen.policy == RestartPolicy::UnlessStopped) {
                continue;
            }
            if let Err(error) = self.inner.never_restart(&id).await {
                tracing::warn!(container = id, %error, "the engine goes on restarting a container with binds");
            }
        }
    }
}
