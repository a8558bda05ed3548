//! A release as it was signed.

use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_certs::json::decode_bounded;
use windlass_core::ServiceId;
use windlass_core::release::Release;
use windlass_core::service::ReleaseRef;

use crate::store::record::ReleaseRecord;

/// A release beside its decoded form.
#[derive(Debug, Clone)]
pub(crate) struct ReleaseEntry {
    /// Its names.
    pub name: ReleaseRef,
    /// Its service.
    pub service: ServiceId,
    /// Its envelope.
    pub envelope: Vec<u8>,
}

impl ReleaseEntry {
    /// Decodes a release whose signatures were checked before it was stored; its digest is checked again.
    pub(super) fn open(record: ReleaseRecord) -> Option<(Self, Release)> {
        let max = PayloadType::Release.max_len();
        let envelope = Envelope::parse(record.envelope.as_bytes(), max).ok()?;
        if envelope.digest() != record.digest {
            return None;
        }
        let release: Release = decode_bounded(envelope.payload_bytes(), max).ok()?;
        let entry = Self {
            name: ReleaseRef::of(&release, record.digest),
            service: record.service,
            envelope: record.envelope.into_bytes(),
        };
        Some((entry, release))
    }
}
