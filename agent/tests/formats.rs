//! `docs/formats.md` says what is true: its examples are documents, and every field of a document is in it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use windlass_certs::dsse::{Envelope, KeySet, PayloadType};
use windlass_certs::join::JoinToken;
use windlass_certs::json;
use windlass_certs::keys::{PublicKey, SigningKey};
use windlass_certs::revocation::RevocationList;
use windlass_certs::trust::TrustDocument;
use windlass_core::Digest;
use windlass_core::audit::{Checkpoint, Entry};
use windlass_core::observation::RefusalCode;
use windlass_core::plan::HostPlan;
use windlass_core::receipt::Receipt;
use windlass_core::release::Release;
use windlass_core::traffic::{IngressReport, Routes};
use windlass_core::verify::{check_plan, check_release};

const TEXT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/formats.md"));

/// The code block with this tag.
fn block(tag: &str) -> &'static str {
    let (_, rest) = TEXT.split_once(&format!("```{tag}\n")).unwrap_or_else(|| panic!("no block `{tag}`"));
    rest.split_once("\n```").unwrap().0
}

fn example<T: DeserializeOwned + Serialize>(tag: &str) -> T {
    let text = block(&format!("json {tag}"));
    let value: T = json::decode_strict(text.as_bytes(), json::MAX_DEPTH)
        .unwrap_or_else(|error| panic!("{tag}: {error:?}"));
    let written: Value = serde_json::to_value(&value).unwrap();
    assert_eq!(written, serde_json::from_str::<Value>(text).unwrap(), "{tag} is written otherwise");
    value
}

/// Signs the example, sends it through an envelope and reads it back.
fn signed_and_verified<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(
    kind: PayloadType,
    tag: &str,
) -> T {
    let value: T = example(tag);
    let key = SigningKey::generate().unwrap();
    let payload = serde_json::to_vec(&value).unwrap();
    let bytes = Envelope::sign(kind, payload, &[&key]).to_bytes();
    let envelope = Envelope::parse(&bytes, kind.max_len()).unwrap();
    let read: T = envelope.verify(kind, &KeySet::new([key.public()], 1)).unwrap().decode().unwrap();
    assert_eq!(read, value, "{tag}");
    read
}

