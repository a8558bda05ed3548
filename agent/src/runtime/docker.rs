//! A Docker Engine behind its socket. The only module that names `bollard`.
//!
//! Every request is built from an allow-list of fields (`create`), so that what we do not know cannot be
//! asked for. Streams (events, logs, pulls) live as long as their reader.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::PoisonError;
use std::time::Duration;

use bollard::models::RestartPolicyNameEnum as Restarts;
use bollard::query_parameters::{
    CreateContainerOptions, ListContainersOptions, ListImagesOptions, RemoveContainerOptions,
    RemoveImageOptions,
};
use windlass_core::reconcile::{Container, Launch, LocalImage, VerifiedRelease};
use windlass_core::release::Image;
use windlass_core::{Digest, EnvironmentId};

use crate::crash::Call;

use super::{
    Command, EngineEvent, EngineInfo, HostBinds, Listed, LogLine, LogOptions, Networks, OnProgress,
    PullError, Runtime, RuntimeError, RuntimeStream, Source, access, answer,
};

mod binds;
mod create;
mod credentials;
mod engine;
mod error;
mod exec;
mod files;
mod hold;
mod inspect;
mod likeness;
mod lines;
mod networks;
mod pull;
mod refusal;
mod streams;
mod users;

use engine::{STOP_TIMEOUT, TIMEOUT};
use error::refused;

pub use engine::{ConnectError, DockerEngine};

