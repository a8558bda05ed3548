//! From a host name and a path to a service, one of its releases, and the counters that it goes by.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use hyper::StatusCode;
use hyper::http::request::Parts;
use windlass_core::traffic::{Choice, MatchOn, Position, Weight, choose};

use crate::counters::ReleaseCounters;
use crate::ingress::Shared;
use crate::inner::{Door, NoTarget};
use crate::limits::Limits;
use crate::request::{Refusal, bucket_of, cookie_value};
use crate::target::Target;
use crate::upstream::{Endpoint, pickable};

/// The target of a request.
pub(super) struct Routed {
    pub(super) target: Arc<Target>,
    pub(super) release: Chosen,
    /// The bucket that the client is to keep.
    pub(super) cookie: Option<u16>,
    pub(super) counters: Arc<ReleaseCounters>,
}

/// The endpoints that a request may go to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Chosen {
    /// Those of every release.
    Any,
    /// Those of one release; whether it was chosen by a match.
    One { index: usize, matched: bool },
}

impl Target {
    /// The endpoints of a choice.
    pub(super) fn endpoints(&self, chosen: Chosen) -> &[Arc<Endpoint>] {
        match chosen {
            Chosen::Any => &self.all,
            Chosen::One { index, .. } => self.releases.get(index).map_or(&[], |release| &release.endpoints),
        }
    }

    /// Whether a release was chosen by weight, and no connection can be made to any of its endpoints.
    pub(super) fn is_unreachable(&self, chosen: Chosen, limits: &Limits, now: Instant) -> bool {
        let endpoints = self.endpoints(chosen);
        let weighted = matches!(chosen, Chosen::One { matched: false, .. });
        weighted
            && !endpoints.is_empty()
            && endpoints.iter().all(|endpoint| endpoint.is_unreachable(limits, now))
    }

    /// The endpoints of all releases but the one that was chosen by weight; `None` if there are none. What was chosen by a match
    /// is for that release alone.
    pub(super) fn others(&self, chosen: Chosen) -> Option<Vec<Arc<Endpoint>>> {
        let Chosen::One { index, matched: false } = chosen else { return None };
        let own = self.service.releases.get(index)?.release;
        let others =
            self.all.iter().filter(|endpoint| endpoint.key.release != own && !endpoint.is_draining());
        Some(others.cloned().collect::<Vec<_>>()).filter(|others| !others.is_empty())
    }

    /// The counters that a request at `endpoint` goes by.
    pub(super) fn counters(&self, chosen: Chosen, endpoint: &Endpoint) -> &Arc<ReleaseCounters> {
        if let Some(unconfirmed) = self.standbys.get(&endpoint.key.release).filter(|_| endpoint.stands_by()) {
            return unconfirmed;
        }
        let matched = matches!(chosen, Chosen::One { matched: true, .. });
        if let Some(release) = self.release_of(endpoint) {
            return if matched { &release.matched } else { &release.counters };
        }
        let unnamed = self.unnamed.iter().find(|(release, ..)| *release == endpoint.key.release);
        unnamed.map_or(&self.nobody, |(_, weighted, by_match)| if matched { by_match } else { weighted })
    }
}

/// Says where a request wants to go. All choices for it are made by the same numbers.
#[derive(Debug)]
pub(super) struct Wanted<'r> {
    door: Option<Door>,
    host: &'r str,
    /// The bucket that the client has kept.
    bucket: Option<u16>,
    fresh: u64,
    /// When the request came.
    pub(super) began: Instant,
}

impl<'r> Wanted<'r> {
    pub(super) fn new(
        shared: &Shared,
        door: Option<Door>,
        host: &'r str,
        head: &Parts,
        began: Instant,
    ) -> Self {
        Self { door, host, bucket: bucket_of(&head.headers), fresh: shared.random(), began }
    }

    /// The target by the tables that have come in force since it was `routed`; `None` if none has.
    pub(super) fn again(&self, shared: &Shared, head: &Parts, routed: &Routed) -> Option<Routed> {
        let again = look_up(shared, self, head).ok()?;
        let is_new = !Arc::ptr_eq(&again.target, &routed.target);
        // Its headers are made for the one protocol.
        (is_new && again.target.protocol == routed.target.protocol).then_some(again)
    }
}

/// The reason for which a request has no target.
enum Miss {
    /// No table has it.
    Unrouted(Refusal),
    /// No release of the service takes requests.
    Nobody(Arc<Target>),
}

impl Miss {
    /// Counts the request, and answers it.
    fn refuse(self, shared: &Shared, began: Instant) -> Refusal {
        match self {
            Self::Unrouted(refusal) => {
                shared.unrouted.fetch_add(1, Relaxed);
                refusal
            }
            Self::Nobody(target) => {
                let refusal = Refusal(StatusCode::SERVICE_UNAVAILABLE, "no release takes requests");
                target.nobody.refused(refusal.0.as_u16(), began.elapsed());
                refusal
            }
        }
    }
}

