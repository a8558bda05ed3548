//! Every rule of the verification order, each with the attack or mistake that it stops.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use windlass_certs::trust::TrustStore;
use windlass_core::host::{HostFacts, HostPolicy, Users};
use windlass_core::plan::{Phase, Previous};
use windlass_core::reconcile::{Desired, InstanceMemory, LocalHost, SlotMemory};
use windlass_core::{Counter, SlotId};

use super::*;
use crate::fixture::{self, Fleet, counter};
use crate::policy::Mounts;

fn offer(fleet: &Fleet, bytes: &[u8], last: Option<Committed>) -> Result<VerifiedPlan, Refusal> {
    let trust = fleet.trust(&fleet.document());
    let (name, host) = (fixture::fleet(), fixture::host());
    plan(bytes, trust.document(), Me { fleet: &name, host: &host }, last, fleet.now)
}

/// Changes the JSON of an envelope.
fn edited(envelope: &[u8], edit: impl Fn(&mut serde_json::Value)) -> Vec<u8> {
    let mut value = serde_json::from_slice(envelope).unwrap();
    edit(&mut value);
    serde_json::to_vec(&value).unwrap()
}

/// Signs any bytes as a plan.
fn signed_payload(fleet: &Fleet, payload: &[u8]) -> Vec<u8> {
    Envelope::sign(PayloadType::Plan, payload.to_vec(), &[&fleet.keys.dispatch]).to_bytes()
}

