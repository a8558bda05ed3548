//! The folder of an ingress: the trust document in force, and the newest table of each environment. It begins with these
//! when nobody else is there.
//!
//! ```text
//! trust.json      fleet, host, trust document; the first one that the agent sent is pinned
//! routes/         the newest table of each environment
//! networks.json   the inner networks of the host, as the agent told them last
//! reach.json      the addresses that requests may go to from this host, as the agent told them last
//! holds.json      the ports of releases that its agent has restored, by which requests are led
//! lock            held by the process that serves
//! handover.sock   a successor connects here
//! ```

mod error;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_certs::files::{self, FileError};
use windlass_certs::trust::{TrustError, TrustStore};
use windlass_core::network::{InnerNetwork, MAX_CALLED, MAX_NETWORKS, SUBNET_BITS, is_range};
use windlass_core::traffic::{Hold, MAX_HOLDS, Reach, Routes};
use windlass_core::verify::PlanOrder;
use windlass_core::{Digest, EnvironmentId, FleetId, HostId, Timestamp};

use crate::data::{DataDir, read_bounded};
use crate::traffic::tables::{Table, TableStore, TableStoreError, Tables};
use crate::traffic::wire::Position;
use crate::verify;

pub use error::StateError;
pub(super) use error::{NoNetworks, NoTable, NoTrust};

const NETWORKS: &str = "networks.json";
const REACH: &str = "reach.json";
/// Most bytes of that file.
const MOST_NETWORKS: u64 = 8 << 20;

const HOLDS: &str = "holds.json";
/// Most bytes of that file.
const MOST_HOLDS: u64 = 8 << 20;

/// The content of the folder.
#[derive(Debug)]
pub(super) struct State {
    folder: PathBuf,
    pinned: Option<Pinned>,
    store: TableStore,
    tables: Tables,
    networks: Vec<InnerNetwork>,
    reach: Reach,
    holds: Vec<Hold>,
    /// Whether this process writes: one that ends leaves that to its successor.
    writes: bool,
}

#[derive(Debug)]
struct Pinned {
    fleet: FleetId,
    host: HostId,
    trust: TrustStore,
}

/// `trust.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Written {
    version: u32,
    fleet: FleetId,
    host: HostId,
    digest: Digest,
    envelope: String,
}

impl State {
    /// Reads the folder; makes it if it is missing.
    pub(super) fn open(folder: &Path) -> Result<(Self, Vec<Routes>), StateError> {
        DataDir::create(folder)?;
        let store = TableStore::open(&folder.join("routes"))?;
        let path = folder.join("trust.json");
        let pinned = if path.exists() { Some(read(&path)?) } else { None };
        let (mut tables, mut routes) = (Tables::new(), Vec::new());
        if pinned.is_some() {
            for (environment, (table, said)) in store.load()? {
                tables.insert(environment, table);
                routes.push(said);
            }
        }
        let (networks, holds) = (networks(&folder.join(NETWORKS)), holds(&folder.join(HOLDS)));
        let mut reach = reach(&folder.join(REACH));
        reach.host = pinned.as_ref().map(|pinned| pinned.host.clone()).or(reach.host);
        let folder = folder.to_owned();
        Ok((Self { folder, pinned, store, tables, networks, reach, holds, writes: true }, routes))
    }

    /// The ports of releases that the agent of this host has restored, as they were kept last.
    pub(super) fn held_ports(&self) -> Option<(HostId, Vec<Hold>)> {
        let host = self.pinned.as_ref()?.host.clone();
        (!self.holds.is_empty()).then(|| (host, self.holds.clone()))
    }

    /// Writes down the ports by which requests are led.
    pub(super) fn keep_holds(&mut self, holds: Vec<Hold>) -> Result<(), FileError> {
        if self.writes && self.holds != holds {
            let bytes = serde_json::to_vec(&holds).unwrap_or_default();
            files::replace_secret(&self.folder.join(HOLDS), &bytes)?;
        }
        self.holds = holds;
        Ok(())
    }

    /// The inner networks of the host, as they were told last.
    pub(super) fn networks(&self) -> &[InnerNetwork] {
        &self.networks
    }

    /// Writes the inner networks of the host down.
    pub(super) fn take_networks(&mut self, networks: Vec<InnerNetwork>) -> Result<(), NoNetworks> {
        check(&networks)?;
        if self.writes && self.networks != networks {
            let bytes = serde_json::to_vec(&networks).unwrap_or_default();
            files::replace_secret(&self.folder.join(NETWORKS), &bytes)?;
        }
        self.networks = networks;
        Ok(())
    }

