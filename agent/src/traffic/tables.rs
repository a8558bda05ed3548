//! The newest table of each environment, one file for each. Nothing unverified is ever written, and a table is written
//! before anybody follows it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_certs::files::{self, FileError};
use windlass_certs::json;
use windlass_core::EnvironmentId;
use windlass_core::traffic::Routes;
use windlass_core::verify::{AcceptedRoutes, Committed};
use windlass_proto::limits::{MAX_ROUTES_ENVELOPE, MAX_ROUTES_POSITIONS};

use crate::data::read_bounded;

/// A table that was verified.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its numbers and digest.
    pub accepted: AcceptedRoutes,
    /// Its envelope, as it came.
    pub envelope: Arc<[u8]>,
}

/// The newest table of each environment.
pub type Tables = BTreeMap<EnvironmentId, Table>;

/// The reason for which a table cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum TableStoreError {
    /// Writing failed.
    #[error("failed to keep a traffic table")]
    Write(#[from] FileError),
    /// The folder cannot be read.
    #[error("failed to read the folder of traffic tables")]
    Read(#[from] io::Error),
    /// More environments than any host serves.
    #[error("tables of more than {MAX_ROUTES_POSITIONS} environments")]
    TooMany,
}

/// The folder.
#[derive(Debug, Clone)]
pub struct TableStore {
    folder: PathBuf,
}

impl TableStore {
    /// Opens the folder, and makes it if it is missing.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(folder: &Path) -> Result<Self, TableStoreError> {
        files::create_private_dir(folder)?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// The tables that were written. Signatures are not asked again: the key may have been replaced since, and a table stays in
    /// force until the next one. A file that cannot be read is logged, and is as if it was not there.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn load(&self) -> Result<BTreeMap<EnvironmentId, (Table, Routes)>, TableStoreError> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(&self.folder)?.take(4 * MAX_ROUTES_POSITIONS) {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            match read(&path) {
                Ok((table, routes)) => {
                    found.insert(routes.environment.clone(), (table, routes));
                }
                Err(error) => {
                    tracing::error!(path = %path.display(), %error, "a traffic table cannot be read; the next one takes its place");
                }
            }
        }
        Ok(found)
    }

    /// Writes the newest table of an environment. When this has returned, the table is on the disk.
    ///
    /// # Errors
    /// It cannot be written; the one before stays.
    pub fn put(&self, environment: &EnvironmentId, envelope: &[u8]) -> Result<(), TableStoreError> {
        Ok(files::replace_secret(&self.path(environment), envelope)?)
    }

    /// A name of an environment is a label, so it is the name of a file.
    fn path(&self, environment: &EnvironmentId) -> PathBuf {
        self.folder.join(format!("{environment}.json"))
    }
}

fn read(path: &Path) -> anyhow::Result<(Table, Routes)> {
    let bytes = read_bounded(path, u64::try_from(MAX_ROUTES_ENVELOPE)?)?;
    let envelope = Envelope::parse(&bytes, PayloadType::Routes.max_len())?;
    anyhow::ensure!(envelope.payload_type() == PayloadType::Routes, "it is no traffic table");
    let routes: Routes = json::decode_bounded(envelope.payload_bytes(), PayloadType::Routes.max_len())?;
    routes.check()?;
    let named = path.file_stem().is_some_and(|stem| stem == routes.environment.as_str());
    anyhow::ensure!(named, "it is of environment `{}`", routes.environment);
    let committed = Committed { seq: routes.seq, digest: envelope.digest() };
    let accepted = AcceptedRoutes { epoch: routes.epoch, committed };
    Ok((Table { accepted, envelope: bytes.into() }, routes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Fleet;

    #[test]
    fn the_newest_table_of_each_environment_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let (store, fleet) = (TableStore::open(&dir.path().join("routes")).unwrap(), Fleet::new());
        let production: EnvironmentId = "production".parse().unwrap();
        store.put(&production, &fleet.sign_routes(&fleet.routes(6))).unwrap();
        store.put(&production, &fleet.sign_routes(&fleet.routes(7))).unwrap();
        let found = store.load().unwrap();
        assert_eq!(found[&production].0.accepted.committed.seq, 7);
        assert_eq!(found[&production].1, fleet.routes(7));
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn a_file_that_is_no_table_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let (store, fleet) = (TableStore::open(&dir.path().join("routes")).unwrap(), Fleet::new());
        store.put(&"staging".parse().unwrap(), &fleet.sign_routes(&fleet.routes(7))).unwrap();
        store.put(&"other".parse().unwrap(), b"nonsense").unwrap();
        store.put(&"plans".parse().unwrap(), &fleet.sign_plan(&fleet.plan(1, &[]))).unwrap();
        assert!(store.load().unwrap().is_empty(), "each is of another environment, or no table");
    }
}
