//! Files of a release, laid down on the host and bound into the container.
//!
//! The engine refuses to unpack an archive into a container whose root is read-only, so that binds are the
//! one way that always works.

use std::collections::BTreeSet;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard::models::{Mount, MountType};
use windlass_core::reconcile::Launch;
use windlass_core::release::Spec;

use super::super::RuntimeError;

/// The file, beside those of an instance, that names the user whom they wait for. They are given to that user before the first start:
/// its numbers are in the container, and an agent that dies in between finds what is still to be done.
const WAITS: &str = "owner";

/// The folder of all instances' files, one folder for each.
#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
}

impl Store {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// The folder of all.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes the files of an instance, which runs as this user of its image unless the release names one. Answers with
    /// their binds.
    pub(super) async fn lay_down(
        &self,
        launch: &Launch,
        image_user: Option<String>,
    ) -> Result<Vec<Mount>, RuntimeError> {
        if launch.release.release.spec.files.is_empty() {
            return Ok(Vec::new());
        }
        let folder = self.folder.join(&launch.instance);
        let release = launch.release.clone();
        let write = move || write(&folder, &release.release.spec, image_user.as_deref());
        let written = tokio::task::spawn_blocking(write).await;
        let refused = |message: String| RuntimeError::Refused { doing: "write the release's files", message };
        written.map_err(|error| refused(error.to_string()))?.map_err(|error| refused(error.to_string()))
    }

    /// Whether the files of any instance wait for their owner.
    pub(super) async fn any_waits(&self) -> bool {
        let folder = self.folder.clone();
        let look = move || {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            entries.into_iter().any(|entry| entry.path().join(WAITS).exists())
        };
        tokio::task::spawn_blocking(look).await.unwrap_or(true)
    }

    /// The name of the user that the files of an instance wait for; `None` if they wait for none.
    pub(super) async fn waits_for(&self, instance: &str) -> Result<Option<String>, RuntimeError> {
        match tokio::fs::read_to_string(self.folder.join(instance).join(WAITS)).await {
            Ok(user) => Ok(Some(user)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(not_given(error.to_string())),
        }
    }

    /// Gives the files of an instance to a user and a group. They wait for nobody then.
    pub(super) async fn give(&self, instance: &str, owner: (u32, u32)) -> Result<(), RuntimeError> {
        let folder = self.folder.join(instance);
        let give = move || -> std::io::Result<()> {
            for entry in std::fs::read_dir(&folder)? {
                let entry = entry?;
                if entry.file_name() != WAITS {
                    chown(entry.path(), Some(owner.0), Some(owner.1))?;
                }
            }
            std::fs::remove_file(folder.join(WAITS))
        };
        let given = tokio::task::spawn_blocking(give).await;
        given.map_err(|error| not_given(error.to_string()))?.map_err(|error| not_given(error.to_string()))
    }

    /// Forgets the files of every instance that is not `here`: its container was never made, or has gone, and the
    /// agent died in between.
    pub(super) async fn keep_only(&self, here: &BTreeSet<String>) {
        let (folder, here) = (self.folder.clone(), here.clone());
        match tokio::task::spawn_blocking(move || sweep(&folder, &here)).await {
            Ok(Ok(0)) | Err(_) => {}
            Ok(Ok(count)) => tracing::info!(count, "removed files of instances that are no more"),
            Ok(Err(error)) => tracing::warn!(%error, "files of instances that are no more stay"),
        }
    }

    /// Forgets the files of an instance.
    pub(super) async fn remove(&self, instance: &str) {
        let folder = self.folder.join(instance);
        match tokio::fs::remove_dir_all(&folder).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(folder = %folder.display(), %error, "files of a removed instance stay");
            }
            Ok(()) | Err(_) => {}
        }
    }
}

fn not_given(message: String) -> RuntimeError {
    RuntimeError::Refused { doing: "give the release's files to its user", message }
}

fn sweep(folder: &Path, here: &BTreeSet<String>) -> std::io::Result<usize> {
    let mut removed = 0;
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_str().is_none_or(|instance| !here.contains(instance)) {
            std::fs::remove_dir_all(entry.path())?;
            removed += 1;
        }
    }
    Ok(removed)
}

fn write(folder: &Path, spec: &Spec, image_user: Option<&str>) -> std::io::Result<Vec<Mount>> {
    // Names in it give nothing away, and only root looks in.
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    if let Some(user) = named_owner(spec, image_user) {
        std::fs::write(folder.join(WAITS), user)?;
    }
    let owner = owner(user(spec, image_user));
    let mut binds = Vec::new();
    for (index, (target, file)) in spec.files.iter().enumerate() {
        let content = STANDARD.decode(&file.content).map_err(std::io::Error::other)?;
        let path = folder.join(index.to_string());
        std::fs::write(&path, content)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(file.mode & 0o777))?;
        if let Some((user, group)) = owner {
            // Without the right to, the file stays ours, and everybody has to be able to read it.
            if let Err(error) = chown(&path, Some(user), group)
                && file.mode & 0o004 == 0
            {
                let why = format!("the file for `{target}` cannot be given to user {user}: {error}");
                return Err(std::io::Error::new(error.kind(), why));
            }
        }
        binds.push(Mount {
            target: Some(target.clone()),
            source: Some(path.to_string_lossy().into_owned()),
            typ: Some(MountType::BIND),
            read_only: Some(true),
            ..Default::default()
        });
    }
    Ok(binds)
}