    /// Version of the trust document in force; 0 if there is none.
    pub(super) fn trust_version(&self) -> u64 {
        self.pinned.as_ref().map_or(0, |pinned| pinned.trust.version())
    }

    /// The newest table of each environment.
    pub(super) fn positions(&self) -> BTreeMap<EnvironmentId, Position> {
        self.tables.iter().map(|(name, table)| (name.clone(), table.accepted.into())).collect()
    }

    /// Whether this process writes, or leaves that to another one.
    pub(super) const fn write(&mut self, writes: bool) {
        self.writes = writes;
    }

    /// The addresses that requests may go to, as they were told last.
    pub(super) const fn reach(&self) -> &Reach {
        &self.reach
    }

    /// The agent says whose it is, and how far requests may go: the next tables are followed so far.
    pub(super) fn greet(&mut self, fleet: &FleetId, host: &HostId, reach: Reach) -> Result<(), NoTrust> {
        if let Some(pinned) =
            self.pinned.as_ref().filter(|pinned| pinned.fleet != *fleet || pinned.host != *host)
        {
            return Err(NoTrust::Stranger {
                fleet: pinned.fleet.clone(),
                mine: pinned.host.clone(),
                theirs: host.clone(),
            });
        }
        // An agent of before does not say; its host is known all the same.
        let reach = Reach { host: Some(host.clone()), ..reach };
        if self.writes && self.reach != reach {
            let bytes = serde_json::to_vec(&reach).unwrap_or_default();
            files::replace_secret(&self.folder.join(REACH), &bytes)?;
        }
        self.reach = reach;
        Ok(())
    }

    /// Walks from the trust document in force through `envelopes`; the very first one is pinned. Answers whether there
    /// is a newer one now.
    pub(super) fn take_trust(
        &mut self,
        fleet: &FleetId,
        host: &HostId,
        envelopes: &[String],
    ) -> Result<bool, NoTrust> {
        let mut chain = envelopes.iter().map(String::as_bytes);
        let before = self.trust_version();
        let mut trust = match (&self.pinned, chain.clone().next()) {
            (Some(pinned), _) => pinned.trust.clone(),
            (None, None) => return Ok(false),
            (None, Some(first)) => {
                chain.next();
                let max = PayloadType::Trust.max_len();
                let digest = Envelope::parse(first, max).map_err(TrustError::Verify)?.digest();
                TrustStore::restore(fleet, digest, first)?
            }
        };
        let walked = trust.walk(chain);
        if trust.version() > before {
            if self.writes {
                let written = Written {
                    version: 1,
                    fleet: fleet.clone(),
                    host: host.clone(),
                    digest: trust.digest(),
                    envelope: String::from_utf8_lossy(trust.envelope()).into_owned(),
                };
                let bytes = serde_json::to_vec(&written).unwrap_or_default();
                files::replace_secret(&self.folder.join("trust.json"), &bytes)?;
            }
            tracing::info!(version = trust.version(), first = before == 0, "trust document taken");
            self.pinned = Some(Pinned { fleet: fleet.clone(), host: host.clone(), trust });
        }
        walked.map_err(NoTrust::Trust)?;
        Ok(self.trust_version() > before)
    }

    /// Verifies a table and writes it down. Answers with it if it is newer than the one in force.
    pub(super) fn take_table(&mut self, envelope: &[u8], now: Timestamp) -> Result<Option<Routes>, NoTable> {
        let pinned = self.pinned.as_ref().ok_or(NoTable::NoTrust)?;
        let last = |environment: &EnvironmentId| self.tables.get(environment).map(|table| table.accepted);
        let verified = verify::routes(envelope, pinned.trust.document(), &pinned.fleet, last, now)
            .map_err(NoTable::Refused)?;
        if verified.order == PlanOrder::Same {
            return Ok(None);
        }
        let environment = verified.routes.environment.clone();
        if self.tables.len() >= windlass_proto::limits::MAX_ROUTES_POSITIONS
            && !self.tables.contains_key(&environment)
        {
            return Err(TableStoreError::TooMany.into());
        }
        if self.writes {
            self.store.put(&environment, envelope)?;
        }
        let table = Table { accepted: verified.accepted(), envelope: Arc::from(envelope) };
        self.tables.insert(environment, table);
        Ok(Some(verified.routes))
    }
}

fn networks(path: &Path) -> Vec<InnerNetwork> {
    told(path, MOST_NETWORKS, |networks: &Vec<InnerNetwork>| Ok(check(networks)?))
}

