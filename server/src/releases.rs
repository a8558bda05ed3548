//! Taking a signed release and starting its rollout, and going back to an older one.

mod history;
mod ids;
mod names;
mod submit;

use windlass_certs::dsse::VerifyError;
use windlass_core::release::Release;
use windlass_core::rollout::StartError;
use windlass_core::view::{PreviewView, preview};
use windlass_core::{
    Counter, Digest, EnvironmentId, FleetId, HostId, RolloutId, ServiceId, ServiceName, Timestamp,
};

use crate::coordinator::Coordinator;
use crate::gates::unreachable;
use crate::ledger::{State, WriteError};
use crate::quarantine;
use crate::registry::Registry;
use crate::words::first_of;

pub(crate) use history::forget;
pub(crate) use ids::next_ids;
pub(crate) use names::{check as check_names, check_uses, warnings};
pub(crate) use submit::{Rollback, Submission, go_back_alone, rollback, submit};

/// The result of a submission or a rollback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Started {
    /// The rollout; `None` if there is nothing to do.
    pub rollout: Option<RolloutId>,
    /// The release that the service has or moves to.
    pub release: Counter,
    /// Warnings about the release, one sentence each.
    pub warnings: Vec<String>,
}

/// The reason for which a release was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReleaseError {
    /// The envelope or its signatures.
    #[error("the release is refused ({})", .0.code())]
    Verify(#[from] VerifyError),
    /// Signed for somebody else.
    #[error("the release is of fleet `{found}`, this is fleet `{ours}`")]
    OtherFleet {
        /// The release's.
        found: FleetId,
        /// Ours.
        ours: FleetId,
    },
    /// A format this coordinator does not write plans for.
    #[error("the release has format version {0}, this coordinator reads {version}", version = windlass_core::release::RELEASE_VERSION)]
    Version(u32),
    /// Somebody else was faster, or it was numbered without asking.
    #[error("the release is numbered {found}, the next one of `{service}` is {next}")]
    Counter {
        /// Its service.
        service: ServiceId,
        /// Its number.
        found: Counter,
        /// The right one.
        next: Counter,
    },
    /// The number stands for other content.
    #[error("{counter} of `{service}` exists with other content")]
    Reused {
        /// Its service.
        service: ServiceId,
        /// The number.
        counter: Counter,
    },
    /// Withdrawn by the trust document.
    #[error("the release is revoked")]
    Revoked,
    /// The trust document does not give that name to the environment.
    #[error("the environment `{environment}` may not use the host name `{host}`")]
    NameNotAllowed {
        /// The name.
        host: String,
        /// The environment.
        environment: EnvironmentId,
    },
    /// Two services under one name.
    #[error("`{name}` leads to the service `{service}` already")]
    NameTaken {
        /// Host name and path.
        name: String,
        /// Whose it is.
        service: ServiceName,
    },
    /// One name in two environments that one ingress serves.
    #[error("`{name}` leads to `{service}` already, and the ingress of {host} serves both environments")]
    NameElsewhere {
        /// Host name and path.
        name: String,
        /// Whose it is.
        service: Box<ServiceId>,
        /// A host with such an ingress.
        host: HostId,
    },
    /// Its slots are on hosts that could not read it.
    #[error("the agents of {} are too old for what the release says about traffic", first_of(&.0.iter().map(HostId::as_str).collect::<Vec<_>>(), 5))]
    AgentTooOld(Vec<HostId>),
    /// It calls a service by name to which no request is routed.
    #[error("`uses: [{used}]`: TCP is not balanced, and `{used}` has no other port")]
    NotBalanced {
        /// The service that it calls.
        used: ServiceName,
    },
    /// Its date has not come yet.
    #[error("the release is dated {at}, it is {now} here")]
    FromTheFuture {
        /// When it says it was signed.
        at: Timestamp,
        /// The coordinator's time.
        now: Timestamp,
    },
    /// The signatures of several people are too old.
    #[error("the release is of {made}, and the signatures of two or more people count for 7 days")]
    SignaturesExpired {
        /// When it was made.
        made: Timestamp,
    },
    /// Hosts that would get it do not start its content.
    #[error("{0}")]
    Quarantined(String),
    /// Below what may run.
    #[error("{found} of `{service}` is below its floor {floor}")]
    BelowFloor {
        /// Its service.
        service: ServiceId,
        /// Its number.
        found: Counter,
        /// The lowest that may run.
        floor: Counter,
    },
    /// The trust document has expired.
    #[error("the trust document has expired on {0}: new releases are not taken, what runs goes on")]
    TrustExpired(Timestamp),
    /// The preview is stale.
    #[error("plan is stale: the service changed since it was saved")]
    PreviewChanged,
    /// The store is older than its fleet.
    #[error("the coordinator was restored from a backup; recovery is pending")]
    Recovering,
    /// Another rollout is active.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Never heard of.
    #[error("there is no service `{0}`")]
    UnknownService(ServiceId),
    /// Never heard of, or forgotten.
    #[error("there is no release {counter} of `{service}`")]
    UnknownRelease {
        /// The service.
        service: ServiceId,
        /// The number.
        counter: Counter,
    },
    /// Nothing good before the current one.
    #[error("`{service}` has no earlier good release that nobody rolled back from")]
    NothingBefore {
        /// The service.
        service: ServiceId,
        /// Good releases other than the current one, all rolled back from, the one that served last first: a person may
        /// name one of them.
        others: Vec<Counter>,
    },
    /// Names would lead nowhere, and the caller asked to be told before.
    #[error("{0}")]
    LeadsNowhere(String),
    /// A rollback goes to what was good once.
    #[error("{counter} of `{service}` was never good")]
    NeverGood {
        /// The service.
        service: ServiceId,
        /// The number.
        counter: Counter,
    },
    /// Not stored.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl ReleaseError {
    /// The next step of the user.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Verify(VerifyError::BelowThreshold { .. }) => {
                Some("let a second person sign it with `windlass release sign`".to_owned())
            }
            Self::Verify(VerifyError::UnknownKey) => {
                Some("the trust document names the keys that may sign it: `windlass trust show`".to_owned())
            }
            Self::Counter { .. } => Some("run the command again: somebody else has just deployed".to_owned()),
            Self::Start(StartError::Active { id, .. }) => Some(format!(
                "wait for it (`windlass rollout watch {id}`), abort it (`windlass rollout abort {id}`), or replace it with \
                 --supersede, which goes back to the same release if it fails"
            )),
            Self::Recovering => Some(crate::recovery::HINT.to_owned()),
            Self::UnknownService(_) => Some("`windlass status` shows the services".to_owned()),
            Self::NothingBefore { service, others } => Some(match others.first() {
                Some(last) => {
                    let names: Vec<String> = others.iter().map(ToString::to_string).collect();
                    let names = names.join(", ");
                    format!(
                        "a person rolled back from {names}; {last} served last: go to it with \
                         `windlass rollback {service} --to {last}`"
                    )
                }
                None => format!(
                    "deploy a release that works: `windlass deploy -f FILE -e {}`",
                    service.environment
                ),
            }),
            Self::UnknownRelease { service, .. } | Self::NeverGood { service, .. } => {
                Some(format!("`windlass release ls {service}` shows the releases"))
            }
            Self::Quarantined(_) => {
                Some(
                    "deploy a corrected release: other content starts without a flag. If the cause was on the host and is \
                     mended, deploy with --retry-quarantined"
                        .to_owned(),
                )
            }
            Self::PreviewChanged => Some("look at `windlass plan` again".to_owned()),
            Self::TrustExpired(_) => {
                Some("whoever has the root key renews it: `windlass trust renew --expires 365d`".to_owned())
            }
            Self::NameNotAllowed { .. } => {
                Some("the trust document names the hosts of an environment: `windlass trust show`".to_owned())
            }
            Self::NameTaken { service, .. } => Some(format!(
                "choose another `route`, or take it from `{service}` first: deploy that without it"
            )),
            Self::NameElsewhere { .. } => Some(
                "choose another `route`, or have the host serve one of them: `environments` in its policy.toml".to_owned(),
            ),
            Self::NotBalanced { used } => Some(format!(
                "give a port of `{used}` the protocol `http`, `h2c` or `grpc`, or the address of `{used}` in `env`"
            )),
            Self::AgentTooOld(_) => {
                Some("upgrade them, or leave `uses`, `route` and the keys beside it away".to_owned())
            }
            Self::Verify(_)
            | Self::OtherFleet { .. }
            | Self::Version(_)
            | Self::Reused { .. }
            | Self::Revoked
            | Self::BelowFloor { .. }
            | Self::LeadsNowhere(_)
            | Self::Write(_) => None,
            Self::SignaturesExpired { .. } => {
                Some("make it anew: `windlass release sign -f FILE`, and let the others sign that".to_owned())
            }
            Self::FromTheFuture { .. } => {
                Some("compare the clocks of this machine and of the coordinator, then sign again".to_owned())
            }
        }
    }
}

