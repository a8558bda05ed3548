mod bounds;
mod delegation;
mod steps;

use std::time::Duration;

use serde_json::json;
use windlass_testkit::release::{payload, recreate, replicas};

use crate::digest::Digest;
use crate::fixture::want;
use crate::host::{HostFacts, HostPolicy};
use crate::id::Counter;
use crate::plan::{HostPlan, Order, Phase, PlanSlot, Previous};
use crate::release::{Check, Probe, Release, Scale};
use crate::time::Timestamp;
use crate::units::{Size, Span};

use super::*;

fn release() -> Release {
    let spec = json!({
        "scale": replicas(1, 2), "placement": { "require": { "role": "app" }, "spread": "host" },
        "ports": { "http": { "container": 3000 } }, "main_port": "http",
        "strategy": recreate("1s"),
    });
    let release: Release = serde_json::from_value(payload(5, spec)).unwrap();
    Release { created_at: "2026-11-22T12:00:00.000Z".parse().unwrap(), ..release }
}

fn slot(index: u32) -> PlanSlot {
    let slot = format!("production/web/{index}").parse().unwrap();
    PlanSlot { good: false, ..want(&slot, Digest::of(b"r5")) }
}

fn plan() -> HostPlan {
    let issued_at: Timestamp = "2026-11-22T12:00:00.000Z".parse().unwrap();
    HostPlan {
        version: 1,
        fleet: "demo".parse().unwrap(),
        host: "web-1".parse().unwrap(),
        epoch: 1,
        seq: 7,
        issued_at,
        expires_at: issued_at + Duration::from_secs(86_400),
        slots: vec![slot(0), slot(1)],
    }
}

fn probe(check: Check) -> Option<Probe> {
    Some(Probe { check, every: Span::from_secs(1), timeout: Span::from_secs(1), failures: 3, successes: 1 })
}

fn code<T>(result: Result<T, Refusal>) -> Option<RefusalCode> {
    result.err().map(|refusal| refusal.code)
}

fn task(hook: &str) -> Option<crate::plan::Task> {
    Some(crate::plan::Task { rollout: "00000001".parse().unwrap(), hook: hook.into() })
}

