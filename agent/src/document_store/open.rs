//! Taking up what was believed before the agent stopped.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio::sync::watch;
use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_certs::files::{self, FileError};
use windlass_certs::trust::{TrustDocument, TrustError, TrustStore};
use windlass_core::Digest;
use windlass_core::host::HostFacts;
use windlass_core::plan::HostPlan;
use windlass_core::reconcile::{Desired, LocalHost, VerifiedRelease};
use windlass_process::report;

use super::offer::Source;
use super::{DocumentStore, kept, revoke};
use crate::counters::Counters;
use crate::data::DataDir;
use crate::member::Member;
use crate::policy::Mounts;
use crate::state::{Journal, ReleaseStore, ReleaseStoreError, State, TrustMark};

/// The parts that a document store is made of.
#[derive(Debug)]
pub struct Opened {
    /// The agent's folder.
    pub data: DataDir,
    /// The fleet and the host.
    pub member: Member,
    /// Facts about the host.
    pub facts: watch::Receiver<Arc<HostFacts>>,
    /// Files that no release may bind, beside the agent's folder.
    pub own: Vec<PathBuf>,
}

/// The reason for which an agent cannot know whom to trust.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The trust document cannot be read.
    #[error("failed to read the trust document")]
    File(#[from] FileError),
    /// It is not believed.
    #[error("the trust document on this host is not believed")]
    Trust(#[from] TrustError),
    /// The folder of releases.
    #[error(transparent)]
    Releases(#[from] ReleaseStoreError),
}

impl OpenError {
    /// Returns the next step of the user.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::File(_) | Self::Trust(_) => Some(crate::state::REJOIN.to_owned()),
            Self::Releases(_) => None,
        }
    }
}

/// Nobody to ask: at a start only what is kept counts.
struct Nobody;

impl Source for Nobody {
    async fn fetch(&self, _: &Digest) -> anyhow::Result<Option<Vec<u8>>> {
        Ok(None)
    }
}

impl DocumentStore {
    /// Reads journal, trust document and releases, and publishes the journaled plan. The caller holds the folder's lock.
    pub async fn open(opened: Opened) -> Result<Self, OpenError> {
        let Opened { data, member, facts, own } = opened;
        data.tidy();
        let journal = Journal::open(&data.journal()).map_err(|error| {
            let hint = error.hint().unwrap_or_default();
            tracing::error!(error = %report::chain(&error), hint, "the agent's state is lost: adopting what runs");
            report::chain(&error)
        });
        let mark = journal.as_ref().ok().map(|journal| journal.state().trust);
        let trust = read_trust(&data.trust(), &member, mark)?;
        let releases = ReleaseStore::open(&data.releases())?;
        let policy = facts.borrow().policy.clone();
        let own = own.iter().map(PathBuf::as_path).chain([data.root()]);
        let mounts = Mounts {
            allowed: policy.mounts.clone(),
            own: own.map(|path| absolute(path).to_string_lossy().into_owned()).collect(),
        };
        let local = Arc::new(LocalHost {
            fleet: member.fleet.clone(),
            host: member.host.clone(),
            address: member.address.clone(),
            policy,
        });
        let nothing = without_plan(local.clone());
        let (revocations, revoked) = revoke::kept(&data.revocations(), &member.fleet);
        let routes = kept::Kept::open(&data);
        let trust_version = watch::Sender::new(trust.version());
        if let Err(error) = kept::keep_version(&data, &trust) {
            tracing::warn!(error = %report::chain(&error), "the trust document is not kept for an ingress");
        }
        let lost = watch::Sender::new(journal.as_ref().err().cloned());
        let keeper = Self {
            member,
            local,
            mounts,
            data,
            journal,
            lost,
            releases,
            trust: Mutex::new(Arc::new(trust)),
            facts,
            desired: watch::Sender::new(Arc::new(nothing)),
            trust_version,
            counters: Counters::default(),
            revocations,
            revoked: Mutex::new(revoked),
            routes,
            accepting: tokio::sync::Mutex::new(()),
        };
        keeper.journal_trust().await;
        keeper.refresh().await;
        Ok(keeper)
    }

    /// Journals the version in force if the agent died between its file and the journal: else an older file, put back,
    /// would pass for the newest that this host has seen.
    async fn journal_trust(&self) {
        let (Ok(journal), trust) = (&self.journal, self.trust()) else { return };
        let state = journal.state();
        if trust.version() <= state.trust.version {
            return;
        }
        let mark = TrustMark { version: trust.version(), digest: trust.digest() };
        let written_at = trust.document().created_at.min(self.now(&state));
        let written = journal.update(|state| {
            state.trust = mark;
            state.witness(written_at);
        });
        if let Err(error) = written.await {
            tracing::error!(error = %report::chain(&error), "the trust document in force is not journaled yet");
        }
    }