fn holds(path: &Path) -> Vec<Hold> {
    told(path, MOST_HOLDS, |holds: &Vec<Hold>| {
        anyhow::ensure!(holds.len() <= MAX_HOLDS, "they are too many");
        Ok(())
    })
}

/// The content of a file; nothing if it is not there or cannot be read, as the agent tells it again.
fn told<T: Default + DeserializeOwned>(
    path: &Path,
    most: u64,
    check: impl Fn(&T) -> anyhow::Result<()>,
) -> T {
    let read = || -> anyhow::Result<T> {
        let content = serde_json::from_slice(&read_bounded(path, most)?)?;
        check(&content)?;
        Ok(content)
    };
    if !path.exists() {
        return T::default();
    }
    read().unwrap_or_else(|error| {
        tracing::error!(path = %path.display(), %error, "a file cannot be read; the agent tells its content again");
        T::default()
    })
}

/// The agent's last word; nothing if the file is not there or cannot be read, as the agent says it again.
fn reach(path: &Path) -> Reach {
    let bytes = read_bounded(path, MOST_NETWORKS).ok();
    bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

fn check(networks: &[InnerNetwork]) -> Result<(), NoNetworks> {
    let bounded = |network: &InnerNetwork| {
        network.uses.len() <= MAX_CALLED
            && network.subnet.prefix_len() == SUBNET_BITS
            && is_range(network.subnet)
    };
    let fits = networks.len() <= MAX_NETWORKS && networks.iter().all(bounded);
    if fits { Ok(()) } else { Err(NoNetworks::Malformed) }
}

fn read(path: &Path) -> Result<Pinned, StateError> {
    let bytes = files::read_secret(path)?;
    let written: Written =
        serde_json::from_slice(&bytes).map_err(|_| StateError::Damaged(path.to_owned()))?;
    if written.version != 1 {
        return Err(StateError::Damaged(path.to_owned()));
    }
    let trust = TrustStore::restore(&written.fleet, written.digest, written.envelope.as_bytes())?;
    Ok(Pinned { fleet: written.fleet, host: written.host, trust })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(subnet: &str) -> InnerNetwork {
        InnerNetwork {
            environment: "production".parse().unwrap(),
            subnet: subnet.parse().unwrap(),
            uses: ["api".parse().unwrap()].into(),
        }
    }

    #[test]
    fn how_far_requests_go_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("state");
        let mut state = State::open(&folder).unwrap().0;
        let (fleet, host) = ("demo".parse().unwrap(), "edge".parse().unwrap());
        let networks = Some(vec!["10.0.0.0/8".parse().unwrap()]);
        let said = Reach { address: Some("10.0.0.1".parse().unwrap()), networks, ..Reach::default() };
        state.greet(&fleet, &host, said.clone()).unwrap();
        let want = Reach { host: Some(host.clone()), ..said };
        assert_eq!(State::open(&folder).unwrap().0.reach(), &want);
        // One that ends leaves writing to its successor.
        state.write(false);
        state.greet(&fleet, &host, Reach::default()).unwrap();
        assert_eq!(State::open(&folder).unwrap().0.reach(), &want);
        std::fs::write(folder.join(REACH), "nonsense").unwrap();
        assert_eq!(State::open(&folder).unwrap().0.reach(), &Reach::default());
    }

    #[test]
    fn inner_networks_are_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("state");
        let mut state = State::open(&folder).unwrap().0;
        assert!(state.networks().is_empty());
        state.take_networks(vec![network("10.210.3.0/24")]).unwrap();
        assert_eq!(State::open(&folder).unwrap().0.networks(), [network("10.210.3.0/24")]);
        for bad in ["10.210.0.0/16", "8.8.8.0/24", "127.0.0.0/24"] {
            assert!(matches!(state.take_networks(vec![network(bad)]), Err(NoNetworks::Malformed)), "{bad}");
        }
        let many = vec![network("10.210.3.0/24"); MAX_NETWORKS + 1];
        assert!(matches!(state.take_networks(many), Err(NoNetworks::Malformed)));
        // One that ends leaves writing to its successor.
        state.write(false);
        state.take_networks(Vec::new()).unwrap();
        assert_eq!(State::open(&folder).unwrap().0.networks(), [network("10.210.3.0/24")]);
        std::fs::write(folder.join(NETWORKS), "nonsense").unwrap();
        assert!(State::open(&folder).unwrap().0.networks().is_empty());
    }
}
