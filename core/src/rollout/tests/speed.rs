//! A thousand slots on a thousand hosts: no step may be quadratic. `cargo test --release -- --nocapture
//! a_thousand` prints the times.

use std::time::Instant;

use crate::fixture::{at, fleet, reference, release, report, steady};
use crate::fleet::FleetView;
use crate::observation::InstanceState;
use crate::rollout::{Advance, Kind, Rollout, Snapshot, State, Target, advance, start};
use crate::service::{Releases, Service, Slots};

/// A debug build only looks whether it works.
const SLOTS: u32 = if cfg!(debug_assertions) { 150 } else { 1000 };
/// Debug builds are some thirty times slower, and the machine may be busy.
const MOST: u128 = if cfg!(debug_assertions) { 2000 } else { 60 };

struct Run {
    service: Service,
    slots: Slots,
    releases: Releases,
    rollout: Option<Rollout>,
    fleet: FleetView,
    now: i64,
}

impl Run {
    fn new(hosts: usize, count: u32) -> Self {
        let (mut fleet, good) = (fleet(hosts), release(1, |json| scale(json, count)));
        let (service, slots, releases) = steady(&good, count, &mut fleet);
        Self { service, slots, releases, rollout: None, fleet, now: 100 }
    }

    #[expect(clippy::disallowed_methods, clippy::print_stdout, reason = "it measures")]
    fn step(&mut self, name: &str) -> Advance {
        let snapshot = Snapshot {
            service: &self.service,
            slots: &self.slots,
            rollout: self.rollout.as_ref().filter(|rollout| !rollout.state.is_final()),
            releases: &self.releases,
            fleet: &self.fleet,
            now: at(self.now),
        };
        let begun = Instant::now();
        let next = advance(&snapshot);
        let took = begun.elapsed();
        println!("{name}: {took:?}, {} touched", next.touched.len());
        assert!(took.as_millis() < MOST, "{name} took {took:?}");
        (self.service, self.slots) = (next.service.clone(), next.slots.clone());
        self.rollout = next.rollout.clone().or(self.rollout.take());
        next
    }

    /// To the end, everybody being healthy at once. Answers the number of steps.
    fn run_to_end(&mut self, name: &str) -> usize {
        for steps in 0..2000 {
            self.now += 1;
            report(&self.slots, &self.releases, &mut self.fleet, InstanceState::Healthy);
            let state = self.rollout.as_ref().unwrap().state;
            if state.is_final() {
                assert_eq!(state, State::Succeeded, "{name}: {:?}", self.rollout);
                return steps;
            }
            self.step(&format!("{name}, {state:?}"));
        }
        panic!("{name} does not end");
    }

    fn begin(&mut self, counter: u64, kind: Kind, count: u32) {
        let release = release(counter, |json| scale(json, count));
        let reference = reference(&release);
        self.releases.insert(reference.digest, release);
        let target = Target {
            release: reference,
            kind,
            actor: "ada".into(),
            supersede: true,
            retry_quarantined: false,
        };
        let id = "00000001".parse().unwrap();
        let (service, rollout, _) = start(&self.service, None, target, id, at(self.now)).unwrap();
        (self.service, self.rollout) = (service, Some(rollout));
    }
}

fn scale(json: &mut serde_json::Value, count: u32) {
    json["spec"]["scale"] = serde_json::json!({ "replicas": { "min": count, "max": count } });
    json["spec"]["resources"]["memory"] = "1MiB".into();
}

#[test]
fn a_thousand_slots() {
    for hosts in [SLOTS as usize, 20] {
        let mut run = Run::new(hosts, SLOTS);
        assert!(run.step("steady").touched.is_empty());
        run.begin(2, Kind::Deploy, SLOTS);
        run.run_to_end("deploy");
        run.begin(3, Kind::Deploy, SLOTS + SLOTS / 10);
        run.run_to_end("scale up");
        run.begin(2, Kind::Rollback, SLOTS);
        assert!(run.run_to_end("rollback") < 90);
        run.step("steady again");
    }
}
