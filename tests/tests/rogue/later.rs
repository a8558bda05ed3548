//! Steps 8 to 10 with a past: what a host remembers, over restarts, epochs and trust documents.

use std::time::Duration;

use windlass_certs::trust::TrustDocument;
use windlass_core::observation::SlotStatus;
use windlass_proto::pb;
use windlass_proto::pb::connect_response::Message;
use windlass_testkit::keys::seal_trust;
use windlass_testkit::now;
use windlass_tests::rogue::papers::{at, bend, slot};
use windlass_tests::rogue::scene;
use windlass_tests::rogue::server::within;
use windlass_tests::rogue::target::status;
use windlass_tests::rogue::{Draft, Pinned, Target};

use super::{check, conclude};

const LIMIT: Duration = Duration::from_secs(20);
/// The refusal of content that failed here, whoever signs it.
pub(super) const QUARANTINED: &str = "quarantined";
/// The refusal of a release whose checks fail on this host, whoever signs it.
pub(super) const CHECK_FAILED: &str = "check_failed";
const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn what_a_host_has_seen_it_does_not_forget() {
    let mut target = Target::start("rogue-later", "", |_, _, _| {});
    let mut wrong = Vec::new();
    let mut note = |what: &str, result: Result<(), String>| {
        wrong.extend(result.err().map(|error| format!("{what}: {error}")));
    };
    note("an old plan after a restart", old_plans_stay_old(&mut target));
    note("time pushed forward", time_cannot_be_pushed(&mut target));
    note("more than was signed for", a_signature_is_for_so_many(&mut target));
    note("a floor that was raised", floors_stay(&mut target));
    note("content that failed", failures_stay(&mut target));
    note("a check that fails", checks_hold_a_start(&mut target));
    note("trust documents", trust_is_not_taken_from_anyone(&mut target));
    note("a new epoch", epochs_part(&mut target));
    note("a long chain of trust", chains_are_walked_whole(&mut target));
    note("the honest service at last", target.serves());
    conclude(10, &wrong);
}

/// A plan that was good once is not good again, least of all for an agent that was just started.
fn old_plans_stay_old(target: &mut Target) -> Result<(), String> {
    let first = target.last.clone();
    target.honest()?;
    let since = scene::moment();
    target.restart();
    let refusal = target.refused(&first)?;
    check(&refusal, "stale", "")?;
    let hello = target.rogue.said(|said| said.hellos.last().map(|hello| hello.seq));
    if hello != Some(target.seq) {
        return Err(format!("the agent came back with seq {hello:?}"));
    }
    target.untouched(&since)?;
    target.honest()
}

/// Each step within the skew of the one before, together into next week: then honest plans would be late for ever.
fn time_cannot_be_pushed(target: &mut Target) -> Result<(), String> {
    let ahead = |target: &Target, minutes: u32| {
        let issued = now() + 59 * MINUTE / 60 * minutes;
        target.plan().with("issued_at", at(issued)).with("expires_at", at(issued + MINUTE))
    };
    target.accept(&ahead(target, 1))?;
    let pushed = target.seal(&ahead(target, 2)).envelope;
    check(&target.refused(&pushed)?, "not_yet_valid", "")?;
    target.honest()
}

/// One signature for one instance is not one for four, nor for a second one of what never runs twice.
fn a_signature_is_for_so_many(target: &mut Target) -> Result<(), String> {
    let one = Draft::release("production/many", 1, &target.image);
    let alone = Draft::release("production/alone", 1, &target.image)
        .with("spec.scale", serde_json::json!({ "replicas": { "min": 1, "max": 9 } }))
        .with("spec.exclusive", true);
    let mut slots = target.slots.clone();
    for (name, release, indices) in [("many", &one, &[0, 1, 2, 700][..]), ("alone", &alone, &[0, 1])] {
        let sealed = target.publish(release);
        slots.extend(indices.iter().map(|index| slot(&format!("production/{name}/{index}"), &sealed.digest)));
    }
    target.accept(&Draft::plan(&target.host.name, target.seq + 1, slots))?;
    for index in [1, 2, 700] {
        refused_slot(target, &format!("production/many/{index}"), "unsigned_release")?;
    }
    refused_slot(target, "production/alone/1", "unsigned_release")?;
    target.settled("production/many/0")?;
    for name in ["many", "alone"] {
        let running = target.host.engine.running(name).map_err(|error| error.to_string())?;
        if running.len() > 1 {
            return Err(format!("one instance of {name} was signed for: {running:?}"));
        }
    }
    target.honest()
}