    /// Judges the plan in force again, since something about this host has changed.
    pub async fn judge_again(&self) {
        let _one_at_a_time = self.accepting.lock().await;
        let refusal = self.desired.borrow().plan_refusal.clone();
        self.refresh().await;
        // A newer plan that was refused is refused as before.
        if refusal.is_some() {
            self.desired.send_modify(|desired| Arc::make_mut(desired).plan_refusal = refusal);
        }
    }

    /// Judges the journaled plan again: at a start, and when the trust document changed.
    pub(super) async fn refresh(&self) {
        let (state, trust) = (self.state(), self.trust());
        // A new epoch freezes the host until its first plan: the old one is shown to nobody.
        let mark = state.plan.as_ref().filter(|plan| plan.epoch == trust.document().epoch);
        let Some(mark) = mark else {
            let mut frozen = without_plan(self.local.clone());
            frozen.releases = self.known_releases(&state, trust.document());
            self.desired.send_replace(Arc::new(frozen));
            return;
        };
        let Some(plan) = journaled_plan(mark.envelope.as_bytes(), &mark.digest) else {
            tracing::error!(seq = mark.seq, "the journaled plan cannot be decoded: adopting what runs");
            return;
        };
        match self.gather(&plan, trust.document(), &state, &Nobody).await {
            Ok(found) => self.publish(Arc::new(plan), trust.document(), &found),
            Err(error) => {
                tracing::error!(error = %report::chain(&error), "the journaled plan cannot be taken up");
            }
        }
    }
}

impl DocumentStore {
    /// Every release that is kept and still verifies: without a plan nothing starts, but what runs is still probed.
    fn known_releases(&self, state: &State, trust: &TrustDocument) -> BTreeMap<Digest, Arc<VerifiedRelease>> {
        let facts = self.facts.borrow().clone();
        let context = self.context(trust, &facts, state);
        let kept = self.releases.list().unwrap_or_default().into_iter();
        kept.filter_map(|digest| {
            let envelope = self.releases.get(&digest).ok()??;
            let release = context.verify_kept(&digest, &envelope).ok()?;
            Some((digest, Arc::new(release)))
        })
        .collect()
    }
}

/// Nothing is started and nothing stopped.
fn without_plan(local: Arc<LocalHost>) -> Desired {
    let (releases, refusals) = (BTreeMap::new(), BTreeMap::new());
    Desired { local, plan: None, releases, plan_refusal: None, refusals }
}

/// A plan that was verified before it was journaled. Its signatures are not asked again: the key that signed it may
/// have been replaced since, and what was committed stays desired state.
pub(super) fn journaled_plan(envelope: &[u8], digest: &Digest) -> Option<HostPlan> {
    let envelope = Envelope::parse(envelope, PayloadType::Plan.max_len()).ok()?;
    let same = envelope.payload_type() == PayloadType::Plan && envelope.digest() == *digest;
    let bytes = same.then(|| envelope.payload_bytes())?;
    windlass_certs::json::decode_bounded(bytes, PayloadType::Plan.max_len()).ok()
}

/// The trust document as it was stored. `mark` is what the journal says it is; without a journal its own digest has
/// to do, since a host that takes no plans can be harmed by none.
fn read_trust(path: &Path, member: &Member, mark: Option<TrustMark>) -> Result<TrustStore, OpenError> {
    let bytes = files::read_secret(path)?;
    let digest = match mark {
        // The file is written before the journal, so that it may be one step ahead.
        Some(mark) => {
            let stored = TrustStore::restore(&member.fleet, mark.digest, &bytes);
            match stored {
                Err(TrustError::WrongPin { got, .. }) => {
                    let ahead = TrustStore::restore(&member.fleet, got, &bytes)?;
                    if ahead.version() <= mark.version {
                        return Err(TrustError::Rollback { have: mark.version, got: ahead.version() }.into());
                    }
                    return Ok(ahead);
                }
                stored => return Ok(stored?),
            }
        }
        None => Envelope::parse(&bytes, PayloadType::Trust.max_len()).map_err(TrustError::Verify)?.digest(),
    };
    Ok(TrustStore::restore(&member.fleet, digest, &bytes)?)
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
