//! The task over an engine in memory, with paused time.

use std::cell::Cell;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use windlass_core::condition::ConditionCode;
use windlass_core::observation::{Clock, EngineState, FailureReason, InstanceState, Observation, SlotStatus};
use windlass_core::plan::{Order, Phase, PlanSlot, Previous};
use windlass_core::reconcile::{
    Container, ContainerState, Desired, Likeness, Memory, RestartPolicy, VerifiedRelease,
};
use windlass_core::release::Spec;
use windlass_core::{Counter, Digest, Timestamp};
use windlass_testkit::plan::{self, running};
use windlass_testkit::release;

use crate::lease::Contact;

use super::{MemoryStore, Options, Reconciler, Wires};
use crate::runtime::RuntimeError;
use crate::runtime::fake::FakeEngine;

mod gpus;
mod hooks;
mod networks;

thread_local! {
    static BEGUN: Instant = Instant::now();
    /// Time by which the clock was set forward, in milliseconds.
    static SET: Cell<i64> = const { Cell::new(0) };
}

/// Sets the clock of the host, and of its engine.
fn set_clock(hours: i64) {
    SET.with(|set| set.set(set.get() + hours * 3_600_000));
}

/// Follows the paused clock.
fn now() -> Timestamp {
    let elapsed = BEGUN.with(Instant::elapsed);
    let start = Timestamp::from_millis(1_800_000_000_000 + SET.with(Cell::get));
    start + elapsed
}

/// A disk that can fail.
#[derive(Debug, Clone, Default)]
struct Disk(Arc<Mutex<(Memory, bool)>>);

impl MemoryStore for Disk {
    async fn save(&self, memory: &Memory) -> anyhow::Result<()> {
        let mut disk = self.0.lock().unwrap();
        anyhow::ensure!(!disk.1, "no space left on device");
        disk.0 = Memory { volatile: Default::default(), ..memory.clone() };
        Ok(())
    }
}

struct Host {
    engine: FakeEngine,
    disk: Disk,
    desired: watch::Sender<Arc<Desired>>,
    contact: watch::Sender<Option<Contact>>,
    observation: watch::Receiver<Arc<Observation>>,
    unwritable: watch::Sender<Option<String>>,
    networks: watch::Receiver<super::Networks>,
    gpus: watch::Sender<crate::gpu::Shared>,
    cancel: CancellationToken,
    agent: JoinSet<anyhow::Result<()>>,
    seq: u64,
}

impl Host {
    fn new() -> Self {
        let desired = plan::nothing(Arc::new(plan::local("h1", "127.0.0.1")));
        let mut host = Self {
            engine: FakeEngine::new(now),
            disk: Disk::default(),
            desired: watch::Sender::new(Arc::new(desired)),
            contact: watch::Sender::new(None),
            observation: watch::Sender::new(Arc::default()).subscribe(),
            unwritable: watch::Sender::new(None),
            networks: watch::Sender::new(None).subscribe(),
            gpus: watch::Sender::new(Arc::default()),
            cancel: CancellationToken::new(),
            agent: JoinSet::new(),
            seq: 0,
        };
        host.start_agent();
        host
    }

    fn start_agent(&mut self) {
        let observation = watch::Sender::new(Arc::default());
        self.observation = observation.subscribe();
        self.cancel = CancellationToken::new();
        let (desired, contact) = (self.desired.subscribe(), self.contact.subscribe());
        let unwritable = self.unwritable.subscribe();
        let wires = Wires { desired, contact, observation, unwritable, cancel: self.cancel.clone() };
        let memory = self.disk.0.lock().unwrap().0.clone();
        let options = Options { now, gpus: self.gpus.subscribe(), own_address: true, ..Options::default() };
        self.networks = options.networks.subscribe();
        let engine = Arc::new(self.engine.clone());
        self.agent.spawn(Reconciler::new(engine, self.disk.clone(), memory, wires, options).run());
    }

    fn release(&self, counter: u64, change: impl FnOnce(&mut Spec)) -> Digest {
        let mut release = release::release(
            counter,
            json!({
                "image": release::image("r/web", "1", Digest::of(counter.to_string().as_bytes())),
                "scale": release::replicas(1, 9),
                "resources": { "cpu_millis": 100, "memory": "1MiB", "pids": 64 },
                "strategy": release::rolling(1, "5s"), "soak": "0s", "progress_deadline": "10m",
                "rollback_on": { "restarts": 2, "unhealthy_for": "2s" },
            }),
        );
        change(&mut release.spec);
        let digest = Digest::of(&serde_json::to_vec(&release).unwrap());
        let release = Arc::new(VerifiedRelease::new(digest, release));
        self.desired.send_modify(|desired| drop(Arc::make_mut(desired).releases.insert(digest, release)));
        digest
    }