/// The preview of a submission of `release`.
pub(crate) fn look_ahead(
    coordinator: &Coordinator,
    release: &Release,
    digest: Digest,
    retry_quarantined: bool,
) -> PreviewView {
    let mut view = coordinator.ledger.read(|state| {
        let now = coordinator.ledger.now();
        plan(state, &coordinator.registry, release, digest, retry_quarantined, now)
    });
    // The digest does not cover them: a setting of the coordinator is no part of the service.
    if !view.unchanged {
        view.warnings.extend(unreachable(&coordinator.gates, release));
    }
    view
}

/// Shows what a release would do, and with `error` why the coordinator or a host would refuse it.
fn plan(
    state: &State,
    registry: &Registry,
    release: &Release,
    digest: Digest,
    retry_quarantined: bool,
    now: Timestamp,
) -> PreviewView {
    let id = release.service_id();
    let fleet = registry.fleet(state, Some(&id), now);
    let service = state.services.get(&id).cloned();
    let service = service.unwrap_or_else(|| windlass_core::service::Service::new(id.clone()));
    let slots = state.slots.get(&id).cloned().unwrap_or_default();
    let mut view = preview(&service, &slots, &state.releases, &fleet, release, digest, now);
    view.warnings.extend(warnings(state, release));
    let trust = state.trust.document();
    let floor = trust.floor(&id);
    let quarantined = || quarantine::of_service(state, &service);
    view.refuse(|view| {
        if !trust.accepts_new_releases(now) {
            return Some(ReleaseError::TrustExpired(trust.expires_at).to_string());
        }
        if release.counter < floor {
            let found = release.counter;
            return Some(ReleaseError::BelowFloor { service: id.clone(), found, floor }.to_string());
        }
        if retry_quarantined {
            return None;
        }
        let content = release.content_digest();
        let failed = quarantined().into_iter().find(|known| known.content == content)?;
        quarantine::refusal(&failed, view)
    })
}
