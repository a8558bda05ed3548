//! The stored records and their versions: `{"v": 1, "record": {…}}`.
//!
//! Stored types are not wire types and not domain types: they may change at their own pace. Records of
//! domain types (services, slots, rollouts) wrap them, and get a type of their own in the version in which
//! the two part. A record of an older version is migrated when it is read, one of a newer version is refused.

mod event;
mod host;
mod operator;
mod plan;
mod recovery;
mod release;
mod routes;
mod token;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use event::EventRecord;
pub use host::{CertificateRecord, HostRecord, Membership};
pub use operator::{ClosedRecord, OperatorRecord, OperatorTokenRecord, RevokedBy};
pub use plan::PlanRecord;
pub use recovery::RecoveryRecord;
pub use release::ReleaseRecord;
pub use routes::RoutesRecord;
pub use token::TokenRecord;

/// The version that this code writes.
const VERSION: u32 = 2;

/// The reason for which bytes are no record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A later windlass-server wrote it.
    #[error("its version is {0}, this windlass-server reads up to {VERSION}")]
    Newer(u32),
    /// Not what was written.
    #[error("it cannot be decoded")]
    Malformed(#[source] serde_json::Error),
}

#[derive(Serialize)]
struct Written<'a, T> {
    v: u32,
    record: &'a T,
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

#[derive(Deserialize)]
struct Read<T> {
    record: T,
}

/// The bytes to store.
pub fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    serde_json::to_vec(&Written { v: VERSION, record })
        .expect("records have string keys and finite numbers, so they are JSON")
}

/// Reads what was stored, of this version or an older one.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, RecordError> {
    let Version { v } = serde_json::from_slice(bytes).map_err(RecordError::Malformed)?;
    if !(1..=VERSION).contains(&v) {
        return Err(RecordError::Newer(v));
    }
    // Version 1 had another form of slots alone, which their type reads by itself.
    let Read { record } = serde_json::from_slice(bytes).map_err(RecordError::Malformed)?;
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_version_is_refused_and_not_guessed() {
        let bytes = encode(&"text".to_owned());
        assert_eq!(bytes, br#"{"v":2,"record":"text"}"#);
        assert_eq!(decode::<String>(&bytes).unwrap(), "text");
        assert_eq!(decode::<String>(br#"{"v":1,"record":"text"}"#).unwrap(), "text");
        assert!(matches!(decode::<String>(br#"{"v":3,"record":"text"}"#), Err(RecordError::Newer(3))));
        assert!(matches!(decode::<u32>(&bytes), Err(RecordError::Malformed(_))));
        assert!(matches!(decode::<u32>(b""), Err(RecordError::Malformed(_))));
    }
}