    fn plan(&mut self, slots: Vec<PlanSlot>) {
        self.seq += 1;
        let plan = Arc::new(plan::plan("h1", self.seq, now(), slots));
        self.desired.send_modify(|desired| Arc::make_mut(desired).plan = Some(plan));
    }

    /// Waits for an observation; answers how long that took.
    async fn until(&mut self, wanted: impl Fn(&Observation) -> bool) -> Duration {
        let begun = Instant::now();
        let waiting = self.observation.wait_for(|seen| wanted(seen));
        let came = tokio::time::timeout(Duration::from_secs(3600), waiting).await.is_ok();
        assert!(came, "{:#?} {:#?}", self.observation.borrow(), self.engine.world().journal);
        begun.elapsed()
    }

    async fn settled(&mut self) -> Duration {
        let seq = self.seq;
        self.until(move |seen| {
            seen.seq == seq && seen.slots.iter().all(|slot| slot.status == SlotStatus::Settled)
        })
        .await
    }

    fn journal(&self) -> Vec<String> {
        self.engine.world().journal.clone()
    }
}

fn replacing(index: u32, release: Digest, old: Digest) -> PlanSlot {
    plan::replacing(index, release, old, Phase::Running)
}

#[tokio::test(start_paused = true)]
async fn a_plan_becomes_containers_and_an_agent_that_died_adopts_them() {
    let mut host = Host::new();
    let one = host.release(1, |_| {});
    host.until(|seen| seen.engine == EngineState::Available).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(host.journal().is_empty(), "without a plan nothing is done");
    host.plan(vec![running(0, one), running(1, one)]);
    let took = host.settled().await;
    assert!((5..6).contains(&took.as_secs()), "min ready and hardly more: {took:?}");
    let mut journal = host.journal();
    journal[1..].sort();
    let image = Digest::of(b"1").short();
    let want = [
        format!("pull {image}"),
        "create production.web.0.r1.1".into(),
        "create production.web.1.r1.1".into(),
        "keep production.web.0.r1.1".into(),
        "keep production.web.1.r1.1".into(),
        "start production.web.0.r1.1".into(),
        "start production.web.1.r1.1".into(),
    ];
    assert_eq!(journal, want);
    host.cancel.cancel();
    host.agent.join_next().await.unwrap().unwrap().unwrap();
    host.start_agent();
    assert!(host.settled().await < Duration::from_secs(1), "it knows who was available");
    assert_eq!(host.journal().len(), want.len(), "and touches nothing");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_done_that_is_not_remembered() {
    let mut host = Host::new();
    let one = host.release(1, |_| {});
    host.plan(vec![PlanSlot { phase: Phase::Pulled, ..running(0, one) }]);
    host.settled().await;
    host.disk.0.lock().unwrap().1 = true;
    host.plan(vec![running(0, one)]);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(host.journal().len(), 1, "only the pull");
    host.disk.0.lock().unwrap().1 = false;
    assert!(host.settled().await < Duration::from_secs(8));
}

#[tokio::test(start_paused = true)]
async fn an_exit_is_answered_at_once_and_evidence_is_kept() {
    let mut host = Host::new();
    let (one, two) = (host.release(1, |_| {}), host.release(2, |_| {}));
    host.plan(vec![PlanSlot { good: true, ..running(0, one) }]);
    host.settled().await;
    host.engine.world().log = (0..30).map(|line| format!("line {line}")).collect();
    host.plan(vec![replacing(0, two, one)]);
    host.until(|seen| seen.slots[0].instances.len() == 2).await;
    host.engine.exit("production.web.0.r2.2", 7);
    let took =
        host.until(|seen| matches!(seen.slots[0].status, SlotStatus::Failed { restored: Some(_), .. })).await;
    assert!(took < Duration::from_millis(100), "{took:?}: no tick is waited for");
    let SlotStatus::Failed { evidence, .. } = host.observation.borrow().slots[0].status.clone() else {
        unreachable!()
    };
    assert_eq!(evidence.reason, FailureReason::Exited { code: 7 });
    assert_eq!((evidence.log.len(), evidence.log.last().unwrap().as_str()), (20, "line 29"));
    assert!(host.disk.0.lock().unwrap().0.slots.values().all(|known| known.failed.is_some()), "journaled");
}

#[tokio::test(start_paused = true)]
async fn start_and_stop_of_an_instance_are_reported_at_once() {
    let mut host = Host::new();
    let (one, two) = (host.release(1, |_| {}), host.release(2, |_| {}));
    host.plan(vec![PlanSlot { good: true, ..running(0, one) }]);
    host.settled().await;
    tokio::time::sleep(Duration::from_millis(12_345)).await; // out of step with every tick
    host.engine.world().stop_takes = Duration::from_millis(3_210);
    host.plan(vec![replacing(0, two, one)]);
    let is_two = |counter| counter == Counter(2);
    host.until(|seen| seen.slots[0].instances.iter().any(|i| is_two(i.counter) && i.state.is_running()))
        .await;
    let took =
        host.until(|seen| seen.slots[0].instances.iter().any(|i| is_two(i.counter) && i.available)).await;
    assert!(took.abs_diff(Duration::from_secs(5)) < Duration::from_millis(10), "min ready: {took:?}");
    host.settled().await;
    let previous = Some(Previous { release: one, phase: Phase::Absent });
    host.plan(vec![PlanSlot { good: true, previous, ..running(0, two) }]);
    let stopped = |seen: &Observation| {
        !seen.slots[0].instances.iter().any(|i| i.counter == Counter(1) && i.state.is_running())
    };
    let took = host.until(stopped).await;
    assert!(took.abs_diff(Duration::from_millis(3_210)) < Duration::from_millis(10), "{took:?}");
    let took = host.settled().await;
    assert!(took < Duration::from_millis(10), "and removed at once: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_away_is_no_failure_of_anything() {
    let mut host = Host::new();
    let one = host.release(1, |_| {});
    host.plan(vec![running(0, one)]);
    host.until(|seen| seen.slots.iter().any(|slot| !slot.instances.is_empty())).await;
    host.engine.world().down = true;
    let gone = |seen: &Observation| matches!(seen.engine, EngineState::Unavailable(_));
    assert!(host.until(gone).await < Duration::from_secs(20), "a resync notices");
    assert_eq!(host.observation.borrow().slots.len(), 1, "the last known state stays");
    // The engine ended its containers when it was stopped.
    tokio::time::sleep(Duration::from_secs(30)).await;
    for seen in host.engine.world().containers.values_mut() {
        seen.state = ContainerState::Exited { code: 137, oom_killed: false, finished_at: now() };
    }
    host.engine.world().down = false;
    host.settled().await;
    assert!(host.disk.0.lock().unwrap().0.quarantine.is_empty());
}

#[tokio::test(start_paused = true)]
async fn hanging_engine_is_noticed_and_blames_no_release() {
    let mut host = Host::new();
    let probe = json!({"check": {"exec": {"argv": ["true"]}}, "every": "1s", "timeout": "1s", "failures": 2, "successes": 1});
    let probe: windlass_core::release::Probe = serde_json::from_value(probe).unwrap();
    let one = host.release(1, |spec| spec.health.liveness = Some(probe.clone()));
    host.plan(vec![running(0, one)]);
    host.settled().await;
    host.engine.world().hung = true;
    let gone = |seen: &Observation| matches!(seen.engine, EngineState::Unavailable(_));
    assert!(host.until(gone).await < Duration::from_secs(30), "a question that is not answered says so");
    // Longer than any start, stall or probe may take.
    tokio::time::sleep(Duration::from_secs(300)).await;
    let before = host.journal().len();
    host.engine.world().hung = false;
    host.settled().await;
    assert!(host.disk.0.lock().unwrap().0.quarantine.is_empty(), "{:?}", host.observation.borrow());
    assert_eq!(host.journal().len(), before, "nothing was started again: {:?}", host.journal());
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_hangs_over_one_container_serves_others() {
    let mut host = Host::new();
    let one = host.release(1, |_| {});
    let good = |index| PlanSlot { good: true, ..running(index, one) };
    host.plan(vec![good(0), good(1)]);
    host.settled().await;
    host.engine.world().stuck.insert("production.web.0.r1.1".to_owned());
    host.engine.exit("production.web.0.r1.1", 1); // the engine starts it again, and cannot be asked about it
    // This one is ours to start again.
    let other = |seen: &&mut Container| seen.instance == "production.web.1.r1.1";
    host.engine.world().containers.values_mut().find(other).unwrap().policy = RestartPolicy::No;
    host.engine.exit("production.web.1.r1.1", 3);
    let starts = || host.journal().iter().filter(|line| *line == "start production.web.1.r1.1").count();
    let begun = Instant::now();
    while starts() < 2 {
        assert!(begun.elapsed() < Duration::from_secs(60), "{:#?}", host.journal());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(host.observation.borrow().engine, EngineState::Available, "one container is no engine");
    host.engine.world().stuck.clear();
    host.settled().await;
}

#[tokio::test(start_paused = true)]
async fn engine_hanging_in_a_start_or_pull_blames_no_release() {
    let mut host = Host::new();
    let (one, two) = (host.release(1, |_| {}), host.release(2, |_| {}));
    host.plan(vec![running(0, one)]);
    host.settled().await;
    host.engine.world().pull_takes = Duration::from_secs(5);
    host.plan(vec![running(0, one), running(1, two)]);
    host.until(|seen| seen.slots.iter().any(|slot| slot.pull.is_some())).await;
    host.engine.world().hung = true;
    tokio::time::sleep(Duration::from_secs(200)).await;
    host.engine.world().hung = false;
    host.engine.world().pull_takes = Duration::ZERO;
    host.settled().await;
    // Now while it is started: the image is there.
    host.plan(vec![running(0, one), running(1, two), running(2, two)]);
    host.engine.world().hung = true;
    tokio::time::sleep(Duration::from_secs(200)).await;
    host.engine.world().hung = false;
    host.settled().await;
    assert!(host.disk.0.lock().unwrap().0.quarantine.is_empty());
}

#[tokio::test(start_paused = true)]
async fn engine_without_room_blames_no_release() {
    let mut host = Host::new();
    let one = host.release(1, |_| {});
    let message = "mkdir /var/lib/docker/overlay2/x: no space left on device".to_owned();
    host.engine.world().starts.push_back(RuntimeError::Refused { doing: "start the container", message });
    host.plan(vec![running(0, one)]);
    host.settled().await;
    assert!(host.disk.0.lock().unwrap().0.quarantine.is_empty());
    let starts = host.journal().iter().filter(|line| line.starts_with("start")).count();
    assert_eq!(starts, 1, "{:?}", host.journal());
}

#[tokio::test(start_paused = true)]
async fn full_disk_is_reported_and_observations_go_on() {
    let mut host = Host::new();
    let one = host.release(1, |_| {});
    host.plan(vec![running(0, one)]);
    host.settled().await;
    let before = host.journal();
    host.disk.0.lock().unwrap().1 = true;
    host.unwritable.send_replace(Some("no space left on device".to_owned()));
    host.plan(vec![running(0, one), running(1, one)]);
    host.until(|seen| seen.unwritable.is_some() && seen.slots.len() == 2).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(host.journal(), before, "nothing is begun that cannot be written down");
    host.disk.0.lock().unwrap().1 = false;
    host.unwritable.send_replace(None);
    host.settled().await;
    assert_eq!(host.observation.borrow().unwritable, None);
}

#[tokio::test(start_paused = true)]
async fn clock_step_fails_no_release_and_keeps_all_deadlines() {
    for hours in [2, -2] {
        let mut host = Host::new();
        let one = host.release(1, |spec| {
            let check = json!({"exec": {"argv": ["true"]}});
            let probe =
                json!({"check": check, "every": "1s", "timeout": "1s", "failures": 60, "successes": 1});
            spec.health.startup = Some(serde_json::from_value(probe).unwrap());
        });
        // It takes a while until it is healthy; meanwhile the clock is set.
        host.engine.world().exec_code = 1;
        host.plan(vec![running(0, one)]);
        host.until(|seen| seen.slots.iter().any(|slot| !slot.instances.is_empty())).await;
        set_clock(hours);
        tokio::time::sleep(Duration::from_secs(20)).await;
        host.engine.world().exec_code = 0;
        let ready = |seen: &Observation| {
            seen.slots[0].instances.iter().any(|seen| seen.state == InstanceState::Healthy)
        };
        host.until(ready).await;
        set_clock(hours);
        let took = host.settled().await;
        assert!(
            took >= Duration::from_millis(4_900),
            "min ready counts from where the clock was set: {took:?}"
        );
        assert!(took < Duration::from_secs(25), "{hours} h: {took:?}");
        assert!(host.disk.0.lock().unwrap().0.quarantine.is_empty(), "{hours} h");
        // An instance that ends by itself is started again soon, not in two hours.
        host.plan(vec![PlanSlot { good: true, ..running(0, one) }]);
        host.settled().await;
        for seen in host.engine.world().containers.values_mut() {
            seen.state = ContainerState::Exited { code: 1, oom_killed: false, finished_at: now() };
        }
        set_clock(hours);
        let took = host.settled().await;
        assert!(took < Duration::from_secs(25), "{hours} h: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn clock_step_during_a_look_fails_no_release() {
    let mut host = Host::new();
    let one = host.release(1, |spec| {
        let check = json!({"exec": {"argv": ["true"]}});
        let probe = json!({"check": check, "every": "1s", "timeout": "1s", "failures": 60, "successes": 1});
        spec.health.startup = Some(serde_json::from_value(probe).unwrap());
    });
    host.engine.world().exec_code = 1;
    host.plan(vec![running(0, one)]);
    host.until(|seen| seen.slots.iter().any(|slot| !slot.instances.is_empty())).await;
    // The agent asks, and the clock is set before the engine answers.
    host.engine.world().hung = true;
    tokio::time::sleep(Duration::from_secs(16)).await; // a resync is due in between
    set_clock(2);
    host.engine.world().hung = false;
    tokio::time::sleep(Duration::from_secs(2)).await;
    host.engine.world().exec_code = 0;
    host.settled().await;
    assert!(host.disk.0.lock().unwrap().0.quarantine.is_empty(), "no release is blamed for a clock");
}

#[tokio::test(start_paused = true)]
async fn candidate_that_ended_unwatched_is_started_once_more() {
    let mut host = Host::new();
    let one = host.release(1, |_| {});
    host.plan(vec![running(0, one)]);
    host.until(|seen| seen.slots.iter().any(|slot| !slot.instances.is_empty())).await;
    host.agent.abort_all();
    while host.agent.join_next().await.is_some() {}
    let instance = host.engine.world().containers.values().next().unwrap().instance.clone();
    host.engine.exit(&instance, 143);
    tokio::time::sleep(Duration::from_secs(5)).await;
    host.start_agent();
    host.until(|seen| {
        seen.slots.iter().any(|slot| slot.instances.iter().any(|seen| seen.state.is_running()))
    })
    .await;
    assert!(host.disk.0.lock().unwrap().0.quarantine.is_empty(), "it may have been the host or its engine");
    host.engine.exit(&instance, 143); // now somebody watches
    host.until(|seen| matches!(seen.slots[0].status, SlotStatus::Failed { .. })).await;
}

#[tokio::test(start_paused = true)]
async fn older_copy_of_a_journal_stops_no_later_instance() {
    let mut host = Host::new();
    let (one, two) = (host.release(1, |_| {}), host.release(2, |_| {}));
    host.plan(vec![PlanSlot { good: true, ..running(0, one) }]);
    host.settled().await;
    let (old_disk, old_plan) = (host.disk.0.lock().unwrap().clone(), host.desired.borrow().plan.clone());
    host.plan(vec![PlanSlot { good: true, ..running(0, two) }]);
    host.settled().await;
    let before = host.journal();
    // The agent's folder comes back from a backup: journal and plan are the older ones.
    host.agent.abort_all();
    while host.agent.join_next().await.is_some() {}
    *host.disk.0.lock().unwrap() = old_disk;
    let newest = host.desired.borrow().plan.clone();
    host.desired.send_modify(|desired| Arc::make_mut(desired).plan = old_plan);
    host.start_agent();
    host.until(|seen| seen.plan_refusal.as_ref().is_some_and(|refusal| refusal.detail.contains("older")))
        .await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(host.journal(), before, "nothing is started or stopped");
    // The coordinator offers its newest plan.
    host.desired.send_modify(|desired| Arc::make_mut(desired).plan = newest);
    host.settled().await;
    assert_eq!(host.journal(), before, "and it is already so");
    assert_eq!(host.observation.borrow().plan_refusal, None);
}

#[tokio::test(start_paused = true)]
async fn a_pull_without_bytes_is_given_up_and_tried_again() {
    let mut host = Host::new();
    let one = host.release(1, |_| {});
    host.engine.world().pull_takes = Duration::from_secs(3000);
    host.plan(vec![running(0, one)]);
    let took = host
        .until(|seen| seen.slots.iter().any(|slot| matches!(slot.status, SlotStatus::Failed { .. })))
        .await;
    assert_eq!(took.as_secs(), 120);
    let SlotStatus::Failed { evidence, .. } = host.observation.borrow().slots[0].status.clone() else {
        unreachable!()
    };
    assert_eq!(evidence.clock, Clock::Pull);
    assert!(matches!(evidence.reason, FailureReason::PullStalled { .. }));
    host.engine.world().pull_takes = Duration::ZERO;
    host.settled().await;
}

#[tokio::test(start_paused = true)]
async fn commands_are_probes_too() {
    let mut host = Host::new();
    let probe = json!({"check": {"exec": {"argv": ["true"]}}, "every": "1s", "timeout": "1s", "failures": 5, "successes": 1});
    let one = host.release(1, |spec| spec.health.startup = Some(serde_json::from_value(probe).unwrap()));
    host.engine.world().exec_code = 1;
    host.plan(vec![running(0, one)]);
    host.until(|seen| matches!(seen.slots.first().map(|slot| &slot.status), Some(SlotStatus::Failed { .. })))
        .await;
    let SlotStatus::Failed { evidence, .. } = host.observation.borrow().slots[0].status.clone() else {
        unreachable!()
    };
    assert!(matches!(evidence.reason, FailureReason::NotHealthyInTime { .. }));
    assert_eq!(evidence.probes.last().unwrap().detail, "exit 1");
    // Its time is over at the moment at which the sixth is due.
    assert!(matches!(evidence.probes.len(), 5 | 6), "{:?}", evidence.probes);
}

#[tokio::test(start_paused = true)]
async fn slots_are_worked_on_beside_each_other() {
    let mut host = Host::new();
    let one = host.release(1, |_| {});
    let good = |index| PlanSlot { good: true, ..running(index, one) };
    host.plan((0..10).map(good).collect());
    host.settled().await;
    host.engine.world().stop_takes = Duration::from_secs(10);
    host.plan((0..10).map(|index| PlanSlot { phase: Phase::Standby, ..good(index) }).collect());
    let took = host.settled().await;
    assert!(took < Duration::from_secs(12), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_copy_with_our_labels_is_told_of_and_never_touched() {
    let mut host = Host::new();
    let one = host.release(1, |_| {});
    host.plan(vec![running(0, one)]);
    host.settled().await;
    let known = host.disk.0.lock().unwrap().0.clone();
    assert_eq!(known.containers(), ["c1"].into(), "its id is written down");
    let image = host.desired.borrow().releases[&one].release.spec.image.digest;
    assert_eq!(host.engine.world().held, [image].into(), "nobody who tidies up takes its image");

    let done = host.journal();
    let mut copy = host.engine.world().containers["c1"].clone();
    (copy.id, copy.likeness) = ("copy".to_owned(), Likeness::Other);
    host.engine.world().containers.insert(copy.id.clone(), copy);
    for lost in [Memory::clone(&known), Memory::of_new_host()] {
        host.until(|seen| {
            let code = ConditionCode::StrangeContainer;
            seen.conditions.iter().any(|condition| condition.code == code)
                && seen.slots.iter().map(|slot| slot.instances.len()).sum::<usize>() == 1
        })
        .await;
        host.settled().await;
        host.cancel.cancel();
        host.agent.join_next().await.unwrap().unwrap().unwrap();
        host.disk.0.lock().unwrap().0 = lost;
        host.start_agent();
    }
    host.settled().await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(host.journal(), done);
    assert_eq!(host.observation.borrow().slots[0].instances[0].container.as_deref(), Some("c1"));
    assert_eq!(host.disk.0.lock().unwrap().0.containers(), ["c1"].into());
}

#[tokio::test(start_paused = true)]
async fn an_address_that_goes_is_a_condition_until_it_is_back() {
    let mut host = Host::new();
    let has =
        |seen: &Observation| seen.conditions.iter().any(|found| found.code == ConditionCode::AddressGone);
    let one = host.release(1, |_| {});
    host.plan(vec![running(0, one)]);
    host.settled().await;
    assert!(!has(&host.observation.borrow()));
    let done = host.journal();
    for (address, gone) in [("203.0.113.9", true), ("127.0.0.1", false)] {
        let local = Arc::new(plan::local("h1", address));
        host.desired.send_modify(|desired| Arc::make_mut(desired).local = local);
        host.until(|seen| has(seen) == gone).await;
    }
    assert_eq!(host.journal(), done, "what runs is left alone");
}