#[test]
fn steps_1_to_9_refuse_a_plan() {
    use RefusalCode as C;
    let fleet = Fleet::new();
    let good = fleet.plan(7, &[Digest::of(b"r1")]);
    let json = serde_json::to_vec(&good).unwrap();
    let text = String::from_utf8(json.clone()).unwrap();
    let envelope = fleet.sign_plan(&good);
    let last = |seq, digest| Some(Committed { seq, digest });
    let same = Digest::of(&json);
    let other = Digest::of(b"other");
    let with = |edit: fn(&mut HostPlan)| {
        let mut plan = good.clone();
        edit(&mut plan);
        fleet.sign_plan(&plan)
    };
    let huge = vec![b'['; PayloadType::Plan.max_len() * 2];
    let signatures = |count: usize| {
        edited(&envelope, |value| {
            let one = value["signatures"][0].clone();
            value["signatures"] = vec![one; count].into();
        })
    };
    let bad_base64 = edited(&envelope, |value| {
        let payload = value["payload"].as_str().unwrap().trim_end_matches('=').to_owned() + "\n";
        value["payload"] = payload.into();
    });
    let flipped = edited(&envelope, |value| {
        let mut payload = STANDARD.decode(value["payload"].as_str().unwrap()).unwrap();
        let at = payload.iter().position(|b| *b == b'7').unwrap();
        payload[at] = b'8';
        value["payload"] = STANDARD.encode(payload).into();
    });
    let deep = format!("{}1{}", "[".repeat(40), "]".repeat(40));
    let deep = text.replacen("\"slots\":[", &format!("\"deep\":{deep},\"slots\":["), 1);
    let twice = text.replacen("\"seq\":7", "\"seq\":7,\"seq\":9", 1);
    let unknown = text.replacen("\"seq\":7", "\"seq\":7,\"also\":1", 1);
    let array = b"[1,\"demo\"]".to_vec();
    type Case = (&'static str, Vec<u8>, Option<Committed>, Option<RefusalCode>);
    #[rustfmt::skip]
    let table: [Case; 35] = [
        ("good", envelope.clone(), None, None),
        ("good and next", envelope.clone(), last(6, other), None),
        ("the same again", envelope.clone(), last(7, same), None),
        ("1 longer than any plan", huge, None, Some(C::TooLarge)),
        ("1 a payload longer than any plan", signed_payload(&fleet, &vec![b' '; PayloadType::Plan.max_len() + 1]), None, Some(C::TooLarge)),
        ("1 too many signatures", signatures(17), None, Some(C::TooLarge)),
        ("1 as many signatures as may be", signatures(16), None, None),
        ("3 no envelope", b"{}".to_vec(), None, Some(C::Malformed)),
        ("3 nothing", Vec::new(), None, Some(C::Malformed)),
        ("3 base64 in another spelling", bad_base64, None, Some(C::Malformed)),
        ("3 an unknown field outside", edited(&envelope, |v| v["also"] = 1.into()), None, Some(C::Malformed)),
        ("3 a release in its place", fleet.sign_release(&fixture::release(1)).1, None, Some(C::WrongType)),
        ("3 routes, by the same key", fleet.sign(PayloadType::Routes, &good, &[&fleet.keys.dispatch]), None, Some(C::WrongType)),
        ("3 a type that does not exist", edited(&envelope, |v| v["payloadType"] = "text/plain".into()), None, Some(C::WrongType)),
        ("3 the type in capitals", edited(&envelope, |v| v["payloadType"] = v["payloadType"].as_str().unwrap().to_uppercase().into()), None, Some(C::WrongType)),
        ("4 signed by a release key", fleet.sign(PayloadType::Plan, &good, &[&fleet.keys.release]), None, Some(C::UnknownKey)),
        ("4 signed by a stranger", fleet.sign(PayloadType::Plan, &good, &[&fleet.second]), None, Some(C::UnknownKey)),
        ("5 not signed", edited(&envelope, |v| v["signatures"] = serde_json::json!([])), None, Some(C::BelowThreshold)),
        ("5 changed after it was signed", flipped, None, Some(C::BadSignature)),
        ("5 a signature under another key's name", edited(&fleet.sign(PayloadType::Plan, &good, &[&fleet.second]), |v| v["signatures"][0]["keyid"] = fleet.keys.dispatch.id().as_str().into()), None, Some(C::BadSignature)),
        ("6 an unknown field inside", signed_payload(&fleet, unknown.as_bytes()), None, Some(C::Malformed)),
        ("6 a field twice", signed_payload(&fleet, twice.as_bytes()), None, Some(C::Malformed)),
        ("6 nested too deep", signed_payload(&fleet, deep.as_bytes()), None, Some(C::Malformed)),
        ("6 an array for an object", signed_payload(&fleet, &array), None, Some(C::Malformed)),
        ("6 bytes behind the end", signed_payload(&fleet, &[json.as_slice(), b"{}"].concat()), None, Some(C::Malformed)),
        ("6 another version", with(|p| p.version = 5), None, Some(C::Malformed)),
        ("6 a slot twice", with(|p| p.slots = vec![p.slots[0].clone(), p.slots[0].clone()]), None, Some(C::Malformed)),
        ("7 another fleet", with(|p| p.fleet = "other".parse().unwrap()), None, Some(C::WrongAudience)),
        ("7 another host", with(|p| p.host = "web-2".parse().unwrap()), None, Some(C::WrongAudience)),
        ("8 too late", with(|p| { p.issued_at = p.issued_at - Duration::from_secs(90_000); p.expires_at = p.issued_at + Duration::from_secs(60); }), None, Some(C::Expired)),
        ("8 from the future", with(|p| { p.issued_at = p.issued_at + Duration::from_secs(120); }), None, Some(C::NotYetValid)),
        ("9 another epoch", with(|p| p.epoch = 2), None, Some(C::WrongEpoch)),
        ("9 older", envelope.clone(), last(8, other), Some(C::Stale)),
        ("9 the same number, other content", envelope, last(7, other), Some(C::Equivocation)),
        // The first failure is the one that is named.
        ("all at once: the first", with(|p| { p.host = "web-2".parse().unwrap(); p.epoch = 9; p.expires_at = p.issued_at + Duration::from_secs(1); }), last(9, other), Some(C::WrongAudience)),
    ];
    for (case, bytes, last, want) in table {
        let got = offer(&fleet, &bytes, last);
        assert_eq!(got.as_ref().err().map(|refusal| refusal.code), want, "{case}: {got:?}");
    }
}

#[test]
fn two_signatures_of_one_person_are_one() {
    let fleet = Fleet::new();
    let mut document = fleet.document();
    document.roles.release[0].keys.push(fleet.second.public());
    document.roles.release[0].threshold = 2;
    let trust = fleet.trust(&document);
    let payload = fixture::release(1);
    let judge = |bytes: &[u8]| {
        let digest = fixture::digest_of(bytes);
        let judged = release(bytes, &digest, trust.document(), &fixture::fleet(), Acceptance::New, fleet.now);
        judged.map(|_| ()).map_err(|refusal| refusal.code)
    };
    let one = fleet.sign(PayloadType::Release, &payload, &[&fleet.keys.release]);
    assert_eq!(judge(&one), Err(RefusalCode::BelowThreshold));
    let doubled = edited(&one, |value| {
        let mut again = value["signatures"][0].clone();
        again["keyid"] = fleet.second.id().as_str().into();
        value["signatures"].as_array_mut().unwrap().push(again);
    });
    assert_eq!(judge(&doubled), Err(RefusalCode::BelowThreshold));
    let both = fleet.sign(PayloadType::Release, &payload, &[&fleet.keys.release, &fleet.second]);
    assert_eq!(judge(&both), Ok(()));
}

#[test]
fn retired_keys_count_for_accepted_documents_revoked_never() {
    let fleet = Fleet::new();
    let (digest, envelope) = fleet.sign_release(&fixture::release(1));
    let judge = |trust: &TrustStore, acceptance, now| {
        let judged = release(&envelope, &digest, trust.document(), &fixture::fleet(), acceptance, now);
        judged.map(|_| ()).map_err(|refusal| refusal.code)
    };
    let mut retired = fleet.document();
    retired.roles.release[0].retired = std::mem::take(&mut retired.roles.release[0].keys);
    retired.roles.release[0].keys = vec![fleet.second.public()];
    let mut revoked = retired.clone();
    revoked.revoked.keys.insert(fleet.keys.release.id().clone());
    let (retired, revoked) = (fleet.trust(&retired), fleet.trust(&revoked));
    assert_eq!(judge(&retired, Acceptance::New, fleet.now), Err(RefusalCode::UnknownKey));
    assert_eq!(judge(&retired, Acceptance::Accepted, fleet.now), Ok(()));
    assert_eq!(judge(&revoked, Acceptance::Accepted, fleet.now), Err(RefusalCode::UnknownKey));
    // An expired trust document stops what is new, and nothing else.
    let trust = fleet.trust(&fleet.document());
    let later = trust.document().expires_at;
    assert_eq!(judge(&trust, Acceptance::New, later), Err(RefusalCode::Expired));
    assert_eq!(judge(&trust, Acceptance::Accepted, later), Ok(()));
}

#[test]
fn a_release_is_the_one_that_was_named() {
    let fleet = Fleet::new();
    let trust = fleet.trust(&fleet.document());
    let (_, envelope) = fleet.sign_release(&fixture::release(1));
    let (other, _) = fleet.sign_release(&fixture::release(2));
    let judged = release(&envelope, &other, trust.document(), &fixture::fleet(), Acceptance::New, fleet.now);
    assert_eq!(judged.unwrap_err().code, RefusalCode::Malformed);
}

/// A host and its reaction to a plan of one slot.
struct World {
    fleet: Fleet,
    document: TrustDocument,
    facts: HostFacts,
    floors: BTreeMap<ServiceId, Counter>,
    made: BTreeMap<SlotId, SlotMemory>,
    mounts: Mounts,
    release: Release,
    plan: HostPlan,
    sign: fn(&Fleet, &Release) -> Vec<u8>,
}

impl World {
    fn new() -> Self {
        let fleet = Fleet::new();
        let policy =
            HostPolicy { registries: vec!["registry.example.com".to_owned()], ..HostPolicy::default() };
        let facts = HostFacts {
            labels: [("role".to_owned(), "app".to_owned())].into(),
            memory: 1 << 30,
            platform: crate::facts::platform().to_owned(),
            policy,
            ..HostFacts::default()
        };
        let (release, document) = (fixture::release(5), fleet.document());
        let plan = fleet.plan(1, &[Digest::of(b"filled in later")]);
        let sign = |fleet: &Fleet, release: &Release| fleet.sign_release(release).1;
        let mounts = Mounts { allowed: vec![], own: vec!["/srv/agent".to_owned()] };
        Self {
            fleet,
            document,
            facts,
            floors: BTreeMap::new(),
            made: BTreeMap::new(),
            mounts,
            release,
            plan,
            sign,
        }
    }

    fn desired(mut self) -> Desired {
        let trust = self.fleet.trust(&self.document);
        let envelope = (self.sign)(&self.fleet, &self.release);
        let digest = fixture::digest_of(&envelope);
        self.plan.slots[0].release = digest;
        let local = Arc::new(LocalHost {
            fleet: fixture::fleet(),
            host: fixture::host(),
            address: "127.0.0.1".to_owned(),
            policy: self.facts.policy.clone(),
        });
        let context = Context {
            local: &local,
            facts: &self.facts,
            mounts: &self.mounts,
            trust: trust.document(),
            floors: &self.floors,
            made: &self.made,
            now: self.fleet.now,
        };
        let judged = context.verify_new(&digest, &envelope).map(Arc::new);
        desired(&context, Arc::new(self.plan), &BTreeMap::from([(digest, judged)]))
    }
}

#[test]
fn steps_10_and_11_refuse_one_slot() {
    use RefusalCode as C;
    type Case = (&'static str, Option<(RefusalCode, &'static str)>, fn(&mut World));
    #[rustfmt::skip]
    let table: [Case; 22] = [
        ("may start", None, |_| {}),
        ("10 not signed by a release key", Some((C::UnsignedRelease, "unknown_key")), |w| w.sign = |f, r| f.sign(PayloadType::Release, r, &[&f.keys.dispatch])),
        ("10 not signed at all", Some((C::UnsignedRelease, "below_threshold")), |w| w.sign = |f, r| f.sign(PayloadType::Release, r, &[])),
        ("10 a plan in its place", Some((C::UnsignedRelease, "wrong_type")), |w| w.sign = |f, r| f.sign(PayloadType::Secret, r, &[&f.keys.release])),
        ("10 of another fleet", Some((C::UnsignedRelease, "wrong_audience")), |w| w.release.fleet = "other".parse().unwrap()),
        ("10 from the future", Some((C::UnsignedRelease, "not_yet_valid")), |w| w.release.created_at = w.fleet.now + Duration::from_secs(3600)),
        ("10 values without sense", Some((C::UnsignedRelease, "malformed")), |w| w.release.spec.resources.pids = 0),
        ("10 of another service", Some((C::UnsignedRelease, "slot")), |w| w.release.service = "api".parse().unwrap()),
        ("10 under an expired trust document", Some((C::UnsignedRelease, "expired")), |w| w.document.expires_at = w.fleet.now - Duration::from_secs(1)),
        ("10 below the floor of the trust document", Some((C::BelowFloor, "r5")), |w| { w.document.floors.insert("production/web".parse().unwrap(), counter(6)); }),
        ("10 below the floor of a good release", Some((C::BelowFloor, "r5")), |w| { w.floors.insert("production/web".parse().unwrap(), counter(6)); }),
        ("10 above the floor of another service", None, |w| { w.floors.insert("production/api".parse().unwrap(), counter(6)); }),
        ("10 revoked", Some((C::Revoked, "r5")), |w| { let digest = w.fleet.sign_release(&w.release).0; w.document.revoked.releases.insert(digest); }),
        ("10 labels do not match", Some((C::WrongHost, "role")), |w| w.facts.labels.clear()),
        ("10 environment is not served", Some((C::WrongHost, "production")), |w| w.facts.policy.environments = Some(["test".parse().unwrap()].into())),
        ("11 registry", Some((C::Policy, "registries")), |w| w.facts.policy.registries = vec!["registry.example.com/teammate".into()]),
        ("11 user", Some((C::Policy, "users")), |w| w.facts.policy.users = Users::NonRoot),
        ("11 capability", Some((C::Policy, "capabilities")), |w| w.release.spec.security.capabilities = vec!["SYS_ADMIN".into()]),
        ("11 mount", Some((C::Policy, "mounts")), |w| { w.release.spec.volumes.insert("a".into(), windlass_core::release::Volume { mount: "/a".into(), host_path: Some("/srv/agent/releases".into()), read_only: true, shared: false }); w.facts.policy.mounts = vec!["/srv".into()]; w.mounts.allowed = vec!["/srv".into()]; }),
        ("11 more devices than policy allows, though the release asks for none", Some((C::Policy, "gpus")), |w| { w.facts.policy.gpus = Some(1); w.plan.slots[0].gpus = vec!["GPU-1".into(), "GPU-2".into()]; }),
        ("11 as many devices as policy allows", None, |w| { w.facts.policy.gpus = Some(1); w.plan.slots[0].gpus = vec!["GPU-1".into()]; }),
        ("a slot that is to be absent needs no release", None, |w| { w.plan.slots[0].phase = Phase::Absent; w.release.fleet = "other".parse().unwrap(); }),
    ];
    for (case, want, change) in table {
        let mut world = World::new();
        change(&mut world);
        let desired = world.desired();
        let refused = desired.refusals.get(&"production/web/0".parse::<SlotId>().unwrap());
        assert_eq!(refused.map(|refusal| refusal.code), want.map(|(code, _)| code), "{case}: {refused:?}");
        if let (Some(refused), Some((_, detail))) = (refused, want) {
            assert!(refused.detail.contains(detail), "{case}: {refused}");
            let gpus = &desired.plan.as_ref().unwrap().slots[0].gpus;
            assert!(desired.releases.is_empty() || gpus.len() == 1, "{case}: it may not start from anywhere");
        }
    }
}

