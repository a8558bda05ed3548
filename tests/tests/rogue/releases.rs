//! Step 10: a slot that is refused for the release it names.

use std::time::Duration;

use serde_json::json;
use windlass_certs::dsse::PayloadType as Type;
use windlass_certs::keys::SigningKey;
use windlass_core::Counter;
use windlass_testkit::now;
use windlass_tests::rogue::papers::{at, bend, bend_payload, seal};
use windlass_tests::rogue::{Draft, Pinned, Target};

use super::conclude;
use super::slots::{Bad, Row, release, run};

/// Signed by whoever is named.
fn by(target: &Target, service: &str, keys: &[&SigningKey]) -> Bad {
    let draft = release(target, service);
    Bad::sealed(&draft.seal(Type::Release, keys), &draft)
}

/// Rightly signed, but something else is answered.
fn answered(target: &Target, service: &str, change: impl FnOnce(Vec<u8>) -> Option<Vec<u8>>) -> Bad {
    let draft = release(target, service);
    let sealed = draft.seal(Type::Release, &[&target.keys.people[0]]);
    Bad::sealed(&sealed, &draft).answered(change(sealed.envelope.clone()))
}

fn changed(target: &Target, service: &str, change: impl FnOnce(Draft) -> Draft) -> Bad {
    Bad::honest(target, &change(release(target, service)))
}

/// Any bytes, rightly signed.
fn raw(target: &Target, service: &str, change: impl FnOnce(String) -> String) -> Bad {
    let draft = release(target, service);
    let payload = change(draft.0.to_string()).into_bytes();
    Bad::sealed(&seal(Type::Release, payload, &[&target.keys.people[0]]), &draft)
}

/// The release that the trust document revokes; its digest must be known before the trust document is signed.
fn revoked(image: &Pinned) -> Draft {
    Draft::release("production/recalled", 3, image).with("created_at", "2026-01-01T00:00:00.000Z")
}