#[test]
fn plans_that_make_no_sense() {
    type Case = (&'static str, bool, fn(&mut HostPlan));
    #[rustfmt::skip]
    let table: [Case; 20] = [
        ("sound", true, |_| {}),
        ("no slots", true, |p| p.slots.clear()),
        ("a version to come", false, |p| p.version = 5),
        ("version 2", true, |p| p.version = 2),
        ("a restart in version 2", true, |p| (p.version, p.slots[0].generation) = (2, 1)),
        ("a restart in version 1", false, |p| p.slots[0].generation = 1),
        ("a kept instance in version 4", true, |p| (p.version, p.slots[0].keeps_older) = (4, true)),
        ("a kept instance in version 3", false, |p| (p.version, p.slots[0].keeps_older) = (3, true)),
        ("a hook in version 3", true, |p| (p.version, p.slots[0].task) = (3, task("test"))),
        ("a hook in version 2", false, |p| (p.version, p.slots[0].task) = (2, task("test"))),
        ("a hook with a bad name", false, |p| (p.version, p.slots[0].task) = (3, task("../test"))),
        ("seq 0", false, |p| p.seq = 0),
        ("over before it began", false, |p| p.expires_at = p.issued_at),
        ("out of order", false, |p| p.slots.reverse()),
        ("twice", false, |p| p.slots[1] = slot(0)),
        ("previous is itself", false, |p| p.slots[0].previous = Some(Previous { release: Digest::of(b"r5"), phase: Phase::Standby })),
        ("previous is another", true, |p| p.slots[0].previous = Some(Previous { release: Digest::of(b"r4"), phase: Phase::Standby })),
        ("a GPU twice", false, |p| p.slots[0].gpus = vec!["GPU-1".into(), "GPU-1".into()]),
        ("a GPU without a name", false, |p| p.slots[0].gpus = vec![String::new()]),
        ("too many slots", false, |p| p.slots = (0..=1024).map(slot).collect()),
    ];
    for (case, sound, change) in table {
        let mut plan = plan();
        change(&mut plan);
        assert_eq!(code(check_plan(&plan)), (!sound).then_some(RefusalCode::Malformed), "{case}");
    }
}

fn blue_green(steps: &[u16], watch: u64) -> crate::release::Strategy {
    let steps = steps.iter().map(|step| crate::traffic::Weight::try_from(*step).unwrap()).collect();
    let (watch, keep_old, min_ready) = (Span::from_secs(watch), Span::from_secs(60), Span::from_secs(5));
    crate::release::Strategy::BlueGreen { steps, watch, keep_old, approve: false, min_ready }
}

#[test]
fn releases_that_make_no_sense() {
    type Case = (&'static str, bool, fn(&mut Release));
    #[rustfmt::skip]
    let table: [Case; 34] = [
        ("sound", true, |_| {}),
        ("another version", false, |r| r.version = 8),
        ("counter 0", false, |r| r.counter = Counter(0)),
        ("an author who writes lines", false, |r| r.author = "a\nb".into()),
        ("an image without a path", false, |r| r.spec.image.repository = "r.example.com".into()),
        ("an image in another spelling", false, |r| r.spec.image.repository = "R.example.com/web".into()),
        ("no platform", false, |r| r.spec.image.platform = "linux".into()),
        ("a word with a zero", false, |r| r.spec.command = Some(vec!["a\0".into()])),
        ("a variable without a name", false, |r| { r.spec.env.insert(String::new(), "x".into()); }),
        ("a variable with =", false, |r| { r.spec.env.insert("A=B".into(), "x".into()); }),
        ("a relative workdir", false, |r| r.spec.workdir = Some("app".into())),
        ("a user with a space", false, |r| r.spec.security.user = Some("a b".into())),
        ("a capability with its prefix", false, |r| r.spec.security.capabilities = vec!["CAP_CHOWN".into()]),
        ("a port 0", false, |r| r.spec.ports.get_mut("http").unwrap().container = 0),
        ("a fixed port 0", false, |r| r.spec.ports.get_mut("http").unwrap().host = Some(0)),
        ("a main port that is none", false, |r| r.spec.main_port = Some("x".into())),
        ("no memory", false, |r| r.spec.resources.memory = Size::from_bytes(1 << 20)),
        ("no processes", false, |r| r.spec.resources.pids = 0),
        ("no processor", false, |r| r.spec.resources.cpu_millis = 0),
        ("a scale upside down", false, |r| r.spec.scale = Scale::Replicas { min: 3, max: 2 }),
        ("a probe of a port", true, |r| r.spec.health.readiness = probe(Check::Tcp { port: "http".into() })),
        ("a probe of no port", false, |r| r.spec.health.readiness = probe(Check::Tcp { port: "x".into() })),
        ("a probe that breaks the line", false, |r| r.spec.health.startup = probe(Check::Http { path: "/ HTTP/1.1\r\nx: y".into(), port: "http".into() })),
        ("a probe without a command", false, |r| r.spec.health.liveness = probe(Check::Exec { argv: vec![] })),
        ("a file that is not base64", false, |r| { r.spec.files.insert("/a".into(), crate::release::File { content: "*".into(), mode: 0o644 }); }),
        ("a file with setuid", false, |r| { r.spec.files.insert("/a".into(), crate::release::File { content: String::new(), mode: 0o4755 }); }),
        ("a mount with a colon", false, |r| { r.spec.volumes.insert("a".into(), crate::release::Volume { mount: "/a:ro".into(), host_path: None, read_only: false, shared: false }); }),
        ("a mount that climbs", false, |r| r.spec.security.tmpfs = vec!["/a/../etc".into()]),
        ("steps that rise", true, |r| { r.version = 3; r.spec.strategy = blue_green(&[100, 1000], 60); }),
        ("steps in a version without any", false, |r| { r.version = 2; r.spec.strategy = blue_green(&[1000], 60); }),
        ("steps that fall", false, |r| { r.version = 3; r.spec.strategy = blue_green(&[500, 100, 1000], 60); }),
        ("steps that do not end", false, |r| { r.version = 3; r.spec.strategy = blue_green(&[500], 60); }),
        ("a watch of a year", false, |r| { r.version = 3; r.spec.strategy = blue_green(&[1000], 31_536_000); }),
        ("two in one place", false, |r| r.spec.security.tmpfs = vec!["/a".into(), "/a/".into()]),
    ];
    for (case, sound, change) in table {
        let mut release = release();
        change(&mut release);
        assert_eq!(code(check_release(&release)), (!sound).then_some(RefusalCode::Malformed), "{case}");
    }
}

#[test]
fn audience() {
    let (fleet, host) = ("demo".parse().unwrap(), "web-1".parse().unwrap());
    assert_eq!(code(plan_audience(&plan(), &fleet, &host)), None);
    let wrong = Some(RefusalCode::WrongAudience);
    assert_eq!(code(plan_audience(&plan(), &fleet, &"web-2".parse().unwrap())), wrong);
    assert_eq!(code(plan_audience(&plan(), &"other".parse().unwrap(), &host)), wrong);
    assert_eq!(code(release_audience(&release(), &"other".parse().unwrap())), wrong);
    assert_eq!(code(release_audience(&release(), &fleet)), None);
}

#[test]
fn time() {
    let plan = plan();
    let seconds = Duration::from_secs;
    let (issued, expires) = (plan.issued_at, plan.expires_at);
    let (early, late) = (Some(RefusalCode::NotYetValid), Some(RefusalCode::Expired));
    let just = Duration::from_millis(1);
    #[rustfmt::skip]
    let table = [
        ("when it was signed", issued, false, None), ("a slow clock", issued - SKEW, false, None),
        ("a slower clock", issued - SKEW - just, false, early), ("at the end", expires, false, None),
        ("a fast clock", expires + SKEW, false, None), ("a faster clock", expires + SKEW + just, false, late),
        ("a year later", expires + seconds(31_536_000), false, late),
        ("a year later, but committed", expires + seconds(31_536_000), true, None),
        ("committed, but from the future", issued - seconds(3600), true, early),
    ];
    for (case, now, committed, want) in table {
        assert_eq!(code(plan_time(&plan, committed, now)), want, "{case}");
    }
    assert_eq!(code(release_time(&release(), issued - SKEW)), None);
    assert_eq!(code(release_time(&release(), issued - SKEW - just)), early);
    assert_eq!(trusted_now(issued, expires), expires, "a clock that was set back changes nothing");
    assert_eq!(trusted_now(expires, issued), expires);
}

#[test]
fn order() {
    let (same, other) = (Digest::of(b"same"), Digest::of(b"other"));
    let last = |seq| Some(Committed { seq, digest: same });
    #[rustfmt::skip]
    let table = [
        ("the first ever", 1, None, same, Ok(PlanOrder::Newer)), ("the next", 1, last(6), other, Ok(PlanOrder::Newer)),
        ("a leap", 1, last(1), other, Ok(PlanOrder::Newer)), ("the same again", 1, last(7), same, Ok(PlanOrder::Same)),
        ("two with one number", 1, last(7), other, Err(RefusalCode::Equivocation)),
        ("an older one", 1, last(8), other, Err(RefusalCode::Stale)),
        ("an older one with that digest", 1, last(8), same, Err(RefusalCode::Stale)),
        ("an old epoch", 2, None, same, Err(RefusalCode::WrongEpoch)),
        ("a coming epoch", 0, None, same, Err(RefusalCode::WrongEpoch)),
    ];
    for (case, epoch, last, digest, want) in table {
        assert_eq!(plan_order(&plan(), digest, epoch, last).map_err(|r| r.code), want, "{case}");
    }
}

#[test]
fn a_release_in_a_slot() {
    struct World {
        release: Release,
        facts: HostFacts,
        standing: ReleaseValidity,
        slot: SlotId,
        host: HostId,
    }
    type Case = (&'static str, Option<RefusalCode>, fn(&mut World));
    #[rustfmt::skip]
    let table: [Case; 12] = [
        ("may start", None, |_| {}),
        ("of another service", Some(RefusalCode::UnsignedRelease), |w| w.slot = "production/api/0".parse().unwrap()),
        ("at the floor", None, |w| w.standing.floor = Counter(5)),
        ("below the floor", Some(RefusalCode::BelowFloor), |w| w.standing.floor = Counter(6)),
        ("revoked", Some(RefusalCode::Revoked), |w| w.standing.revoked = true),
        ("a label is missing", Some(RefusalCode::WrongHost), |w| w.facts.labels.clear()),
        ("a label is another", Some(RefusalCode::WrongHost), |w| { w.facts.labels.insert("role".into(), "db".into()); }),
        ("another host is named", Some(RefusalCode::WrongHost), |w| w.release.spec.placement.hosts = vec!["web-2".parse().unwrap()]),
        ("this host is named", None, |w| w.release.spec.placement.hosts = vec!["web-1".parse().unwrap()]),
        ("its environment is not served", Some(RefusalCode::WrongHost), |w| w.facts.policy.environments = Some(["test".parse().unwrap()].into())),
        ("another platform", Some(RefusalCode::WrongHost), |w| w.facts.platform = "linux/arm64".into()),
        ("the first of several", Some(RefusalCode::BelowFloor), |w| { w.standing = ReleaseValidity { floor: Counter(9), revoked: true }; w.facts.labels.clear(); }),
    ];
    for (case, want, change) in table {
        let facts = HostFacts {
            labels: [("role".to_owned(), "app".to_owned())].into(),
            platform: "linux/amd64".to_owned(),
            policy: HostPolicy::default(),
            ..HostFacts::default()
        };
        let mut world = World {
            release: release(),
            facts,
            standing: ReleaseValidity { floor: Counter(0), revoked: false },
            slot: "production/web/0".parse().unwrap(),
            host: "web-1".parse().unwrap(),
        };
        change(&mut world);
        let World { release, facts, standing, slot, host } = world;
        assert_eq!(code(release_in_slot(&slot, &release, standing, &host, &facts)), want, "{case}");
    }
}

proptest::proptest! {
    /// Whatever is offered in whatever order, the accepted number never falls.
    #[test]
    fn seq_only_rises(offers in proptest::collection::vec((1_u64..12, 0_u8..3), 1..60)) {
        let mut last: Option<Committed> = None;
        for (seq, content) in offers {
            let offered = HostPlan { seq, ..plan() };
            let digest = Digest::of(&[content, u8::try_from(seq).unwrap()]);
            match plan_order(&offered, digest, 1, last) {
                Ok(PlanOrder::Newer) => {
                    proptest::prop_assert!(last.is_none_or(|last| seq > last.seq));
                    last = Some(Committed { seq, digest });
                }
                Ok(PlanOrder::Same) => proptest::prop_assert_eq!(last, Some(Committed { seq, digest })),
                Err(refusal) => proptest::prop_assert!(last.is_some_and(|last| seq <= last.seq), "{}", refusal),
            }
        }
    }
}

fn hooked(change: impl FnOnce(&mut crate::release::Hook)) -> Result<(), Refusal> {
    use crate::release::{Hook, HookHosts, Hooks};
    let mut release = release();
    release.version = 4;
    let mut one = Hook {
        name: "test-prediction".into(),
        run: vec!["python".into(), "-m".into(), "app.test".into()],
        gpus: Some(1),
        timeout: Span::from_secs(300),
        on: HookHosts::Lowest,
    };
    let other = Hook { name: "other".into(), ..one.clone() };
    change(&mut one);
    release.spec.hooks = Hooks { before: vec![one], after: vec![other] };
    check_release(&release)
}

#[test]
fn hooks_are_bounded_where_they_are_read() {
    hooked(|_| {}).unwrap();
    type Case = (&'static str, fn(&mut crate::release::Hook));
    let table: [Case; 10] = [
        ("no name", |hook| hook.name.clear()),
        ("a name with a dot", |hook| hook.name = "a.b".into()),
        ("a long name", |hook| hook.name = "a".repeat(33)),
        ("a name twice", |hook| hook.name = "other".into()),
        ("no command", |hook| hook.run.clear()),
        ("a zero in a word", |hook| hook.run.push("a\0".into())),
        ("a long command", |hook| hook.run.push("a".repeat(40_000))),
        ("no GPU at all", |hook| hook.gpus = Some(0)),
        ("no time", |hook| hook.timeout = Span::ZERO),
        ("a week", |hook| hook.timeout = Span::from_secs(7 * 86_400)),
    ];
    for (case, change) in table {
        assert_eq!(code(hooked(change)), Some(RefusalCode::Malformed), "{case}");
    }
}

#[test]
fn files_are_looked_for_in_volumes_of_the_release_only() {
    use crate::release::{HostAsk, HostCheck, Volume};
    let sound = |volume: &str, paths: &[&str], version: u32| {
        let mut release = release();
        release.version = version;
        let own = Volume { mount: "/models".into(), host_path: None, read_only: true, shared: false };
        release.spec.volumes.insert("models".into(), own);
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        let ask = HostAsk::FilesExist { volume: volume.into(), paths };
        release.spec.checks = vec![HostCheck { name: "models".into(), ask, timeout: Span::from_secs(5) }];
        check_release(&release).is_ok()
    };
    assert!(sound("models", &["bert.bin", "gpt/weights.onnx"], 4));
    assert!(!sound("models", &["bert.bin"], 3), "a version without");
    assert!(!sound("other", &["bert.bin"], 4), "another volume");
    for path in ["", "/etc/shadow", "../x", "a/../../x", "a//b", "./a", "a\n"] {
        assert!(!sound("models", &[path], 4), "{path:?}");
    }
    assert!(!sound("models", &[], 4));
}