/// Folders are looked at before every start, also of a container made here: one that is put right then counts at once.
#[test]
fn folders_are_looked_at_before_an_instance_was_made() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let at = |name: &str| root.join(name).to_str().unwrap().to_owned();
    std::fs::create_dir_all(root.join("srv/here")).unwrap();
    std::os::unix::fs::symlink("/etc", root.join("srv/link")).unwrap();
    let table = [
        ("srv/here", None, None),
        ("srv/link", None, Some("leads elsewhere")),
        ("srv/gone", None, Some("does not exist")),
        ("srv/link", Some("production.web.0.r4.5"), Some("leads elsewhere")),
        ("srv/link", Some("production.web.0.r55.5"), Some("leads elsewhere")),
        ("srv/here", Some("production.web.0.r5.2"), None),
        ("srv/link", Some("production.web.0.r5.2"), None),
        ("srv/gone", Some("production.web.0.r5.2"), None),
        ("srv/own/x", None, Some("may never be bound")),
        ("srv/own/x", Some("production.web.0.r5.2"), Some("may never be bound")),
    ];
    for (path, made, want) in table {
        let mut world = World::new();
        let host_path = Some(at(path));
        let volume = windlass_core::release::Volume {
            mount: "/a".to_owned(),
            host_path,
            read_only: true,
            shared: false,
        };
        world.release.spec.volumes.insert("a".to_owned(), volume);
        world.facts.policy.mounts = vec![at("srv")];
        world.mounts = Mounts { allowed: vec![at("srv")], own: vec![at("srv/own")] };
        if let Some(instance) = made {
            let known = world.made.entry("production/web/0".parse().unwrap()).or_default();
            known.instances.insert(instance.to_owned(), InstanceMemory::default());
        }
        let desired = world.desired();
        let refused = desired.refusals.values().next().map(|refusal| refusal.detail.clone());
        assert_eq!(refused.is_some(), want.is_some(), "{path} {made:?}: {refused:?}");
        assert!(refused.unwrap_or_default().contains(want.unwrap_or_default()), "{path} {made:?}");
    }
}