/// A good release raised the floor of its service; nothing below starts any more.
fn floors_stay(target: &mut Target) -> Result<(), String> {
    let fixed = Draft::release("production/floor", 6, &target.image).with("spec.floor", "r6");
    target.install("production/floor/0", &fixed);
    let before = target.publish(&Draft::release("production/floor", 5, &target.image));
    let mut slots = target.slots.clone();
    for slot in slots.iter_mut().filter(|slot| slot["slot"] == "production/floor/0") {
        slot["release"] = before.digest.to_string().into();
    }
    target.accept(&Draft::plan(&target.host.name, target.seq + 1, slots))?;
    refused_slot(target, "production/floor/0", "below_floor")?;
    let running = target.host.engine.running("floor").map_err(|error| error.to_string())?;
    if running.len() != 1 {
        return Err(format!("what ran was not left alone: {running:?}"));
    }
    target.slots.retain(|slot| slot["slot"] != "production/floor/0");
    target.honest()
}

/// Content that failed here is not started again, whoever signs it anew under whatever number.
fn failures_stay(target: &mut Target) -> Result<(), String> {
    let crash = Pinned::of(&target.lab.registry(), "web", "crash");
    let frail = |target: &mut Target, counter, author: &str| {
        let release = Draft::release("production/frail", counter, &crash).with("author", author);
        let sealed = target.publish(&release);
        let mut wanted = slot("production/frail/0", &sealed.digest);
        wanted["good"] = false.into();
        let mut slots = target.slots.clone();
        slots.push(wanted);
        target.accept(&Draft::plan(&target.host.name, target.seq + 1, slots))
    };
    frail(target, 1, "alice")?;
    target.rogue.observed(LIMIT, |seen| match status(seen, "production/frail/0") {
        Some(SlotStatus::Failed { .. }) => Ok(()),
        other => Err(format!("the crashing release: {other:?}")),
    })?;
    frail(target, 2, "bob")?;
    refused_slot(target, "production/frail/0", QUARANTINED)?;
    target.restart();
    refused_slot(target, "production/frail/0", QUARANTINED)?;
    target.honest()
}

/// The checks of a release before its first start are made here, and a coordinator cannot say that they were.
fn checks_hold_a_start(target: &mut Target) -> Result<(), String> {
    let image = Pinned::of(&target.lab.registry(), "web", "v1");
    let checks = serde_json::json!([{
        "name": "database", "ask": { "postgres": { "address": "127.0.0.1:1" } }, "timeout": "5s",
    }]);
    let release =
        Draft::release("production/needy", 1, &image).with("version", 3).with("spec.checks", checks);
    let sealed = target.publish(&release);
    let mut wanted = slot("production/needy/0", &sealed.digest);
    wanted["good"] = false.into();
    let mut slots = target.slots.clone();
    slots.push(wanted);
    target.accept(&Draft::plan(&target.host.name, target.seq + 1, slots))?;
    refused_slot(target, "production/needy/0", CHECK_FAILED)?;
    target.honest()
}

/// Versions that the root keys did not sign, or not in order, change nothing.
fn trust_is_not_taken_from_anyone(target: &mut Target) -> Result<(), String> {
    let next = |target: &Target, version: u64| {
        let mut next: TrustDocument = target.keys.trust(&target.rogue.address());
        next.version = version;
        // The wish of a coordinator: its own key for everything.
        for rule in &mut next.roles.release {
            rule.keys = vec![target.keys.stranger.public()];
            (rule.threshold, rule.retired) = (1, Vec::new());
        }
        next
    };
    let keys = target.keys.clone();
    let second = next(target, 2);
    let good = seal_trust(&second, &[&keys.root]);
    let mut backwards = second.clone();
    backwards.epoch = 0;
    let mut other = second.clone();
    other.fleet = "other".parse().unwrap();
    let forged: Vec<(&str, Vec<u8>)> = vec![
        ("by a stranger", seal_trust(&second, &[&keys.stranger])),
        ("by release keys", seal_trust(&second, &keys.people.each_ref())),
        ("without a signature", bend(&good, |e| e["signatures"] = serde_json::json!([]))),
        ("one byte changed", windlass_tests::rogue::papers::bend_payload(&good, |p| p[60] ^= 1)),
        ("a version left out", seal_trust(&next(target, 3), &[&keys.root])),
        ("an epoch that falls", seal_trust(&backwards, &[&keys.root])),
        ("of another fleet", seal_trust(&other, &[&keys.root])),
        ("garbage", b"{}".to_vec()),
    ];
    for (name, envelope) in forged {
        let asked = target.rogue.said(|said| said.trust_asked);
        target.rogue.script(|script| {
            script.trust.truncate(1);
            script.trust.push(envelope);
        });
        target.rogue.say(Message::Trust(pb::TrustNotice { version: 2 }));
        within(LIMIT, || {
            target.rogue.said(|said| {
                if said.trust_asked > asked { Ok(()) } else { Err(format!("{name}: not asked")) }
            })
        })?;
        // Releases of the stranger are still nobody's.
        let evil = Draft::release("production/evil", 1, &target.image);
        let evil = evil.seal(windlass_certs::dsse::PayloadType::Release, &[&keys.stranger]);
        target.serve(&evil);
        let mut slots = target.slots.clone();
        slots.push(slot("production/evil/0", &evil.digest));
        target
            .accept(&Draft::plan(&target.host.name, target.seq + 1, slots))
            .map_err(|e| format!("{name}: {e}"))?;
        refused_slot(target, "production/evil/0", "unsigned_release").map_err(|e| format!("{name}: {e}"))?;
        target.honest()?;
    }
    target.rogue.script(|script| script.trust.truncate(1));
    let hellos = target.rogue.said(|said| said.hellos.len());
    target.rogue.cut();
    let version = within(LIMIT, || {
        target.rogue.said(|said| {
            let new = said.hellos.get(hellos).map(|hello| hello.trust_version);
            new.ok_or_else(|| "the agent did not come back".to_owned())
        })
    })?;
    if version == 1 { target.honest() } else { Err(format!("the agent is at trust version {version}")) }
}