const UNSIGNED: &str = "unsigned_release";

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    // the coordinator answers with something else
    ("nobody has it", UNSIGNED, "does not have it", |t, s| answered(t, s, |_| None)),
    ("nothing", UNSIGNED, "malformed", |t, s| answered(t, s, |_| Some(Vec::new()))),
    ("garbage", UNSIGNED, "malformed", |t, s| answered(t, s, |_| Some(b"\x7fELF".to_vec()))),
    ("another release, rightly signed", UNSIGNED, "asked for", |t, s| answered(t, s, |_| Some(t.publish(&Draft::release("production/web", 8, &t.fresh)).envelope))),
    ("the plan itself", UNSIGNED, "", |t, s| answered(t, s, |_| Some(t.last.clone()))),
    ("one byte changed", UNSIGNED, "asked for", |t, s| answered(t, s, |e| Some(bend_payload(&e, |p| p[50] ^= 1)))),
    ("its signatures taken off", UNSIGNED, "below_threshold", |t, s| answered(t, s, |e| Some(bend(&e, |e| e["signatures"] = json!([]))))),
    ("300 KiB", UNSIGNED, "too_large", |t, s| changed(t, s, |d| d.with("spec.env.PAD", "x".repeat(300 << 10)))),
    ("9 MiB", UNSIGNED, "does not have it", |t, s| answered(t, s, |e| Some([e, vec![b' '; 9 << 20]].concat()))),
    ("17 signatures", UNSIGNED, "too_large", |t, s| answered(t, s, |e| Some(bend(&e, |e| { let one = e["signatures"][0].clone(); e["signatures"] = vec![one; 17].into(); })))),
    ("unknown field of the envelope", UNSIGNED, "malformed", |t, s| answered(t, s, |e| Some(bend(&e, |e| e["extra"] = true.into())))),

    // signed by those who may not
    ("signed by the coordinator's own key", UNSIGNED, "unknown_key", |t, s| by(t, s, &t.keys.dispatch.each_ref())),
    ("signed by a root key", UNSIGNED, "unknown_key", |t, s| by(t, s, &[&t.keys.root])),
    ("signed by a stranger", UNSIGNED, "unknown_key", |t, s| by(t, s, &[&t.keys.stranger])),
    ("signed for another environment", UNSIGNED, "unknown_key", |t, s| by(t, s, &[&t.keys.tester])),
    ("signed by a key that was retired", UNSIGNED, "unknown_key", |t, s| by(t, s, &[&t.keys.retired])),
    ("signed by a key that was revoked", UNSIGNED, "unknown_key", |t, s| by(t, s, &[&t.keys.lost])),
    ("a stranger under a known key id", UNSIGNED, "bad_signature", |t, s| { let draft = release(t, s); let sealed = draft.seal(Type::Release, &[&t.keys.stranger]); Bad::sealed(&sealed, &draft).answered(Some(bend(&sealed.envelope, |e| e["signatures"][0]["keyid"] = t.keys.people[0].id().as_str().into()))) }),
    ("signed as a plan", UNSIGNED, "wrong_type", |t, s| { let draft = release(t, s); Bad::sealed(&draft.seal(Type::Plan, &[&t.keys.people[0]]), &draft) }),
    ("a plan's signature under a release", UNSIGNED, "bad_signature", |t, s| { let draft = release(t, s); let sealed = draft.seal(Type::Plan, &[&t.keys.people[0]]); Bad::sealed(&sealed, &draft).answered(Some(bend(&sealed.envelope, |e| e["payloadType"] = Type::Release.as_str().into()))) }),
    ("one of two approvals", UNSIGNED, "1 of the 2", |t, _| by(t, "production/vault", &[&t.keys.people[0]])),

    // signed, and still not what a release is
    ("privileged", UNSIGNED, "unknown field", |t, s| changed(t, s, |d| d.with("spec.security.privileged", true))),
    ("host network", UNSIGNED, "unknown field", |t, s| changed(t, s, |d| d.with("spec.network_mode", "host"))),
    ("host processes", UNSIGNED, "unknown field", |t, s| changed(t, s, |d| d.with("spec.pid_mode", "host"))),
    ("devices", UNSIGNED, "unknown field", |t, s| changed(t, s, |d| d.with("spec.resources.devices", vec!["/dev/kmsg"]))),
    ("unconfined", UNSIGNED, "unknown field", |t, s| changed(t, s, |d| d.with("spec.security.security_opt", vec!["seccomp=unconfined"]))),
    ("volume driver", UNSIGNED, "unknown field", |t, s| changed(t, s, |d| d.with("spec.volumes", json!({ "v": { "mount": "/v", "driver_opts": { "device": "/etc" } } })))),
    ("a field of the future", UNSIGNED, "unknown field", |t, s| changed(t, s, |d| d.with("sidecar", json!({})))),
    ("a duplicate field", UNSIGNED, "duplicate", |t, s| raw(t, s, |p| p.replacen('{', "{\"author\":\"eve\",", 1))),
    ("bytes after it", UNSIGNED, "trailing", |t, s| raw(t, s, |p| p + " {}")),
    ("version 8", UNSIGNED, "version", |t, s| changed(t, s, |d| d.with("version", 8))),
    ("a hook in a version that has none", UNSIGNED, "version", |t, s| changed(t, s, |d| d.with("spec.hooks", json!({ "before": [{ "name": "a", "run": ["/web"], "timeout": "1m" }] })))),
    ("a hook whose name climbs", UNSIGNED, "hooks", |t, s| changed(t, s, |d| d.with("version", 4).with("spec.hooks", json!({ "before": [{ "name": "../a", "run": ["/web"], "timeout": "1m" }] })))),
    ("files outside of every volume", UNSIGNED, "volume", |t, s| changed(t, s, |d| d.with("version", 4).with("spec.checks", json!([{ "name": "a", "timeout": "1s", "ask": { "files_exist": { "volume": "host", "paths": ["shadow"] } } }])))),
    ("files above a volume", UNSIGNED, "files below", |t, s| changed(t, s, |d| d.with("version", 4).with("spec.volumes", json!({ "v": { "mount": "/v" } })).with("spec.checks", json!([{ "name": "a", "timeout": "1s", "ask": { "files_exist": { "volume": "v", "paths": ["../../../../etc/shadow"] } } }])))),
    ("counter 0", UNSIGNED, "malformed", |t, s| changed(t, s, |d| d.with("counter", "r0"))),
    ("a tag instead of a digest", UNSIGNED, "malformed", |t, s| changed(t, s, |d| d.with("spec.image.digest", "latest"))),
    ("an image with a path that climbs", UNSIGNED, "one spelling", |t, s| changed(t, s, |d| d.with("spec.image.repository", format!("{}/../web", t.fresh.repository)))),
    ("a bind that climbs", UNSIGNED, "host_path", |t, s| changed(t, s, |d| d.with("spec.volumes", json!({ "v": { "mount": "/v", "host_path": format!("{}/../agent", t.at("srv")) } })))),
    ("a capability in its other spelling", UNSIGNED, "capabilities", |t, s| changed(t, s, |d| d.with("spec.security.capabilities", vec!["CAP_SYS_ADMIN"]))),
    ("of another fleet", UNSIGNED, "wrong_audience", |t, s| changed(t, s, |d| d.with("fleet", "other"))),
    ("from the next hour", UNSIGNED, "not_yet_valid", |t, s| changed(t, s, |d| d.with("created_at", at(now() + Duration::from_secs(3600))))),
    ("a release of another service", UNSIGNED, "names a release of", |t, s| Bad::honest(t, &Draft::release("production/web", 9, &t.fresh)).with("slot", format!("{s}/0"))),

    // rightly signed, and no longer wanted
    ("below the floor", "below_floor", "r4", |t, _| Bad::honest(t, &Draft::release("production/patched", 4, &t.fresh))),
    ("revoked", "revoked", "revoked", |t, _| Bad::honest(t, &revoked(&t.fresh))),

    // for other hosts
    ("an environment this host does not serve", "wrong_host", "staging", |t, _| { let draft = Draft::release("staging/evil", 1, &t.fresh); Bad::sealed(&draft.seal(Type::Release, &[&t.keys.tester]), &draft) }),
    ("a label this host does not carry", "wrong_host", "gpu=yes", |t, s| changed(t, s, |d| d.with("spec.placement.require", json!({ "gpu": "yes" })))),
    ("a label with another value", "wrong_host", "role=db", |t, s| changed(t, s, |d| d.with("spec.placement.require", json!({ "role": "db" })))),
    ("hosts by name", "wrong_host", "not among", |t, s| changed(t, s, |d| d.with("spec.placement.hosts", vec!["h2"]))),
    ("another platform", "wrong_host", "linux/arm64", |t, s| changed(t, s, |d| d.with("spec.image.platform", "linux/arm64"))),
];

#[test]
fn slot_with_a_bad_release_is_refused_alone() {
    let policy = "environments = [\"production\"]";
    let mut target = Target::start("rogue-releases", policy, |_, image, trust| {
        trust.floors.insert("production/patched".parse().unwrap(), Counter(5));
        trust.revoked.releases.insert(windlass_core::Digest::of(&revoked(image).payload()));
    });
    let wrong = run(&mut target, ROWS);
    conclude(ROWS.len(), &wrong);
    // One service, one row each: what two approvals are worth is asked here.
    let twice = &[(
        "one approver under two ids",
        UNSIGNED,
        "1 of the 2",
        (|target, _| {
            let draft = release(target, "production/vault");
            let sealed = draft.seal(Type::Release, &target.keys.people.each_ref());
            let one = bend(&sealed.envelope, |envelope| {
                envelope["signatures"][1]["sig"] = envelope["signatures"][0]["sig"].clone();
            });
            Bad::sealed(&sealed, &draft).answered(Some(one))
        }) as fn(&Target, &str) -> Bad,
    )];
    conclude(1, &run(&mut target, twice));
}
