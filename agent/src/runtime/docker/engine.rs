//! The connection to an engine: its socket, made into a client once there is one.

use std::collections::BTreeMap;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bollard::Docker;
use windlass_core::host::GpuAccess;
use windlass_core::reconcile::{Launch, LocalHost};

use super::super::{RuntimeError, labels};
use super::error::{self, refused, unavailable};
use super::{credentials, files, pull};
use crate::facts;

/// The engine answers within this, whatever it is asked.
pub(super) const TIMEOUT: Duration = Duration::from_secs(60);
/// But stopping takes as long as a release's stop timeout, which is at most this.
pub(super) const STOP_TIMEOUT: Duration = Duration::from_secs(3600);

/// The address of an engine is not one that this program can use.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Only sockets are spoken to.
    #[error("`{0}` is not an engine's address (`unix:///var/run/docker.sock`)")]
    NotASocket(String),
}

/// A Docker Engine.
#[derive(Debug, Clone)]
pub struct DockerEngine {
    pub(super) client: OnceLock<Docker>,
    pub(super) socket: PathBuf,
    pub(super) local: Arc<LocalHost>,
    pub(super) files: Arc<files::Store>,
    pub(super) suiting: Arc<Mutex<BTreeMap<String, bool>>>,
    /// Held while an inner network is made, so that each is made once.
    pub(super) networks: Arc<tokio::sync::Mutex<()>>,
    /// The way in which it gave GPUs to containers when it was last asked.
    pub(super) access: Arc<Mutex<GpuAccess>>,
}

impl DockerEngine {
    /// The engine at `address` (`unix:///…` or a path). It need not answer yet. Files of releases are laid down
    /// under `files`, which the engine must see at the same path.
    pub fn new(address: &str, local: Arc<LocalHost>, files: &Path) -> Result<Self, ConnectError> {
        let path = address.strip_prefix("unix://").unwrap_or(address);
        if !path.starts_with('/') {
            return Err(ConnectError::NotASocket(address.to_owned()));
        }
        let (files, suiting) = (Arc::new(files::Store::new(files)), Arc::default());
        let (access, networks) = (Arc::default(), Arc::default());
        Ok(Self { client: OnceLock::new(), socket: path.into(), local, files, suiting, networks, access })
    }

    /// The client. It cannot be made before there is a socket, and an engine that is stopped may have none: an agent
    /// that comes back meanwhile waits for it.
    pub(super) fn docker(&self) -> Result<&Docker, RuntimeError> {
        if let Some(docker) = self.client.get() {
            return Ok(docker);
        }
        let path = self.socket.to_string_lossy();
        // The API version is no part of any request; what differs between versions is not used.
        let docker = Docker::connect_with_unix(&path, TIMEOUT.as_secs(), bollard::API_DEFAULT_VERSION)
            .map_err(unavailable)?
            .with_request_modifier(credentials::url_safe);
        Ok(self.client.get_or_init(|| docker))
    }

    /// Returns whether there is a socket at all, for diagnosis.
    pub fn has_socket(&self) -> bool {
        std::fs::metadata(&self.socket).is_ok_and(|meta| meta.file_type().is_socket())
    }

    /// Returns whether the image is for this machine. An engine also lists what was pulled for another one, be it by mistake; such an
    /// image is none that a release could mean. An id is a digest, so that the answer is remembered.
    pub(super) async fn suits(&self, id: &str) -> Result<bool, RuntimeError> {
        let known = |new: Option<bool>| {
            let mut known = self.suiting.lock().unwrap_or_else(PoisonError::into_inner);
            new.map(|new| known.insert(id.to_owned(), new));
            known.get(id).copied()
        };
        if let Some(suits) = known(None) {
            return Ok(suits);
        }
        match self.docker()?.inspect_image(id).await {
            Ok(image) => Ok(known(Some(pull::suits(facts::platform(), &image))).unwrap_or(false)),
            Err(error) if error::status(&error) == Some(404) => Ok(false),
            Err(error) => Err(refused("inspect an image")(error)),
        }
    }

    pub(super) fn own(&self) -> Vec<String> {
        vec![
            format!("{}={}", labels::FLEET, self.local.fleet),
            format!("{}={}", labels::HOST, self.local.host),
        ]
    }

    /// The user that the image names, where the files of the release belong to it.
    pub(super) async fn image_user(&self, launch: &Launch) -> Result<Option<String>, RuntimeError> {
        let spec = &launch.release.release.spec;
        if spec.files.is_empty() || spec.security.user.is_some() {
            return Ok(None);
        }
        let image = self.docker()?.inspect_image(&launch.image).await;
        let image = image.map_err(|error| error::starting("inspect the image", error))?;
        Ok(image.config.and_then(|config| config.user))
    }
}