/// After a new epoch, plans of the old one are nothing, and numbers begin anew.
fn epochs_part(target: &mut Target) -> Result<(), String> {
    let mut second = target.keys.trust(&target.rogue.address());
    (second.version, second.epoch) = (2, 2);
    let second = seal_trust(&second, &[&target.keys.root]);
    target.rogue.script(|script| script.trust.push(second));
    let since = scene::moment();
    let old = target.seal(&target.plan()).envelope;
    let before = target.rogue.said(|said| said.trust_asked);
    target.rogue.say(Message::Trust(pb::TrustNotice { version: 2 }));
    within(LIMIT, || {
        let asked = target.rogue.said(|said| said.trust_asked > before);
        if asked { Ok(()) } else { Err("trust documents were not asked for".to_owned()) }
    })?;
    // The host is frozen as it is: without a plan, and with all that runs.
    target.seq = 0;
    check(&target.refused(&old)?, "wrong_epoch", "")?;
    target.untouched(&since)?;
    let new = Draft::plan(&target.host.name, 1, target.slots.clone()).with("epoch", 2);
    target.accept(&new)?;
    target.untouched(&since)
}

/// 1,025 versions at once: not one is left out on the way, and more than are walked in one go are walked in two.
fn chains_are_walked_whole(target: &mut Target) -> Result<(), String> {
    const LAST: u64 = 3 + 1025;
    let mut chain = Vec::new();
    target.rogue.script(|script| chain.clone_from(&script.trust));
    for version in 3..=LAST {
        let mut next = target.keys.trust(&target.rogue.address());
        (next.version, next.epoch) = (version, 2);
        chain.push(seal_trust(&next, &[&target.keys.root]));
    }
    let taken = |target: &Target| {
        let log = target.agent.output();
        let lines = log.lines().filter(|line| line.contains("trust document taken"));
        let versions = lines.filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        versions.filter_map(|line| line["version"].as_u64()).max().unwrap_or(0)
    };
    let walks_to = |target: &Target, want: u64| {
        within(3 * MINUTE, || match taken(target) {
            version if version == want => Ok(()),
            version => Err(format!("the agent is at trust version {version}, not {want}")),
        })
    };
    let mut gap = chain.clone();
    gap.remove(3); // version 4
    target.rogue.script(|script| script.trust = gap);
    target.rogue.say(Message::Trust(pb::TrustNotice { version: LAST }));
    walks_to(target, 3)?;
    target.accept(&target.plan().with("epoch", 2))?;
    target.rogue.script(|script| script.trust = chain);
    target.rogue.say(Message::Trust(pb::TrustNotice { version: LAST + 1 }));
    walks_to(target, 3 + 1024)?;
    target.rogue.say(Message::Trust(pb::TrustNotice { version: LAST + 2 }));
    walks_to(target, LAST)?;
    target.accept(&target.plan().with("epoch", 2))
}

fn refused_slot(target: &Target, name: &str, code: &str) -> Result<(), String> {
    let refusal = target.rogue.observed(LIMIT, |seen| match status(seen, name) {
        Some(SlotStatus::Refused(refusal)) => Ok(refusal.clone()),
        other => Err(format!("{name} was not refused: {other:?}")),
    })?;
    check(&refusal, code, "")
}
