//! Plans and releases that hosts have shown. In memory only: a host that is held shows them again on every new stream.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use windlass_core::plan::HostPlan;
use windlass_core::receipt::Witnessed;
use windlass_core::recovery::named;
use windlass_core::release::Release;
use windlass_core::service::{ReleaseRef, Releases};
use windlass_core::{Digest, HostId, Timestamp};

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
    pub(super) fn may_list(&self, host: &HostId) -> Option<(BTreeSet<Digest>, BTreeSet<Digest>)> {
        let memory = self.lock();
        let held = memory.hosts.get(host).filter(|held| held.ahead && held.open.is_none())?;
        let wanted = held.plan.slots.iter().flat_map(named).collect();
        Some((wanted, memory.releases.keys().copied().collect()))
    }

    /// The host is asked for these releases.
    pub(super) fn ask(&self, host: &HostId, releases: &[Digest]) {
        if let Some(held) = self.lock().hosts.get_mut(host) {
            held.open = Some(releases.iter().copied().collect());
        }
    }

    /// Whether the host was asked for this release. It counts as answered then.
    pub(super) fn answers(&self, host: &HostId, digest: &Digest) -> bool {
        let mut memory = self.lock();
        let asked = memory.hosts.get_mut(host).and_then(|held| held.open.as_mut());
        asked.is_some_and(|open| open.remove(digest))
    }

    /// Keeps a release that a host has shown, if it is `believed`. Answers with the reason if it is not kept, which is
    /// remembered as a complaint about a host that is held.
    pub(super) fn keep(
        &self,
        host: &HostId,
        digest: Digest,
        believed: Result<Release, String>,
        bytes: &[u8],
    ) -> Option<String> {
        let mut memory = self.lock();
        let why = believed.and_then(|release| memory.keep(host, digest, release, bytes)).err()?;
        memory.hosts.get_mut(host)?.complain(format!("release {}: {why}", digest.short()));
        Some(why)
    }

    /// Whether the host is ahead and has shown everything that it was asked for.
    pub(super) fn is_complete(&self, host: &HostId) -> bool {
        self.lock().hosts.get(host).is_some_and(|held| held.ahead && held.is_complete())
    }
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
pub(super) fn unless_taken(
    mut known: impl Iterator<Item = ReleaseRef>,
    release: &Release,
    digest: &Digest,
) -> Result<(), String> {
    if known.any(|name| name.counter == release.counter && &name.digest != digest) {
        return Err(format!("{} of {} is another release here", release.counter, release.service_id()));
    }
    Ok(())
}