#[test]
fn a_fallback_that_may_not_run_is_none_and_refuses_nothing() {
    let mut world = World::new();
    let gone = Digest::of(b"a fallback that nobody has");
    world.plan.slots[0].fallback = Some(gone);
    world.plan.slots[0].previous = Some(Previous { release: gone, phase: Phase::Standby });
    let desired = world.desired();
    assert!(desired.refusals.is_empty());
    assert_eq!(desired.releases.len(), 1);
}

/// A coordinator that cannot sign a release of `web` could else start `api`, signed by others, with web's volumes.
#[test]
fn release_of_another_service_is_no_fallback_or_predecessor() {
    let (web, mut plan) = (World::new(), World::new().plan);
    let (mut api, fleet) = (web.release.clone(), &web.fleet);
    api.service = "api".parse().unwrap();
    let (own, foreign) = (fleet.sign_release(&web.release), fleet.sign_release(&api));
    plan = HostPlan { slots: fleet.plan(1, &[own.0]).slots, ..plan };
    let mut beside = plan.slots[0].clone();
    (beside.slot, beside.release) = ("production/api/0".parse().unwrap(), foreign.0);
    let local = Arc::new(LocalHost {
        fleet: fixture::fleet(),
        host: fixture::host(),
        address: "127.0.0.1".to_owned(),
        policy: web.facts.policy.clone(),
    });
    let trust = fleet.trust(&web.document);
    let context = Context {
        local: &local,
        facts: &web.facts,
        mounts: &web.mounts,
        trust: trust.document(),
        floors: &web.floors,
        made: &web.made,
        now: fleet.now,
    };
    let found: BTreeMap<_, _> = [&own, &foreign]
        .map(|(digest, envelope)| (*digest, context.verify_new(digest, envelope).map(Arc::new)))
        .into();
    for as_fallback in [true, false] {
        let mut slot = plan.slots[0].clone();
        if as_fallback {
            slot.fallback = Some(foreign.0);
        } else {
            slot.previous = Some(Previous { release: foreign.0, phase: Phase::Running });
        }
        let lie = HostPlan { slots: vec![beside.clone(), slot], ..plan.clone() };
        let desired = desired(&context, Arc::new(lie), &found);
        let web_slot = &desired.plan.as_ref().unwrap().slots[1];
        assert_eq!((web_slot.fallback, web_slot.previous.as_ref()), (None, None));
        let refused = desired.refusals.get(&web_slot.slot).map(|refusal| refusal.code);
        assert_eq!(refused, Some(RefusalCode::UnsignedRelease));
        assert_eq!(desired.refusals.len(), 1, "the other service's own slot is as it should be");
    }
}

