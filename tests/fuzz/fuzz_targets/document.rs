//! Payloads of every kind, strictly decoded and checked; what decodes is written and decoded to the same again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;
use windlass_certs::dsse::PayloadType;
use windlass_certs::json::decode_bounded;
use windlass_certs::revocation::RevocationList;
use windlass_certs::trust::TrustDocument;
use windlass_core::audit::Checkpoint;
use windlass_core::plan::HostPlan;
use windlass_core::receipt::Receipt;
use windlass_core::release::Release;
use windlass_core::verify::{check_plan, check_release};

fn read<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(
    data: &[u8],
    kind: PayloadType,
) -> Option<T> {
    let value: T = decode_bounded(data, kind.max_len()).ok()?;
    let bytes = serde_json::to_vec(&value).expect("documents are JSON");
    let again: T = decode_bounded(&bytes, usize::MAX).expect("we read what we write");
    assert_eq!(value, again);
    Some(value)
}

fuzz_target!(|data: &[u8]| {
    if let Some(plan) = read::<HostPlan>(data, PayloadType::Plan) {
        let _ = check_plan(&plan);
    }
    if let Some(release) = read::<Release>(data, PayloadType::Release) {
        let _ = check_release(&release);
        let mut renamed = release.clone();
        renamed.author.push('x');
        assert_eq!(release.content_digest(), renamed.content_digest(), "the author is no content");
    }
    if let Some(trust) = read::<TrustDocument>(data, PayloadType::Trust) {
        let _ = trust.validate();
    }
    read::<Receipt>(data, PayloadType::Receipt);
    read::<Checkpoint>(data, PayloadType::Audit);
    read::<RevocationList>(data, PayloadType::Revocation);
});
