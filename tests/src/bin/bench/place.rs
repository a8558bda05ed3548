//! Placement in one thread: 100,000 instances of 100 services on 5,000 hosts, planned as the coordinator plans them,
//! step by step, by `rollout::advance`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use windlass_core::capacity::Taken;
use windlass_core::fleet::{FleetView, Member, Scheduling};
use windlass_core::host::{HostFacts, HostPolicy, Liveness};
use windlass_core::release::Release;
use windlass_core::rollout::{Kind, Snapshot, State, Target, advance, start};
use windlass_core::service::{ReleaseRef, Releases, Service, Slots};
use windlass_core::{Digest, Timestamp};
use windlass_tests::fleetsim::{Papers, Wanted};

use super::figures::{median, percentile, row};

const HOSTS: usize = 5000;
const SERVICES: u64 = 100;
const REPLICAS: u32 = 1000;
const RUNS: usize = 3;

pub(crate) fn run() -> Result<()> {
    let papers = Papers::generate()?;
    let releases: Vec<(Release, Digest)> =
        (0..SERVICES).map(|n| release(&papers, n)).collect::<Result<_>>()?;
    let mut rates = Vec::new();
    for _ in 0..RUNS {
        rates.push(place(&releases)?);
    }
    let (slowest, fastest) = (percentile(&rates, 0.0), percentile(&rates, 1.0));
    row(
        &format!(
            "placement in one thread: {} instances of {SERVICES} services on {HOSTS} hosts, {RUNS} runs",
            SERVICES * u64::from(REPLICAS)
        ),
        &format!("{:.0} instances/s ({slowest:.0} to {fastest:.0})", median(&rates)),
        "published peer: 3,750/s",
    );
    Ok(())
}

fn release(papers: &Papers, n: u64) -> Result<(Release, Digest)> {
    let service = format!("web-{n}");
    let wanted =
        Wanted { service: &service, counter: 1, role: "app", replicas: Some(REPLICAS), batch: "25%" };
    let signed = papers.sign(&wanted);
    let envelope = windlass_certs::dsse::Envelope::parse(&signed.envelope, 1 << 20)?;
    let release =
        envelope.verify(windlass_certs::dsse::PayloadType::Release, &papers.release_keys())?.decode()?;
    Ok((release, signed.digest))
}

/// Places everything, and answers with instances per second.
fn place(releases: &[(Release, Digest)]) -> Result<f64> {
    let now = Timestamp::from_millis(1_790_000_000_000);
    let known: Releases = releases.iter().map(|(release, digest)| (*digest, release.clone())).collect();
    let mut fleet = fleet(now)?;
    let mut took = Duration::ZERO;
    for (release, digest) in releases {
        let service = Service::new(release.service_id());
        let target = Target {
            release: ReleaseRef::of(release, *digest),
            kind: Kind::Deploy,
            actor: "ada".to_owned(),
            supersede: false,
            retry_quarantined: false,
        };
        let (service, rollout, _) = start(&service, None, target, "00000001".parse()?, now)?;
        let (mut service, mut rollout, mut slots) = (service, Some(rollout), Slots::new());
        let begun = Instant::now();
        while rollout.as_ref().is_some_and(|rollout| rollout.state == State::Pending) {
            let snapshot = Snapshot {
                service: &service,
                slots: &slots,
                rollout: rollout.as_ref(),
                releases: &known,
                fleet: &fleet,
                now,
            };
            let next = advance(&snapshot);
            ensure!(!next.touched.is_empty(), "placement stands still: {:?}", next.rollout);
            (service, rollout, slots) = (next.service, next.rollout, next.slots);
        }
        took += begun.elapsed();
        ensure!(slots.len() == REPLICAS as usize, "{} slots: {rollout:?}", slots.len());
        for assignment in slots.values() {
            let member =
                fleet.members.get_mut(assignment.host()).context("a slot is on a host of the fleet")?;
            member.taken.add(assignment, &known);
        }
    }
    let counts = fleet.members.values().map(|member| member.taken.slots);
    let (fewest, most) = counts.fold((u32::MAX, 0), |(low, high), n| (low.min(n), high.max(n)));
    ensure!(most - fewest <= 1, "equal hosts have {fewest} to {most} slots");
    Ok(f64::from(REPLICAS) * releases.len() as f64 / took.as_secs_f64())
}

fn fleet(now: Timestamp) -> Result<FleetView> {
    let mut members = BTreeMap::new();
    for n in 0..HOSTS {
        let facts = HostFacts {
            labels: [("role".to_owned(), "app".to_owned())].into(),
            platform: "linux/amd64".to_owned(),
            cpu_millis: 8000,
            memory: 16 << 30,
            policy: HostPolicy { registries: vec!["registry.herd:5000".to_owned()], ..HostPolicy::default() },
            ..HostFacts::default()
        };
        let member = Member {
            facts: Arc::new(facts),
            liveness: Liveness::Connected,
            last_seen: Some(now),
            isolated_for: None,
            scheduling: Scheduling::Ready,
            has_ingress: false,
            recovering: false,
            issued_seq: 0,
            parts: Arc::default(),
            observation: None,
            last_report: None,
            taken: Taken::default(),
        };
        members.insert(format!("host-{n:05}").parse()?, member);
    }
    Ok(FleetView { since: now, members })
}