#[test]
fn steps_1_to_9_refuse_a_traffic_table() {
    use RefusalCode as C;
    let fleet = Fleet::new();
    let mut document = fleet.document();
    document.hosts.insert("production".parse().unwrap(), vec!["*.example.com".to_owned()]);
    let trust = fleet.trust(&document);
    let named = |host: &str| {
        let text = format!(
            r#"{{"service":"web","ports":{{"http":{{"container":80}}}},"releases":[],"endpoints":[],"drain":"30s",
            "salt":"{host}"}}"#
        );
        let mut routes = fleet.routes(7);
        routes.services = vec![serde_json::from_str(&text).unwrap()];
        let name = format!(r#"{{"host":"{host}","path":"/","service":"web","port":"http"}}"#);
        routes.names = vec![serde_json::from_str(&name).unwrap()];
        routes
    };
    let sound = named("shop.example.com");
    let taken = fleet.sign_routes(&sound);
    let last = routes(&taken, trust.document(), &fixture::fleet(), |_| None, fleet.now).unwrap().accepted();
    let payload = Envelope::parse(&taken, PayloadType::Routes.max_len()).unwrap().payload_bytes().to_vec();
    let but = |change: fn(&mut Routes)| {
        let mut routes = sound.clone();
        change(&mut routes);
        fleet.sign_routes(&routes)
    };
    let early = fleet.now - rules::SKEW - Duration::from_millis(1);
    let big =
        Envelope::sign(PayloadType::Routes, vec![b' '; (4 << 20) + 1], &[&fleet.keys.dispatch]).to_bytes();
    type Case = (&'static str, Vec<u8>, Timestamp, Result<PlanOrder, RefusalCode>);
    #[rustfmt::skip]
    let table: Vec<Case> = vec![
        ("the same again", taken, fleet.now, Ok(PlanOrder::Same)),
        ("the next", but(|r| r.seq = 8), fleet.now, Ok(PlanOrder::Newer)),
        ("1: too large", big, fleet.now, Err(C::TooLarge)),
        ("3: nonsense", b"{}".to_vec(), fleet.now, Err(C::Malformed)),
        ("3: a plan", fleet.sign_plan(&fleet.plan(9, &[])), fleet.now, Err(C::WrongType)),
        ("4: of the release key", fleet.sign(PayloadType::Routes, &sound, &[&fleet.keys.release]), fleet.now, Err(C::UnknownKey)),
        ("4: of a stranger's key", fleet.sign(PayloadType::Routes, &sound, &[&fleet.second]), fleet.now, Err(C::UnknownKey)),
        ("5: changed on the way", edited(&but(|r| r.seq = 8), |v| v["payload"] = STANDARD.encode(&payload).into()), fleet.now, Err(C::BadSignature)),
        ("6: another format", fleet.sign(PayloadType::Routes, &serde_json::json!({"a": 1}), &[&fleet.keys.dispatch]), fleet.now, Err(C::Malformed)),
        ("6: a name that leads nowhere", but(|r| r.services.clear()), fleet.now, Err(C::Malformed)),
        ("7: another fleet", but(|r| r.fleet = "other".parse().unwrap()), fleet.now, Err(C::WrongAudience)),
        ("7: a name of somebody else", fleet.sign_routes(&named("shop.example.org")), fleet.now, Err(C::Policy)),
        ("8: from the future", but(|r| r.seq = 8), early, Err(C::NotYetValid)),
        ("9: another epoch", but(|r| (r.epoch, r.seq) = (2, 8)), fleet.now, Err(C::WrongEpoch)),
        ("9: an older one", but(|r| r.seq = 6), fleet.now, Err(C::Stale)),
        ("9: two with one number", but(|r| r.names.clear()), fleet.now, Err(C::Equivocation)),
    ];
    for (case, bytes, now, want) in table {
        let got = routes(&bytes, trust.document(), &fixture::fleet(), |_| Some(last), now);
        assert_eq!(got.map(|v| v.order).map_err(|refusal| refusal.code), want, "{case}");
    }
}

