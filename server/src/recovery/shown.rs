//! Plans and releases that hosts have shown. In memory only: a host that is held shows them again on every new stream.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_certs::trust::Acceptance;
use windlass_core::plan::HostPlan;
use windlass_core::receipt::Witnessed;
use windlass_core::recovery::named;
use windlass_core::release::{RELEASE_VERSIONS, Release};
use windlass_core::service::{ReleaseRef, Releases};
use windlass_core::{Digest, HostId, Timestamp};
use windlass_proto::pb;

use super::RecoveryError;
use crate::coordinator::Coordinator;
use crate::ledger::State;

/// Digests that a host may list.
const MOST_KEPT: usize = 4096;
/// Releases that one host is asked for.
const MOST_ASKED: usize = 1024;
/// The memory that all shown releases may take.
const MOST_BYTES: usize = 64 << 20;
/// Complaints about one host that are remembered.
const COMPLAINTS: usize = 5;

/// Plans and releases that hosts have shown. Clones share everything.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recoveries {
    memory: Arc<Mutex<Memory>>,
}

/// The same, at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory {
    pub(super) hosts: BTreeMap<HostId, Held>,
    pub(super) releases: BTreeMap<Digest, Kept>,
    /// Audit entries that the host with the longest memory has seen a checkpoint of, by segment.
    pub(super) witnessed: BTreeMap<u64, u64>,
    bytes: usize,
}

/// A host's plan.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) plan: Arc<HostPlan>,
    pub(super) digest: Digest,
    /// Whether the plan is one that the store does not know.
    pub(super) ahead: bool,
    /// Releases that it was asked for and has not shown; `None` until it has said which ones it keeps.
    pub(super) open: Option<BTreeSet<Digest>>,
    /// When it signed that the plan was carried out.
    pub(super) receipt: Option<Timestamp>,
    /// The parts that it showed and that were not believed.
    pub(super) complaints: Vec<String>,
}

/// A release that a host has shown, verified.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) release: Release,
    pub(super) envelope: String,
    pub(super) shown_by: HostId,
}

impl Held {
    pub(super) fn is_complete(&self) -> bool {
        self.open.as_ref().is_some_and(BTreeSet::is_empty)
    }

    fn complain(&mut self, what: String) {
        if self.complaints.len() < COMPLAINTS {
            self.complaints.push(what);
        }
    }
}

impl Recoveries {
    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything, as it is now.
    pub(super) fn snapshot(&self) -> Memory {
        self.lock().clone()
    }

    /// Forgets everything: another recovery begins.
    pub(super) fn clear(&self) {
        *self.lock() = Memory::default();
    }

    /// Forgets hosts; and the releases, once nobody is left who may need them.
    pub(super) fn forget<'a>(&self, hosts: impl IntoIterator<Item = &'a HostId>) {
        let mut memory = self.lock();
        hosts.into_iter().for_each(|host| drop(memory.hosts.remove(host)));
        if memory.hosts.is_empty() {
            *memory = Memory::default();
        }
    }

    /// A host holds this plan.
    pub(super) fn hold(&self, host: &HostId, plan: HostPlan, digest: Digest, ahead: bool) {
        let plan = Arc::new(plan);
        let held = Held { plan, digest, ahead, open: None, receipt: None, complaints: Vec::new() };
        self.lock().hosts.insert(host.clone(), held);
    }

    /// A host has signed that it carried out a plan, and which checkpoint it has seen.
    pub(crate) fn receipt(&self, host: &HostId, plan: &Digest, at: Timestamp, seen: Option<&Witnessed>) {
        let mut memory = self.lock();
        let Some(held) = memory.hosts.get_mut(host) else { return };
        if &held.digest == plan {
            held.receipt = Some(at);
        }
        if let Some(seen) = seen {
            let size = memory.witnessed.entry(seen.segment).or_default();
            *size = seen.size.max(*size);
        }
    }

    /// A host that was ahead is known now.
    pub(super) fn known(&self, host: &HostId) {
        if let Some(held) = self.lock().hosts.get_mut(host) {
            held.ahead = false;
        }
    }

    /// A host that is ahead, and the releases that it names and the store may not know.
    pub(super) fn of(&self, host: &HostId) -> Option<(Held, Releases)> {
        let memory = self.lock();
        let held = memory.hosts.get(host).filter(|held| held.ahead)?;
        let wanted: BTreeSet<Digest> = held.plan.slots.iter().flat_map(named).collect();
        let shown =
            wanted.iter().filter_map(|digest| Some((*digest, memory.releases.get(digest)?.release.clone())));
        Some((held.clone(), shown.collect()))
    }

    /// The releases in the plan of a host that may say which ones it keeps, and those that were shown already.
    fn may_list(&self, host: &HostId) -> Option<(BTreeSet<Digest>, BTreeSet<Digest>)> {
        let memory = self.lock();
        let held = memory.hosts.get(host).filter(|held| held.ahead && held.open.is_none())?;
        let wanted = held.plan.slots.iter().flat_map(named).collect();
        Some((wanted, memory.releases.keys().copied().collect()))
    }

    /// Whether the host was asked for this release. It counts as answered then.
    fn answers(&self, host: &HostId, digest: &Digest) -> bool {
        let mut memory = self.lock();
        let asked = memory.hosts.get_mut(host).and_then(|held| held.open.as_mut());
        asked.is_some_and(|open| open.remove(digest))
    }

    /// Whether the host is ahead and has shown everything that it was asked for.
    pub(super) fn is_complete(&self, host: &HostId) -> bool {
        self.lock().hosts.get(host).is_some_and(|held| held.ahead && held.is_complete())
    }
}

