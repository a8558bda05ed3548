//! The commented file that a join writes, so that ordinary images run and everything else is one edit away.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use windlass_core::policy::normalise_repository;

/// The reason for which the starter file was not written.
#[derive(Debug, thiserror::Error)]
pub enum StarterError {
    /// A registry that is none.
    #[error(transparent)]
    Registry(#[from] windlass_core::policy::InvalidRepository),
    /// No registry was named, so the file would allow nothing.
    #[error("there is no host policy `{0}` yet, and no registry to write into it")]
    NoRegistry(PathBuf),
    /// Writing failed.
    #[error("failed to write the host policy `{path}`")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl StarterError {
    /// Returns the next step of the user.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Registry(_) | Self::NoRegistry(_) => {
                Some("name where images may come from: `--registry registry.example.com/team`".to_owned())
            }
            Self::Write { .. } => Some("run as root, or name another file with `--policy FILE`".to_owned()),
        }
    }
}

/// Writes the starter file with mode 0644 if there is none. Answers whether it wrote one.
pub fn write_starter(path: &Path, registries: &[String], insecure: &[String]) -> Result<bool, StarterError> {
    if path.exists() {
        return Ok(false);
    }
    let registries: Vec<String> =
        registries.iter().map(|text| normalise_repository(text)).collect::<Result<_, _>>()?;
    if registries.is_empty() {
        return Err(StarterError::NoRegistry(path.to_owned()));
    }
    let failed = |source| StarterError::Write { path: path.to_owned(), source };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    // Whole or not at all: half a policy would be there, and refused, at every further try to join.
    let beside = path.with_extension("toml.unfinished");
    let written =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&beside).and_then(
            |mut file| {
                file.set_permissions(fs::Permissions::from_mode(0o644))?;
                file.write_all(text(&registries, insecure).as_bytes())?;
                file.sync_all()
            },
        );
    // A link fails where a rename would replace.
    let linked = written.and_then(|()| fs::hard_link(&beside, path));
    drop(fs::remove_file(&beside));
    match linked {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

pub(super) fn text(registries: &[String], insecure: &[String]) -> String {
    let listed = |all: &[String]| all.iter().map(|one| format!("{one:?}")).collect::<Vec<_>>().join(", ");
    let comment = if insecure.is_empty() { "# " } else { "" };
    format!(
        r#"# What may run on this host at all. It can only narrow what operators sign, and the coordinator cannot
# reach it. Owned by root, mode 0644 or stricter. `windlass-agent doctor` checks it; restart the agent after a change.

# Where images may come from: exact prefixes, part by part. The one required key.
registries = [{}]

# What a release may ask for: an image that starts as root and changes its user (nginx, postgres, redis) needs these, and has none that its
# release does not name. All others are dropped. Write [] for hosts on which no container changes its user.
capabilities = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"]

{comment}insecure_registries = [{}]          # registries off loopback that may be plain HTTP
# labels = {{ role = "app" }}         # keep only these of the labels given at join; default: all of them
# environments = ["production"]     # environments this host serves; default: any
# host_ports = [80, 443]            # fixed ports a release may ask for; default: none
# port_range = "20000-29999"        # where the agent draws its own ports
# mounts = ["/srv"]                 # folders a release may bind, after links; default: none
# gpus = "all"                      # or a number, for all releases together
# gpu_reserve = "0B"                # memory of each GPU that shares leave free, for what else runs here
# users = "non-root"                # or "any", the default
# max_memory = "90%"                # of the machine, for all releases together; or a size
# max_image = "20GiB"               # compressed
# verify_origin = false             # run an image that is here already only if it came from its own registry
# endpoint_networks = ["10.0.0.0/8"]  # where other hosts are that an ingress of this one leads requests to; default: any
# inner_networks = "10.210.0.0/16"  # networks of services that call others by name (`uses`) are drawn from it
# behind_nat = true                 # a router translates this host's address: no interface has it, and that is no condition
"#,
        listed(registries),
        listed(insecure),
    )
}