#[test]
fn checkpoints_only_rise() {
    let fleet = Fleet::new();
    let trust = fleet.trust(&fleet.document());
    let head = |n: u8| Digest::of(&[n]);
    let take = |bytes: &[u8], kept: Option<&Checkpoint>, now| {
        checkpoint(bytes, trust.document(), &fixture::fleet(), kept, now)
            .map(|c| c.size)
            .map_err(|refusal| refusal.code)
    };
    let kept =
        Checkpoint { version: 1, fleet: fixture::fleet(), size: 5, head: head(5), segment: 0, at: fleet.now };
    let (now, kept) = (fleet.now, Some(&kept));
    assert_eq!(take(&fleet.sign_checkpoint(5, head(5)), None, now), Ok(5));
    assert_eq!(take(&fleet.sign_checkpoint(6, head(6)), kept, now), Ok(6));
    assert_eq!(take(&fleet.sign_checkpoint(5, head(5)), kept, now), Ok(5));
    assert_eq!(take(&fleet.sign_checkpoint(5, head(6)), kept, now), Err(RefusalCode::Equivocation));
    assert_eq!(take(&fleet.sign_checkpoint(4, head(4)), kept, now), Err(RefusalCode::Stale));
    let early = now - Duration::from_secs(3600);
    assert_eq!(take(&fleet.sign_checkpoint(6, head(6)), kept, early), Err(RefusalCode::NotYetValid));
    let (last, tick) = (now - rules::SKEW, Duration::from_millis(1));
    assert_eq!(take(&fleet.sign_checkpoint(6, head(6)), kept, last), Ok(6), "a clock may be a minute late");
    assert_eq!(take(&fleet.sign_checkpoint(6, head(6)), kept, last - tick), Err(RefusalCode::NotYetValid));
    // A restored backup begins a segment, which may be shorter; and the segments before it do not come back.
    let begun = Checkpoint { size: 2, segment: 70, ..kept.unwrap().clone() };
    let shorter = fleet.sign(PayloadType::Audit, &begun, &[&fleet.keys.audit]);
    assert_eq!(take(&shorter, kept, now), Ok(2));
    assert_eq!(take(&fleet.sign_checkpoint(6, head(6)), Some(&begun), now), Err(RefusalCode::Stale));
    let mine = fleet.sign(PayloadType::Audit, &kept.unwrap(), &[&fleet.keys.dispatch]);
    assert_eq!(take(&mine, kept, now), Err(RefusalCode::UnknownKey));
}