/// Names of all fields, of maps with free keys too: whoever reads an example should find each word explained.
fn fields(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                found.insert(key.clone());
                fields(value, found);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| fields(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_payload_is_signed_and_verified() {
    signed_and_verified::<TrustDocument>(PayloadType::Trust, "trust").validate().unwrap();
    for tag in ["release-3", "release-4", "release-5", "release-6"] {
        check_release(&signed_and_verified(PayloadType::Release, tag)).unwrap();
    }
    check_plan(&signed_and_verified(PayloadType::Plan, "plan-3")).unwrap();
    check_plan(&signed_and_verified(PayloadType::Plan, "plan-4")).unwrap();
    let release: Release = signed_and_verified(PayloadType::Release, "release");
    check_release(&release).unwrap();
    let plan: HostPlan = signed_and_verified(PayloadType::Plan, "plan");
    check_plan(&plan).unwrap();
    let receipt: Receipt = signed_and_verified(PayloadType::Receipt, "receipt");
    let checkpoint: Checkpoint = signed_and_verified(PayloadType::Audit, "audit");
    let entry: Entry = example("entry");
    // They belong together.
    let digest = |value: &dyn Fn() -> Vec<u8>| Digest::of(&value());
    assert_eq!(plan.slots[0].release, digest(&|| serde_json::to_vec(&release).unwrap()));
    assert_eq!(receipt.plan, digest(&|| serde_json::to_vec(&plan).unwrap()));
    assert_eq!(
        receipt.checkpoint.map(|seen| (seen.size, seen.head)),
        Some((checkpoint.size, checkpoint.head))
    );
    assert_eq!(entry.n + 1, checkpoint.size);
    signed_and_verified::<Routes>(PayloadType::Routes, "routes").check().unwrap();
    let list: RevocationList = signed_and_verified(PayloadType::Revocation, "revocation");
    assert_eq!(list.revoked.identities.values().copied().max(), Some(u64::MAX));
}

#[test]
fn the_envelope_made_by_openssl_verifies() {
    let key: PublicKey = serde_json::from_str(block("json key")).unwrap();
    assert_eq!(PublicKey::from_pem(block("pem")).unwrap(), key);
    let envelope = Envelope::parse(block("json envelope").as_bytes(), PayloadType::Audit.max_len()).unwrap();
    let verified = envelope.verify(PayloadType::Audit, &KeySet::new([key], 1)).unwrap();
    assert_eq!(verified.decode::<Checkpoint>().unwrap(), example::<Checkpoint>("audit"));
}

#[test]
fn the_token_is_one() {
    let token = JoinToken::parse(block("token")).unwrap();
    assert_eq!((token.fleet().as_str(), token.host().as_str()), ("demo", "web-1"));
    assert_eq!(token.ca_pin(), Digest::of(b"ca"));
}

/// Every optional field is in an example, or the example would not show it; and every field is explained.
#[test]
fn every_field_is_there_and_explained() {
    // Places where any name may stand: labels, ports, variables, paths, volumes, services, environments.
    let free = [
        "role",
        "http",
        "metrics",
        "NODE_ENV",
        "/app/config.json",
        "/database",
        "/gpu",
        "Host",
        "X-Fleet",
        "card-memory",
        "cards",
        "content-type",
        "x-purpose",
        "data",
        "shared",
        "production",
        "production/web",
        "spiffe://demo/coordinator/old",
        "errors",
        "exits",
        "latency",
        "memory-use",
        "orders",
        "processor-use",
        "quality",
        "nofile",
    ];
    let mut found = BTreeSet::new();
    for tag in [
        "key",
        "envelope",
        "trust",
        "release",
        "release-3",
        "release-4",
        "release-5",
        "release-6",
        "plan",
        "plan-3",
        "plan-4",
        "receipt",
        "entry",
        "audit",
        "revocation",
        "routes",
    ] {
        fields(&serde_json::from_str(block(&format!("json {tag}"))).unwrap(), &mut found);
    }
    let prose: String = TEXT.split("```").step_by(2).collect();
    for field in found.iter().filter(|field| !free.contains(&field.as_str())) {
        let begins = ["`", ".", "\""].map(|mark| format!("{mark}{field}"));
        let ends = ["`", "\"", ".", "["];
        let is_explained =
            begins.iter().any(|begin| ends.iter().any(|end| prose.contains(&format!("{begin}{end}"))));
        assert!(is_explained, "`{field}` is not explained");
    }
    let schema = schemars_fields();
    for field in schema.difference(&found) {
        let elsewhere = ["revoke", "recreate", "per_host", "segment"].contains(&field.as_str());
        assert!(elsewhere, "no example shows `{field}`");
    }
}

/// Names of the properties of a schema.
fn names(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            if let Some(Value::Object(properties)) = map.get("properties") {
                found.extend(properties.keys().cloned());
            }
            map.values().for_each(|value| names(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| names(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Names of the fields of the payload types, as their schemas know them.
fn schemars_fields() -> BTreeSet<String> {
    let schemas = [
        schemars::schema_for!(Release),
        schemars::schema_for!(HostPlan),
        schemars::schema_for!(Receipt),
        schemars::schema_for!(Checkpoint),
        schemars::schema_for!(Entry),
        schemars::schema_for!(Routes),
    ];
    let mut found = BTreeSet::new();
    schemas.iter().for_each(|schema| names(schema.as_value(), &mut found));
    found
}

#[test]
fn every_refusal_is_named() {
    use RefusalCode as C;
    for code in [
        C::TooLarge,
        C::WrongPeer,
        C::Malformed,
        C::WrongType,
        C::UnknownKey,
        C::BadSignature,
        C::BelowThreshold,
        C::WrongAudience,
        C::Expired,
        C::NotYetValid,
        C::Stale,
        C::Equivocation,
        C::WrongEpoch,
        C::UnsignedRelease,
        C::BelowFloor,
        C::Revoked,
        C::Quarantined,
        C::WrongHost,
        C::Policy,
        C::NoRoom,
        C::WrongImage,
    ] {
        assert!(TEXT.contains(&format!("`{}`", code.as_str())), "{}", code.as_str());
    }
}

/// Every field of a report stands in the section about it.
#[test]
fn every_field_of_a_report_is_explained() {
    let (_, section) = TEXT.split_once("A **report** goes").unwrap();
    let mut found = BTreeSet::new();
    let schema = schemars::schema_for!(IngressReport);
    names(schema.as_value(), &mut found);
    // `informational` to `server_error`.
    let between = ["success", "redirection", "client_error", "name"];
    for field in found.iter().filter(|field| !between.contains(&field.as_str())) {
        assert!(section.contains(&format!("`{field}`")), "`{field}` is not explained");
    }
    assert!(found.contains("cut_services") && found.contains("to_head"));
}

/// The table of versions has a row for the newest one of each document that grows.
#[test]
fn the_newest_version_of_each_document_has_a_row() {
    let (_, section) = TEXT.split_once("## 15. Versions").unwrap();
    let newest = |document: &str| {
        let mut of = "";
        let rows = section.lines().filter(|line| line.starts_with('|')).filter_map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            of = if cells[1].is_empty() { of } else { cells[1] };
            (of == document).then(|| cells[2].rsplit(' ').next()?.parse::<u32>().ok())?
        });
        rows.max()
    };
    assert_eq!(newest("release"), Some(windlass_core::release::RELEASE_VERSION));
    assert_eq!(newest("plan"), Some(windlass_core::plan::PLAN_VERSION));
    assert_eq!(newest("traffic table"), Some(windlass_core::traffic::ROUTES_VERSION));
}
