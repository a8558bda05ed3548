//! The files of `init`. The coordinator's folder:
//!
//! ```text
//! server.toml      settings
//! ca/              the CA's certificate and key
//! keys/            dispatch.key, audit.key
//! trust/1.json     version 1 of the trust document
//! ```

use std::io;
use std::path::{Path, PathBuf};

use windlass_certs::ca::CertificateAuthority;
use windlass_certs::csr::CertifiedIdentity;
use windlass_certs::files;

use super::wanted::{InitError, Keys, Wanted};
use crate::error::CtlError;

/// The files.
pub(super) struct Parts<'a> {
    pub(super) keys: &'a Keys,
    pub(super) ca: &'a CertificateAuthority,
    pub(super) trust: &'a [u8],
    pub(super) operator: &'a CertifiedIdentity,
}

/// An empty folder is as good as none.
pub(super) fn refuse_existing(path: &Path) -> Result<(), InitError> {
    let is_free = match std::fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    if is_free { Ok(()) } else { Err(InitError::Exists { path: path.to_owned() }) }
}

/// Writes both folders, or neither.
pub(super) fn write(
    fleet_home: &Path,
    server_dir: &Path,
    wanted: &Wanted<'_>,
    parts: &Parts<'_>,
) -> Result<(), CtlError> {
    let (home, server) = (Staged::new(fleet_home)?, Staged::new(server_dir)?);
    write_home(&home.temporary, parts)?;
    write_server(&server.temporary, wanted, parts)?;
    home.commit()?;
    server.commit().inspect_err(|_| drop(std::fs::remove_dir_all(fleet_home)))?;
    Ok(())
}

fn write_home(folder: &Path, parts: &Parts<'_>) -> Result<(), CtlError> {
    parts.keys.root.save(&folder.join("root.key"))?;
    parts.keys.release.save(&folder.join("release.key"))?;
    // With the operators: a captured coordinator could revoke its own successor.
    parts.keys.revoke.save(&folder.join("revoke.key"))?;
    parts.operator.save(&folder.join("operator.pem"))?;
    files::create_secret(&folder.join("ca.pem"), parts.ca.certificate_pem().as_bytes())?;
    write_trust(folder, parts)
}

fn write_server(folder: &Path, wanted: &Wanted<'_>, parts: &Parts<'_>) -> Result<(), CtlError> {
    parts.ca.save(&folder.join("ca"))?;
    let keys = folder.join("keys");
    files::create_private_dir(&keys)?;
    parts.keys.dispatch.save(&keys.join("dispatch.key"))?;
    parts.keys.audit.save(&keys.join("audit.key"))?;
    files::create_secret(&folder.join("server.toml"), settings(wanted).as_bytes())?;
    write_trust(folder, parts)
}

fn write_trust(folder: &Path, parts: &Parts<'_>) -> Result<(), CtlError> {
    let trust = folder.join("trust");
    files::create_private_dir(&trust)?;
    Ok(files::create_secret(&trust.join("1.json"), parts.trust)?)
}

/// `server.toml`.
fn settings(wanted: &Wanted<'_>) -> String {
    let mut text = format!(
        "# Coordinator of fleet `{}`, reached at {}.\n\
         # Every key has a default; WINDLASS_* variables win over this file, and flags over both.\n\n\
         listen = \"{}\"\n\
         # http = \"127.0.0.1:7480\"          # /metrics, /healthz, /readyz\n",
        wanted.args.fleet,
        wanted.server,
        listen(&wanted.server),
    );
    if wanted.args.lifetimes.is_empty() {
        text.push_str(
            "\n# [certificates]\n# agent = \"24h\"\n# operator = \"8h\"\n# coordinator = \"24h\"\n",
        );
    } else {
        text.push_str("\n[certificates]\n");
        for lifetime in &wanted.args.lifetimes {
            text.push_str(&format!("{} = \"{}\"\n", lifetime.role, lifetime.span));
        }
    }
    text
}

/// The address on which the coordinator listens: loopback if it is reached there, else every address, since its public name or
/// address may not be one of the machine's own.
pub(super) fn listen(server: &str) -> String {
    match server.parse::<std::net::SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => address.to_string(),
        Ok(_) | Err(_) => {
            let (host, port) = server.rsplit_once(':').unwrap_or(("", "7443"));
            let host = if host == "localhost" { "127.0.0.1" } else { "0.0.0.0" };
            format!("{host}:{port}")
        }
    }
}

/// A folder in the making, beside its place.
struct Staged {
    temporary: PathBuf,
    place: PathBuf,
}

impl Staged {
    fn new(place: &Path) -> Result<Self, CtlError> {
        // `.` and `..` have no name; what they stand for has one.
        let place = &std::path::absolute(place).unwrap_or_else(|_| place.to_owned());
        let mut name = place.file_name().unwrap_or_default().to_owned();
        name.push(format!(".init-{}", std::process::id()));
        let temporary = place.with_file_name(name);
        files::create_private_dir(&temporary)?;
        Ok(Self { temporary, place: place.to_owned() })
    }

    fn commit(&self) -> Result<(), InitError> {
        // Over a folder that is empty this works; over one that is not, it fails.
        std::fs::rename(&self.temporary, &self.place)
            .map_err(|source| InitError::Make { path: self.place.clone(), source })
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Gone already if all went well.
        drop(std::fs::remove_dir_all(&self.temporary));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_it_listens() {
        #[rustfmt::skip]
        let table = [("127.0.0.1:7443", "127.0.0.1:7443"), ("localhost:1", "127.0.0.1:1"), ("192.0.2.1:7443", "0.0.0.0:7443"),
            ("windlass.example.com:443", "0.0.0.0:443"), ("[::1]:7443", "[::1]:7443")];
        for (server, want) in table {
            assert_eq!(listen(server), want, "{server}");
        }
    }
}
