//! The meaning of `policy.toml`, and why there is none.

use std::collections::BTreeMap;
use std::path::PathBuf;

use windlass_core::host::HostPolicy;

/// The file, read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// The rules of the host.
    pub host: HostPolicy,
    /// Labels pinned here; those given at join if absent.
    pub labels: Option<BTreeMap<String, String>>,
    /// Whether a router translates the host's address, so that no interface has it.
    pub behind_nat: bool,
}

/// The reason for which there is no policy. The agent does not start.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// There is none.
    #[error("there is no host policy `{0}`, and without one nothing may run")]
    Missing(PathBuf),
    /// It cannot be read.
    #[error("failed to read the host policy `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Somebody else could have written it.
    #[error("the host policy `{path}` belongs to user {owner}")]
    Owner {
        /// The file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// Somebody else could write it.
    #[error("the host policy `{path}` has mode {mode:04o}, it must have 0644 or stricter")]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Somebody else could put another file there.
    #[error("the host policy `{path}` can be replaced by others")]
    Folder {
        /// The file.
        path: PathBuf,
        /// By which folder.
        #[source]
        source: windlass_certs::files::FileError,
    },
    /// Not TOML, an unknown key, or a value of the wrong kind.
    #[error("the host policy `{path}` cannot be read")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The place and the reason.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A value that makes no sense.
    #[error("the host policy `{path}` has a bad `{key}`: {why}")]
    Value {
        /// The file.
        path: PathBuf,
        /// Which key.
        key: &'static str,
        /// The mistake in it.
        why: String,
    },
}

impl PolicyError {
    /// Returns the next step of the user.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing(path) => Some(format!(
                "`windlass-agent join` writes a starter file; by hand, the one required key is:\n      echo \
                 'registries = [\"registry.example.com/team\"]' > {}",
                path.display()
            )),
            Self::Owner { path, .. } => Some(format!("run `chown root {}`", path.display())),
            Self::Mode { path, .. } => Some(format!("run `chmod 644 {}`", path.display())),
            Self::Folder { source, .. } => source.hint(),
            Self::Malformed { .. } => Some(
                "known keys: registries, insecure_registries, labels, environments, host_ports, port_range, mounts, \
                 capabilities, gpus, gpu_reserve, users, exec, max_memory, max_image, verify_origin, \
                 endpoint_networks, inner_networks, behind_nat"
                    .to_owned(),
            ),
            Self::Read { .. } | Self::Value { .. } => None,
        }
    }
}