/// Making keys takes longer than the tests do.
static FLEET: LazyLock<Fleet> = LazyLock::new(Fleet::new);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))] // each case signs and verifies a dozen documents

    /// Bytes of a stranger never panic and are never believed.
    #[test]
    fn arbitrary_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..600), json in "\\PC{0,200}") {
        let fleet = &*FLEET;
        let trust = fleet.trust(&fleet.document());
        for bytes in [bytes.as_slice(), json.as_bytes()] {
            prop_assert!(offer(fleet, bytes, None).is_err());
            let named = Digest::of(bytes);
            let (name, now) = (fixture::fleet(), fleet.now);
            prop_assert!(release(bytes, &named, trust.document(), &name, Acceptance::New, now).is_err());
            prop_assert!(checkpoint(bytes, trust.document(), &name, None, now).is_err());
            // Even when the right key has signed nonsense.
            prop_assert!(offer(fleet, &signed_payload(fleet, bytes), None).is_err());
            let signed = Envelope::sign(PayloadType::Release, bytes.to_vec(), &[&fleet.keys.release]).to_bytes();
            prop_assert!(release(&signed, &named, trust.document(), &name, Acceptance::New, now).is_err());
        }
    }

    /// No single changed byte of a signed plan is ever accepted as something else.
    #[test]
    fn a_changed_byte_is_seen(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let fleet = &*FLEET;
        let good = fleet.sign_plan(&fleet.plan(7, &[Digest::of(b"r1")]));
        let mut bad = good.clone();
        bad[at.index(good.len())] ^= 1 << bit;
        // Only the key id is a hint, and names of fields in other spellings do not exist.
        if let Ok(verified) = offer(fleet, &bad, None) {
            prop_assert_eq!(verified.plan, fleet.plan(7, &[Digest::of(b"r1")]));
        }
    }
}