/// The user of the instance: the release's, else the image's; `None` is root.
fn user<'u>(spec: &'u Spec, image_user: Option<&'u str>) -> Option<&'u str> {
    spec.security.user.as_deref().or(image_user).filter(|user| !user.is_empty())
}

/// Returns the user of the instance if it is a name other than root and at least one file is not readable by all.
fn named_owner<'u>(spec: &'u Spec, image_user: Option<&'u str>) -> Option<&'u str> {
    let is_private = spec.files.values().any(|file| file.mode & 0o004 == 0);
    user(spec, image_user).filter(|user| {
        let name = user.split(':').next().unwrap_or_default();
        is_private && name != "root" && name.parse::<u32>().is_err()
    })
}

/// `1000` or `1000:1000`; a name says nothing outside its image.
fn owner(user: Option<&str>) -> Option<(u32, Option<u32>)> {
    let user = user?;
    match user.split_once(':') {
        Some((user, group)) => Some((user.parse().ok()?, group.parse().ok())),
        None => Some((user.parse().ok()?, None)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[tokio::test]
    async fn only_files_of_instances_that_are_here_stay() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(&dir.path().join("files"));
        store.keep_only(&BTreeSet::new()).await; // there is no folder yet
        for instance in ["default.web.0.r1.1", "default.web.0.r2.2"] {
            std::fs::create_dir_all(store.folder.join(instance)).unwrap();
            std::fs::write(store.folder.join(instance).join("0"), b"secret").unwrap();
        }
        store.keep_only(&BTreeSet::from(["default.web.0.r1.1".to_owned()])).await;
        assert!(store.folder.join("default.web.0.r1.1/0").exists());
        assert!(!store.folder.join("default.web.0.r2.2").exists());
    }

    #[test]
    fn a_private_file_belongs_to_the_user_of_the_image() {
        let of = |mode: u32, own: Option<&str>| -> Spec {
            let mut release = crate::fixture::release(1);
            let file = serde_json::json!({ "content": STANDARD.encode("key"), "mode": mode });
            release.spec.files = [("/run/key".to_owned(), serde_json::from_value(file).unwrap())].into();
            release.spec.security.user = own.map(str::to_owned);
            release.spec
        };
        let dir = tempfile::tempdir().unwrap();
        let own = std::fs::metadata(dir.path()).unwrap();
        let owner = format!("{}:{}", own.uid(), own.gid());
        let write = |mode, own, user| write(&dir.path().join("web"), &of(mode, own), user).map(drop);
        for (mode, own, user, named) in [
            (0o600, None, Some("app"), Some("app")),
            (0o640, Some("app:keys"), Some("other"), Some("app:keys")),
            (0o600, None, Some(owner.as_str()), None),
            (0o644, None, Some("app"), None),
            (0o600, None, Some("root"), None),
            (0o600, None, Some(""), None),
            (0o600, Some(owner.as_str()), Some("app"), None),
        ] {
            assert!(write(mode, own, user).is_ok(), "{mode:o} {own:?} {user:?}");
            assert_eq!(named_owner(&of(mode, own), user), named, "{mode:o} {own:?} {user:?}");
        }
        if own.uid() == 0 {
            write(0o600, None, Some("1000:1001")).unwrap();
            let file = std::fs::metadata(dir.path().join("web/0")).unwrap();
            assert_eq!((file.uid(), file.gid(), file.mode() & 0o777), (1000, 1001, 0o600));
        }
    }

    #[tokio::test]
    async fn files_wait_for_an_owner_until_they_are_given() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(&dir.path().join("files"));
        let mut release = crate::fixture::release(1);
        let file = serde_json::json!({ "content": STANDARD.encode("key"), "mode": 0o600 });
        release.spec.files = [("/run/key".to_owned(), serde_json::from_value(file).unwrap())].into();
        assert!(!store.any_waits().await, "there is no folder yet");
        write(&store.folder.join("web.1"), &release.spec, Some("1000")).unwrap_or_default();
        assert!(!store.any_waits().await, "a number needs no image");
        write(&store.folder.join("web.2"), &release.spec, Some("app")).unwrap();
        assert!(store.any_waits().await);
        assert_eq!(store.waits_for("web.2").await.unwrap().as_deref(), Some("app"));
        assert_eq!(store.waits_for("web.1").await.unwrap(), None);
        let own = std::fs::metadata(dir.path()).unwrap();
        store.give("web.2", (own.uid(), own.gid())).await.unwrap();
        assert!(!store.any_waits().await && store.waits_for("web.2").await.unwrap().is_none());
        let kept = std::fs::metadata(store.folder.join("web.2/0")).unwrap();
        assert_eq!((kept.uid(), kept.mode() & 0o777), (own.uid(), 0o600));
    }

    #[test]
    fn only_numbers_name_an_owner() {
        #[rustfmt::skip]
        let table = [
            (None, None), (Some("app"), None), (Some("1000"), Some((1000, None))),
            (Some("1000:7"), Some((1000, Some(7)))), (Some("1000:app"), Some((1000, None))), (Some(":7"), None),
        ];
        for (user, want) in table {
            assert_eq!(owner(user), want, "{user:?}");
        }
    }
}
