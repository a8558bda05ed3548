//! Steps 1 and 3 to 9: a plan that is refused as a whole.

use std::time::Duration;

use serde_json::{Value, json};
use windlass_certs::dsse::PayloadType as Type;
use windlass_certs::keys::SigningKey;
use windlass_core::Timestamp;
use windlass_testkit::now;
use windlass_tests::rogue::papers::{at, bend, bend_payload, seal, slot};
use windlass_tests::rogue::scene::{self, Scene};
use windlass_tests::rogue::server::within;
use windlass_tests::rogue::{Draft, Target};

use super::{check, conclude};

/// The offered plan and its refusal, by the attack's name.
type Row = (&'static str, &'static str, &'static str, fn(&Target) -> Vec<u8>);

const HOUR: Duration = Duration::from_secs(3600);

/// The plan behind every attack: stop the honest service, start another one.
fn plan(target: &Target) -> Draft {
    let evil = target.publish(&Draft::release("production/evil", 1, &target.fresh));
    Draft::plan(&target.host.name, target.seq + 1, vec![slot("production/evil/0", &evil.digest)])
}

/// The same, signed as a coordinator may.
fn good(target: &Target) -> Vec<u8> {
    target.seal(&plan(target)).envelope
}

fn signed(target: &Target, change: impl FnOnce(Draft) -> Draft) -> Vec<u8> {
    target.seal(&change(plan(target))).envelope
}

/// Signed bytes that are no plan.
fn raw(target: &Target, change: impl FnOnce(String) -> String) -> Vec<u8> {
    let payload = change(plan(target).0.to_string());
    seal(Type::Plan, payload.into_bytes(), &target.keys.dispatch.each_ref()).envelope
}

fn signed_by(target: &Target, keys: &[&SigningKey]) -> Vec<u8> {
    plan(target).seal(Type::Plan, keys).envelope
}

fn text(envelope: Vec<u8>, change: impl FnOnce(String) -> String) -> Vec<u8> {
    change(String::from_utf8(envelope).unwrap()).into_bytes()
}

fn from_now(by: Duration) -> Timestamp {
    now() + by
}

/// `ZQ==` and `ZR==` are one byte to a lenient reader.
fn loose(text: &str) -> String {
    let cut = text.trim_end_matches('=');
    let (head, last) = cut.split_at(cut.len() - 1);
    let next = char::from(last.as_bytes()[0] + 1);
    format!("{head}{next}{}", &text[cut.len()..])
}

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    // 1: sizes
    ("payload one byte over 4 MiB", "too_large", "", |t| raw(t, |p| p.clone() + &" ".repeat((4 << 20) + 1 - p.len()))),
    ("7 MiB of envelope", "too_large", "", |t| text(good(t), |e| e + &" ".repeat(7 << 20))),
    ("17 signatures", "too_large", "16", |t| bend(&good(t), |e| {
        let one = e["signatures"][0].clone();
        e["signatures"] = vec![one; 17].into();
    })),
    ("payload nested 40 deep", "malformed", "nested deeper", |t| raw(t, |p| p.replacen('{', &format!("{{\"x\":{}{},", "[".repeat(40), "]".repeat(40)), 1))),

    // 3: outer form and type
    ("nothing", "malformed", "", |_| Vec::new()),
    ("no JSON", "malformed", "", |_| b"\x00\xff plan".to_vec()),
    ("an array", "malformed", "", |t| text(good(t), |e| format!("[{e}]"))),
    ("unknown field of the envelope", "malformed", "unknown", |t| bend(&good(t), |e| e["extra"] = 1.into())),
    ("unknown field of a signature", "malformed", "unknown", |t| bend(&good(t), |e| e["signatures"][0]["alg"] = "none".into())),
    ("duplicate payload field", "malformed", "duplicate", |t| text(good(t), |e| e.replacen('{', "{\"payload\":\"\",", 1))),
    ("duplicate field behind an escape", "malformed", "duplicate", |t| text(good(t), |e| e.replacen('{', "{\"p\\u0061yload\":\"\",", 1))),
    ("bytes after the envelope", "malformed", "trailing", |t| text(good(t), |e| e + "{}")),
    ("base64 with loose bits", "malformed", "base64", |t| bend(&text_of_any_length(t), |e| e["payload"] = loose(e["payload"].as_str().unwrap()).into())),
    ("base64 without padding", "malformed", "base64", |t| bend(&text_of_any_length(t), |e| e["payload"] = e["payload"].as_str().unwrap().trim_end_matches('=').into())),
    ("base64 with a line break", "malformed", "base64", |t| bend(&good(t), |e| e["payload"] = format!("{}\n", e["payload"].as_str().unwrap()).into())),
    ("signature that is no base64", "malformed", "base64", |t| bend(&good(t), |e| e["signatures"][0]["sig"] = "***".into())),
    ("no signatures field", "malformed", "signatures", |t| bend(&good(t), |e| drop(e.as_object_mut().unwrap().remove("signatures")))),
    ("type nobody knows", "wrong_type", "", |t| bend(&good(t), |e| e["payloadType"] = "application/json".into())),
    ("type in another case", "wrong_type", "", |t| bend(&good(t), |e| e["payloadType"] = Type::Plan.as_str().to_uppercase().into())),
    ("type with a parameter", "wrong_type", "", |t| bend(&good(t), |e| e["payloadType"] = format!("{};v=1", Type::Plan).into())),
    ("a plan signed as routes", "wrong_type", "routes", |t| plan(t).seal(Type::Routes, &t.keys.dispatch.each_ref()).envelope),
    ("a release offered as a plan", "wrong_type", "release", |t| Draft::release("production/evil", 1, &t.fresh).seal(Type::Release, &[&t.keys.people[0]]).envelope),
    ("a command to run in a container", "wrong_type", "exec", |t| seal(Type::Exec, br#"{"host":"h1","argv":["sh"]}"#.to_vec(), &t.keys.dispatch.each_ref()).envelope),
    ("a plan signed as a command", "wrong_type", "exec", |t| plan(t).seal(Type::Exec, &[&t.keys.dispatch[0], &t.keys.dispatch[1], &t.keys.people[0]]).envelope),
    ("a secret", "wrong_type", "secret", |t| plan(t).seal(Type::Secret, &[&t.keys.people[0]]).envelope),
    ("routes to a foreign address", "wrong_type", "routes", |t| seal(Type::Routes, br#"{"routes":[{"to":"203.0.113.9:80"}]}"#.to_vec(), &t.keys.dispatch.each_ref()).envelope),
    ("a receipt offered as a plan", "wrong_type", "receipt", |t| plan(t).seal(Type::Receipt, &t.keys.dispatch.each_ref()).envelope),
    ("a checkpoint offered as a plan", "wrong_type", "audit", |t| plan(t).seal(Type::Audit, &[&t.keys.audit]).envelope),
    ("a revocation list offered as a plan", "wrong_type", "revocation", |t| plan(t).seal(Type::Revocation, &[&t.keys.root]).envelope),
    ("a plan as a command's signature says", "bad_signature", "", |t| bend(&plan(t).seal(Type::Exec, &t.keys.dispatch.each_ref()).envelope, |e| e["payloadType"] = Type::Plan.as_str().into())),
    ("relabelling the host", "malformed", "unknown field", |t| signed(t, |p| p.with("labels", json!({ "role": "vault" })))),
    ("widening its policy", "malformed", "unknown field", |t| signed(t, |p| p.with("policy", json!({ "mounts": ["/"] })))),
    ("routes in a plan", "malformed", "unknown field", |t| signed(t, |p| p.with("routes", json!([{ "to": "203.0.113.9:80" }])))),
    ("a command in a slot", "malformed", "unknown field", |t| signed(t, |p| p.with("slots.0.exec", json!(["sh"])))),
    ("a trust document offered as a plan", "wrong_type", "trust", |t| plan(t).seal(Type::Trust, &[&t.keys.root]).envelope),

    // 4 and 5: keys and signatures
    ("a stranger's key", "unknown_key", "", |t| signed_by(t, &[&t.keys.stranger])),
    ("root key", "unknown_key", "", |t| signed_by(t, &[&t.keys.root])),
    ("release keys", "unknown_key", "", |t| signed_by(t, &t.keys.people.each_ref())),
    ("audit key", "unknown_key", "", |t| signed_by(t, &[&t.keys.audit])),
    ("a stranger under a known key id", "bad_signature", "", |t| bend(&signed_by(t, &[&t.keys.stranger]), |e| e["signatures"][0]["keyid"] = t.keys.dispatch[0].id().as_str().into())),
    ("one byte of the payload changed", "bad_signature", "", |t| bend_payload(&good(t), |p| p[100] ^= 1)),
    ("white space added to the payload", "bad_signature", "", |t| bend_payload(&good(t), |p| p.push(b' '))),
    ("one bit of both signatures changed", "bad_signature", "", |t| bend(&good(t), |e| {
        for at in 0..2 {
            let mut sig = decoded(&e["signatures"][at]["sig"]);
            sig[7] ^= 1;
            e["signatures"][at]["sig"] = encoded(&sig).into();
        }
    })),
    ("signatures of the plan before", "bad_signature", "", |t| bend(&good(t), |e| e["signatures"] = value(&t.last)["signatures"].clone())),
    ("signatures over routes", "bad_signature", "", |t| bend(&plan(t).seal(Type::Routes, &t.keys.dispatch.each_ref()).envelope, |e| e["payloadType"] = Type::Plan.as_str().into())),
    ("signature cut short", "bad_signature", "", |t| bend(&good(t), |e| {
        for at in 0..2 {
            let sig = decoded(&e["signatures"][at]["sig"]);
            e["signatures"][at]["sig"] = encoded(&sig[..63]).into();
        }
    })),
    ("no signature", "below_threshold", "0 of the 2", |t| bend(&good(t), |e| e["signatures"] = json!([]))),
    ("one of two keys", "below_threshold", "1 of the 2", |t| signed_by(t, &[&t.keys.dispatch[0]])),
    ("one key twice", "below_threshold", "1 of the 2", |t| bend(&signed_by(t, &[&t.keys.dispatch[0]]), |e| {
        let one = e["signatures"][0].clone();
        e["signatures"] = vec![one; 2].into();
    })),
    ("one key twice, under both ids", "below_threshold", "1 of the 2", |t| bend(&good(t), |e| e["signatures"][1]["sig"] = e["signatures"][0]["sig"].clone())),
    ("one key twice, once without an id", "below_threshold", "1 of the 2", |t| bend(&signed_by(t, &[&t.keys.dispatch[1]]), |e| {
        let one = e["signatures"][0]["sig"].clone();
        e["signatures"].as_array_mut().unwrap().push(json!({ "sig": one }));
    })),
    ("a dispatch key and a stranger", "below_threshold", "1 of the 2", |t| signed_by(t, &[&t.keys.dispatch[0], &t.keys.stranger])),

    // 6: inner form, well signed
    ("signed: no JSON", "malformed", "", |t| raw(t, |_| "plan".to_owned())),
    ("signed: an array", "malformed", "", |t| raw(t, |p| format!("[{p}]"))),
    ("signed: bytes after it", "malformed", "trailing", |t| raw(t, |p| p + "{}")),
    ("signed: duplicate field", "malformed", "duplicate", |t| raw(t, |p| p.replacen('{', "{\"seq\":1,", 1))),
    ("signed: unknown field", "malformed", "unknown field", |t| signed(t, |p| p.with("command", "rm -rf /"))),
    ("signed: unknown field of a slot", "malformed", "unknown field", |t| signed(t, |p| p.with("slots.0.privileged", true))),
    ("signed: unknown phase", "malformed", "unknown variant", |t| signed(t, |p| p.with("slots.0.phase", "forced"))),
    ("signed: a version that is not known", "malformed", "version", |t| signed(t, |p| p.with("version", 5))),
    ("a hook in a plan of a version that has none", "malformed", "task", |t| signed(t, |p| p.with("slots.0.task", json!({ "rollout": "00000001", "hook": "check" })))),
    ("a hook with a name that climbs", "malformed", "task", |t| signed(t, |p| p.with("version", 3).with("slots.0.task", json!({ "rollout": "00000001", "hook": "../sh" })))),
    ("a hook with a command of its own", "malformed", "unknown field", |t| signed(t, |p| p.with("version", 3).with("slots.0.task", json!({ "rollout": "00000001", "hook": "check", "run": ["sh"] })))),
    ("signed: seq 0", "malformed", "seq", |t| signed(t, |p| p.with("seq", 0))),
    ("signed: a seq that leaves no later one", "malformed", "no numbers", |t| signed(t, |p| p.with("seq", u64::MAX))),
    ("signed: a life of eight days", "malformed", "7 days", |t| signed(t, |p| p.with("expires_at", at(from_now(8 * 24 * HOUR))))),
    ("signed: seq below 0", "malformed", "", |t| signed(t, |p| p.with("seq", -1))),
    ("signed: a seq of 2^64", "malformed", "", |t| raw(t, |p| p.replacen(&format!("\"seq\":{}", t.seq + 1), "\"seq\":18446744073709551616", 1))),
    ("signed: expires before it is issued", "malformed", "expires_at", |t| signed(t, |p| { let issued = p.0["issued_at"].clone(); p.with("expires_at", issued) })),
    ("signed: a slot twice", "malformed", "twice", |t| signed(t, |p| { let one = p.0["slots"][0].clone(); p.with("slots", vec![one.clone(), one]) })),
    ("signed: slots out of order", "malformed", "order", |t| signed(t, |p| { let mut list = p.0["slots"].as_array().unwrap().clone(); list.push(t.slots[0].clone()); list.sort_by_key(|slot| std::cmp::Reverse(slot["slot"].to_string())); p.with("slots", list) })),
    ("signed: 1025 slots", "malformed", "1024", |t| signed(t, |p| { let one = p.0["slots"][0].clone(); p.with("slots", (0..1025).map(|n| { let mut slot = one.clone(); slot["slot"] = format!("production/evil/{n}").into(); slot }).collect::<Vec<_>>()) })),
    ("signed: a device twice", "malformed", "twice", |t| signed(t, |p| p.with("slots.0.gpus", vec!["GPU-1", "GPU-1"]))),
    ("signed: a slot replaces itself", "malformed", "previous", |t| signed(t, |p| { let same = p.0["slots"][0]["release"].clone(); p.with("slots.0.previous", json!({ "release": same, "phase": "running" })) })),
    ("signed: a slot that climbs", "malformed", "", |t| signed(t, |p| p.with("slots.0.slot", "../../etc/0"))),

    // 7 and 8: audience and time
    ("for another fleet", "wrong_audience", "fleet", |t| signed(t, |p| p.with("fleet", "other"))),
    ("for another host", "wrong_audience", "host", |t| signed(t, |p| p.with("host", "h2"))),
    ("expired", "expired", "", |t| signed(t, |p| p.with("issued_at", at(now() - HOUR)).with("expires_at", at(now() - Duration::from_secs(90))))),
    ("from the next hour", "not_yet_valid", "clocks", |t| signed(t, |p| p.with("issued_at", at(from_now(HOUR))).with("expires_at", at(from_now(2 * HOUR))))),

    // 9: order
    ("an older number", "stale", "seq", |t| signed(t, |p| p.with("seq", t.seq - 1))),
    ("the same number with other slots", "equivocation", "two plans", |t| signed(t, |p| p.with("seq", t.seq))),
    ("a later epoch", "wrong_epoch", "epoch 2", |t| signed(t, |p| p.with("epoch", 2))),
    ("an earlier epoch", "wrong_epoch", "epoch 0", |t| signed(t, |p| p.with("epoch", 0))),
];

/// A signed plan whose payload does not fill its last three bytes, so that its base64 is padded.
fn text_of_any_length(target: &Target) -> Vec<u8> {
    raw(target, |payload| payload.clone() + &" ".repeat(3 - payload.len() % 3 + 1))
}

fn value(envelope: &[u8]) -> Value {
    serde_json::from_slice(envelope).unwrap()
}

fn decoded(text: &Value) -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(text.as_str().unwrap()).unwrap()
}

fn encoded(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[test]
fn a_bad_plan_is_refused_as_a_whole_and_touches_nothing() {
    let mut target = Target::start("rogue-plans", "", |_, _, _| {});
    let before = Scene::of(&target.host.engine).unwrap();
    let mut wrong = Vec::new();
    for (name, code, detail, forge) in ROWS {
        let since = scene::moment();
        let envelope = forge(&target);
        let seen = target.refused(&envelope).and_then(|refusal| check(&refusal, code, detail));
        let after = target.untouched(&since);
        let next = target.honest();
        for error in [seen, after, next].into_iter().filter_map(Result::err) {
            wrong.push(format!("{name}: {error}"));
        }
    }
    // An accepted plan is answered as it was the first time, and nothing happens twice.
    let since = scene::moment();
    target.refused(&good_but_stale(&target)).unwrap();
    let last = target.last.clone();
    target.rogue.offer(&last);
    let harmless = target.rogue.observed(Duration::from_secs(10), |seen| match &seen.plan_refusal {
        None => Ok(()),
        Some(refusal) => Err(refusal.to_string()),
    });
    for error in [harmless, target.untouched(&since)].into_iter().filter_map(Result::err) {
        wrong.push(format!("the plan in force, offered again: {error}"));
    }
    for code in ["too_large", "malformed", "bad_signature", "wrong_audience", "equivocation"] {
        if target.audited(code) == 0 {
            wrong.push(format!("no audit line with code {code}"));
        }
    }
    let hellos = |target: &Target| target.rogue.said(|said| said.hellos.len());
    assert_eq!(hellos(&target), 1, "no refusal costs the agent its connection");
    // More than a message may hold is not even read: that costs the connection, and nothing else.
    let since = scene::moment();
    target.rogue.offer(&vec![b' '; 9 << 20]);
    let back = within(Duration::from_secs(10), || {
        if hellos(&target) > 1 { Ok(()) } else { Err("not back".to_owned()) }
    });
    for error in [back, target.untouched(&since), target.honest()].into_iter().filter_map(Result::err) {
        wrong.push(format!("9 MiB: {error}"));
    }
    assert_eq!(Scene::of(&target.host.engine).unwrap(), before);
    conclude(ROWS.len() + 2, &wrong);
}

fn good_but_stale(target: &Target) -> Vec<u8> {
    signed(target, |plan| plan.with("seq", 1))
}