/// Finds the target of a request and chooses a release. Where a step under way leaves no endpoint, and the service says
/// so, the request waits for one.
pub(super) async fn route(shared: &Shared, wanted: &Wanted<'_>, head: &Parts) -> Result<Routed, Refusal> {
    let lacks = |routed: &Routed| {
        routed.target.hold.filter(|_| {
            let endpoints = routed.target.endpoints(routed.release);
            pickable(endpoints, &shared.limits, Instant::now()) == 0
        })
    };
    let miss = |miss: Miss| miss.refuse(shared, wanted.began);
    let routed = look_up(shared, wanted, head).map_err(miss)?;
    if lacks(&routed).is_none() {
        return Ok(routed);
    }
    let mut changed = shared.changed.subscribe();
    let mut waiting: Option<Waiting> = None;
    loop {
        changed.borrow_and_update();
        let routed = look_up(shared, wanted, head).map_err(miss)?;
        let Some(hold) = lacks(&routed) else { return Ok(routed) };
        if waiting.is_none() {
            waiting = Waiting::begin(&routed.target.waiting, shared.limits.held);
            if waiting.is_none() {
                return Ok(routed);
            }
            routed.counters.held();
        }
        let left = hold.saturating_sub(wanted.began.elapsed());
        if left.is_zero() || !matches!(tokio::time::timeout(left, changed.changed()).await, Ok(Ok(()))) {
            return Ok(routed);
        }
    }
}

/// The target of a request, by what is in force now.
fn target(shared: &Shared, door: Option<Door>, host: &str, path: &str) -> Result<Arc<Target>, Refusal> {
    let table = shared.table.load();
    let refusal = match door {
        Some(Door { gateway, port }) => {
            match table.inner.get(gateway).map_or(Err(NoTarget::NotCalled), |inner| inner.find(port, host)) {
                Ok(target) => return Ok(Arc::clone(target)),
                Err(NoTarget::NotThere) => Refusal(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "the service is not there yet, or has no such port",
                ),
                Err(NoTarget::NotCalled) => {
                    Refusal(StatusCode::NOT_FOUND, "no service here has this name in its `uses`")
                }
            }
        }
        None => match table.find(host, path) {
            Some(target) => return Ok(Arc::clone(target)),
            None if table.knows(host) => Refusal(StatusCode::NOT_FOUND, "no service has this path"),
            None => Refusal(StatusCode::NOT_FOUND, "no service has this host name"),
        },
    };
    Err(refusal)
}

fn look_up(shared: &Shared, wanted: &Wanted<'_>, head: &Parts) -> Result<Routed, Miss> {
    let &Wanted { door, host, bucket, fresh, .. } = wanted;
    let target = target(shared, door, host, head.uri.path()).map_err(Miss::Unrouted)?;
    let service = &target.service;
    let split =
        service.releases.iter().any(|r| r.weight.is_some_and(|w| w != Weight::NONE && w != Weight::ALL));
    let new_bucket = u16::try_from(fresh & 0xffff).unwrap_or_default();
    let position = match bucket {
        Some(bucket) => Position::of_bucket(bucket, &service.salt),
        None if split => Position::of_bucket(new_bucket, &service.salt),
        None => Position::of_random(fresh),
    };
    let value = |on, name: &str| match on {
        // The name by which it was routed, whatever way the client said it.
        MatchOn::Header if name == "host" => Some(host),
        MatchOn::Header => head.headers.get(name).and_then(|value| value.to_str().ok()),
        MatchOn::Cookie => cookie_value(&head.headers, name),
    };
    let release = match choose(service, position, value) {
        Choice::Any => Chosen::Any,
        Choice::Weighted(index) => Chosen::One { index, matched: false },
        Choice::Matched(index) => Chosen::One { index, matched: true },
        Choice::Nobody => return Err(Miss::Nobody(target)),
    };
    let counters = match release {
        Chosen::Any => &target.nobody,
        Chosen::One { index, matched } => target
            .releases
            .get(index)
            .map_or(&target.nobody, |release| if matched { &release.matched } else { &release.counters }),
    };
    let counters = Arc::clone(counters);
    let cookie = (split && bucket.is_none()).then_some(new_bucket);
    Ok(Routed { target, release, cookie, counters })
}

/// A place among the requests of a service that wait.
pub(super) struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    pub(super) fn begin(count: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let taken = count.fetch_add(1, Relaxed) < most;
        let place = Self(Arc::clone(count));
        taken.then_some(place)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