/// A host says which releases it keeps. Answers with those to ask it for.
pub(crate) fn listed(
    coordinator: &Coordinator,
    host: &HostId,
    digests: &[String],
) -> Result<Vec<Digest>, RecoveryError> {
    if digests.len() > MOST_KEPT {
        return Err(RecoveryError::TooMany { found: digests.len(), most: MOST_KEPT });
    }
    let parsed = digests.iter().map(|text| text.parse()).collect::<Result<BTreeSet<Digest>, _>>();
    let kept = parsed.map_err(RecoveryError::Digest)?;
    // Nobody asked: nobody listens. The lock is never held while the ledger is read, see `look`.
    let Some((wanted, known)) = coordinator.recoveries.may_list(host) else { return Ok(Vec::new()) };
    let unknown: Vec<Digest> = coordinator.ledger.read(|state| {
        let unknown = |digest: &&Digest| !state.entries.contains_key(digest) && !known.contains(digest);
        let (first, rest): (Vec<_>, Vec<_>) =
            kept.iter().filter(unknown).copied().partition(|digest| wanted.contains(digest));
        first.into_iter().chain(rest).take(MOST_ASKED).collect()
    });
    if let Some(held) = coordinator.recoveries.lock().hosts.get_mut(host) {
        held.open = Some(unknown.iter().copied().collect());
    }
    Ok(unknown)
}

/// A host shows a release. What nobody asked for is nothing.
pub(crate) fn shown(coordinator: &Coordinator, host: &HostId, report: &pb::ReleaseReport) {
    let Ok(digest) = report.digest.parse::<Digest>() else { return };
    if !coordinator.recoveries.answers(host, &digest) {
        return;
    }
    let believed = coordinator.ledger.read(|state| believe(state, &digest, &report.envelope));
    let mut memory = coordinator.recoveries.lock();
    let believed = believed.and_then(|release| memory.keep(host, digest, release, &report.envelope));
    let (Some(held), Err(why)) = (memory.hosts.get_mut(host), believed) else { return };
    coordinator.peers.log_limited(&format!("agent/{host}"), || {
        let why = windlass_core::quota::printable(&why, 80);
        tracing::warn!(%host, digest = %digest.short(), why, "a release that a host has shown is not believed");
    });
    held.complain(format!("release {}: {why}", digest.short()));
}

/// The agent's checks before it keeps a release, here once more: whatever a host says, operators have signed it.
fn believe(state: &State, digest: &Digest, bytes: &[u8]) -> Result<Release, String> {
    if bytes.is_empty() {
        return Err("the host does not keep it".to_owned());
    }
    let max = PayloadType::Release.max_len();
    let envelope = Envelope::parse(bytes, max).map_err(|error| error.code().to_string())?;
    if &envelope.digest() != digest {
        return Err("another one was shown".to_owned());
    }
    let claimed: Release = windlass_certs::json::decode_bounded(envelope.payload_bytes(), max)
        .map_err(|_| "it cannot be decoded".to_owned())?;
    // An earlier life of this coordinator has taken it, so that retired keys count.
    let keys = state.trust.document().release_keys(&claimed.service_id(), Acceptance::Accepted);
    let verified = envelope.verify(PayloadType::Release, &keys);
    let release: Release =
        verified.and_then(|verified| verified.decode()).map_err(|error| error.code().to_string())?;
    if release.fleet != state.fleet || !RELEASE_VERSIONS.contains(&release.version) {
        return Err("it is of another fleet or format".to_owned());
    }
    let stored = state.entries.values().filter(|entry| entry.service == release.service_id());
    unless_taken(stored.map(|entry| entry.name), &release, digest)?;
    Ok(release)
}

impl Memory {
    fn keep(&mut self, host: &HostId, digest: Digest, release: Release, bytes: &[u8]) -> Result<(), String> {
        if self.bytes + bytes.len() > MOST_BYTES {
            return Err(format!("hosts have shown more than {MOST_BYTES} bytes of releases"));
        }
        let service = release.service_id();
        let shown = self.releases.iter().filter(|(_, kept)| kept.release.service_id() == service);
        unless_taken(shown.map(|(digest, kept)| ReleaseRef::of(&kept.release, *digest)), &release, &digest)?;
        self.bytes += bytes.len();
        let envelope = String::from_utf8_lossy(bytes).into_owned();
        self.releases.insert(digest, Kept { release, envelope, shown_by: host.clone() });
        Ok(())
    }
}

/// Two releases that were both signed under one number cannot both be it.
fn unless_taken(
    mut known: impl Iterator<Item = ReleaseRef>,
    release: &Release,
    digest: &Digest,
) -> Result<(), String> {
    if known.any(|name| name.counter == release.counter && &name.digest != digest) {
        return Err(format!("{} of {} is another release here", release.counter, release.service_id()));
    }
    Ok(())
}