impl Runtime for DockerEngine {
    async fn info(&self) -> Result<EngineInfo, RuntimeError> {
        let version = self.docker()?.version().await.map_err(refused("tell its version"))?;
        let info = self.docker()?.info().await.map_err(refused("describe itself"))?;
        let says = access::Says {
            runtimes: info
                .runtimes
                .unwrap_or_default()
                .into_iter()
                .map(|(name, runtime)| (name, runtime.path.unwrap_or_default()))
                .collect(),
            cdi: info
                .discovered_devices
                .unwrap_or_default()
                .into_iter()
                .filter_map(|device| device.id)
                .collect(),
            cdi_folders: info.cdi_spec_dirs.unwrap_or_default(),
        };
        let gpu_access = access::find(&self.socket, &says).await;
        self.access.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&gpu_access);
        Ok(EngineInfo {
            version: version.version.unwrap_or_default(),
            api_version: version.api_version.unwrap_or_default(),
            os: info.operating_system.unwrap_or_default(),
            kernel: info.kernel_version.unwrap_or_default(),
            platform: format!("{}/{}", version.os.unwrap_or_default(), version.arch.unwrap_or_default()),
            data_root: info.docker_root_dir.unwrap_or_default(),
            gpu_access,
        })
    }

    async fn list(&self) -> Result<Vec<Listed>, RuntimeError> {
        let filters = HashMap::from([("label".to_owned(), self.own())]);
        let options = ListContainersOptions { all: true, filters: Some(filters), ..Default::default() };
        let found =
            self.docker()?.list_containers(Some(options)).await.map_err(refused("list containers"))?;
        let listed = found.into_iter().filter_map(|seen| {
            Some(Listed {
                id: seen.id?,
                state: seen.state.map(|state| state.to_string()).unwrap_or_default(),
            })
        });
        Ok(listed.collect())
    }

    async fn inspect(&self, id: &str) -> Result<Option<Container>, RuntimeError> {
        match self.docker()?.inspect_container(id, None).await {
            Ok(seen) => Ok(inspect::container(&seen, &self.local)),
            Err(error) if error::status(&error) == Some(404) => Ok(None),
            Err(error) => Err(refused("inspect a container")(error)),
        }
    }

    async fn is_made_as(&self, id: &str, release: &VerifiedRelease) -> Result<bool, RuntimeError> {
        Ok(self.alike(id, release).await?.is_some())
    }

    async fn hold(&self, images: &BTreeSet<Digest>) -> Result<(), RuntimeError> {
        hold::only(self.docker()?, &self.local, images).await
    }

    async fn images(&self) -> Result<BTreeMap<Digest, LocalImage>, RuntimeError> {
        let options = ListImagesOptions { digests: true, ..Default::default() };
        let images = self.docker()?.list_images(Some(options)).await.map_err(refused("list images"))?;
        let mut found = BTreeMap::new();
        let here: BTreeSet<&String> = images.iter().map(|image| &image.id).collect();
        self.suiting.lock().unwrap_or_else(PoisonError::into_inner).retain(|id, _| here.contains(id));
        for image in &images {
            if image.repo_digests.is_empty() || !self.suits(&image.id).await? {
                continue;
            }
            let size = u64::try_from(image.size).unwrap_or(0);
            for name in &image.repo_digests {
                if let Some(Ok(digest)) = name.rsplit_once('@').map(|(_, digest)| digest.parse()) {
                    let origins = Some(pull::origins(&image.repo_digests, &digest));
                    found.insert(digest, LocalImage { id: image.id.clone(), size, origins });
                }
            }
        }
        Ok(found)
    }

    async fn pull(&self, image: &Image, progress: OnProgress<'_>) -> Result<LocalImage, PullError> {
        let docker = self.docker().map_err(PullError::Engine)?;
        let pulled = Call::Pull.around(pull::pull(docker, image, progress)).await?;
        // At once: whoever tidies up meanwhile takes what has no tag.
        if let Err(error) = hold::one(docker, &self.local, &image.digest, &pulled.id).await {
            tracing::warn!(image = image.pinned(), %error, "an image cannot be held");
        }
        Ok(pulled)
    }

    async fn remove_image(&self, id: &str) -> Result<(), RuntimeError> {
        // By id it needs force if two names stand for it; containers that use it still protect it.
        hold::none(self.docker()?, &self.local, id).await?;
        let options = RemoveImageOptions { force: false, ..Default::default() };
        match Call::RemoveImage.around(self.docker()?.remove_image(id, Some(options), None)).await {
            Ok(_) => Ok(()),
            Err(error) if matches!(error::status(&error), Some(404 | 409)) => Ok(()),
            Err(error) => Err(refused("remove an image")(error)),
        }
    }

    async fn create(&self, launch: &Launch) -> Result<String, RuntimeError> {
        if let Some(network) = &launch.network {
            let _making = self.networks.lock().await;
            networks::ensure(self.docker()?, &self.local, &launch.slot.service.environment, network).await?;
        }
        let user = self.image_user(launch).await?;
        let binds = Call::LayDown.around(self.files.lay_down(launch, user)).await?;
        let name = format!("windlass.{}.{}", self.local.fleet, launch.instance);
        let options = CreateContainerOptions { name: Some(name.clone()), platform: String::new() };
        let access = self.access.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let body = create::body(launch, &self.local, &access, binds);
        match Call::Create.around(self.docker()?.create_container(Some(options), body)).await {
            Ok(created) => Ok(created.id),
            // A hook runs once: whatever has its name is not it.
            Err(error) if error::status(&error) == Some(409) && launch.hook.is_none() => {
                self.adopt(&name, launch, error).await
            }
            Err(error) => {
                let error = error::starting("create the container", error);
                // An engine that went away may have made it nevertheless.
                if !error.is_unavailable() {
                    self.files.remove(&launch.instance).await;
                }
                Err(error)
            }
        }
    }

    async fn networks(&self) -> Result<Networks, RuntimeError> {
        networks::list(self.docker()?, &self.local).await
    }

    async fn remove_network(&self, environment: &EnvironmentId) -> Result<(), RuntimeError> {
        let _making = self.networks.lock().await;
        networks::remove(self.docker()?, &self.local, environment).await
    }

    async fn start(&self, id: &str) -> Result<(), RuntimeError> {
        self.hand_over(id).await?;
        Call::Start
            .around(self.docker()?.start_container(id, None))
            .await
            .map_err(|error| error::starting("start the container", error))
    }

    async fn stop(&self, id: &str) -> Result<(), RuntimeError> {
        // The engine kills it after the stop timeout of its release; one that then still does not answer hangs.
        let asked = answer(async {
            match self.docker()?.inspect_container(id, None).await {
                Err(error) if error::status(&error) == Some(404) => Ok(None),
                asked => asked.map(Some).map_err(refused("inspect a container")),
            }
        });
        let Some(seen) = asked.await? else { return Ok(()) };
        let seconds = seen.config.and_then(|config| config.stop_timeout).unwrap_or(10);
        let patience = Duration::from_secs(u64::try_from(seconds).unwrap_or(0)).min(STOP_TIMEOUT) + TIMEOUT;
        let patient = self.docker()?.clone().with_timeout(patience);
        match Call::Stop.around(patient.stop_container(id, None)).await {
            Err(error) if error::status(&error) == Some(404) => Ok(()),
            other => other.map_err(refused("stop the container")),
        }
    }

    async fn remove(&self, id: &str, instance: &str) -> Result<(), RuntimeError> {
        let options = RemoveContainerOptions { v: true, ..Default::default() };
        match Call::Remove.around(self.docker()?.remove_container(id, Some(options))).await {
            Ok(()) => {}
            Err(error) if error::status(&error) == Some(404) => {}
            Err(error) if error.to_string().contains("already in progress") => {}
            Err(error) => return Err(refused("remove the container")(error)),
        }
        Call::TakeAway.around(self.files.remove(instance)).await;
        Ok(())
    }

    async fn folder(&self, source: Source<'_>) -> Result<Option<PathBuf>, RuntimeError> {
        match source {
            Source::Bind(path) => Ok(Some(path.into())),
            Source::Volume(name) => binds::folder(self.docker()?, name).await,
        }
    }

    async fn host_binds(&self) -> Result<HostBinds, RuntimeError> {
        binds::read(self.docker()?, self.files.folder()).await
    }

    async fn tidy(&self, here: &BTreeSet<String>) {
        self.files.keep_only(here).await;
    }

    async fn keep_running(&self, id: &str) -> Result<(), RuntimeError> {
        Call::KeepRunning.around(create::set_policy(self.docker()?, id, Restarts::UNLESS_STOPPED)).await
    }

    async fn never_restart(&self, id: &str) -> Result<(), RuntimeError> {
        create::set_policy(self.docker()?, id, Restarts::NO).await
    }

    fn logs(&self, id: &str, options: LogOptions) -> RuntimeStream<LogLine> {
        match self.docker() {
            Ok(docker) => streams::logs(docker, id, options),
            Err(error) => streams::broken(error),
        }
    }

    async fn exec(&self, id: &str, argv: &[String], limit: Duration) -> Result<Command, RuntimeError> {
        exec::run(self.docker()?, id, argv, limit).await
    }

    async fn goes_on(&self, command: &str) -> Result<bool, RuntimeError> {
        Ok(exec::ended(self.docker()?, command).await?.is_none())
    }

    fn events(&self) -> RuntimeStream<EngineEvent> {
        match self.docker() {
            Ok(docker) => streams::events(docker, self.own()),
            Err(error) => streams::broken(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::StreamExt;
    use windlass_core::reconcile::LocalHost;

    use super::*;

    #[tokio::test]
    async fn an_engine_without_a_socket_is_away_and_hinders_no_start() {
        let dir = tempfile::tempdir().unwrap();
        let local = LocalHost {
            fleet: "demo".parse().unwrap(),
            host: "h1".parse().unwrap(),
            address: "127.0.0.1".to_owned(),
            policy: windlass_core::host::HostPolicy::default(),
        };
        let address = format!("unix://{}", dir.path().join("docker.sock").display());
        let engine = DockerEngine::new(&address, Arc::new(local), dir.path()).unwrap();
        assert!(engine.list().await.unwrap_err().is_unavailable());
        assert!(matches!(engine.events().next().await, Some(Err(error)) if error.is_unavailable()));
        // A socket that appears is used: here one that nobody listens on any more, which is another reason.
        drop(std::os::unix::net::UnixListener::bind(dir.path().join("docker.sock")).unwrap());
        assert!(engine.has_socket() && engine.list().await.unwrap_err().is_unavailable());
        assert!(engine.client.get().is_some());
    }
}
