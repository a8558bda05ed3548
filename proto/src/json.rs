//! JSON inside protobuf: bounded on the way in, infallible on the way out.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits::MAX_MESSAGE;

/// A field that should hold JSON does not.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// Too long to look at.
    #[error("field `{field}` has {length} bytes, more than {MAX_MESSAGE}")]
    TooLarge {
        /// Which field.
        field: &'static str,
        /// Its length.
        length: usize,
    },
    /// Not what was expected there.
    #[error("field `{field}` does not hold what it should")]
    Malformed {
        /// Which field.
        field: &'static str,
        /// The place and the reason.
        #[source]
        source: serde_json::Error,
    },
}

/// Reads the JSON in `bytes`, the content of `field`. Unknown fields are skipped (a newer peer may
/// send them); nesting is bounded by `serde_json` (128).
pub fn decode<T: DeserializeOwned>(field: &'static str, bytes: &[u8]) -> Result<T, JsonError> {
    if bytes.len() > MAX_MESSAGE {
        return Err(JsonError::TooLarge { field, length: bytes.len() });
    }
    serde_json::from_slice(bytes).map_err(|source| JsonError::Malformed { field, source })
}

/// Writes `value` as JSON.
pub fn encode<T: Serialize>(value: &T) -> Bytes {
    serde_json::to_vec(value).expect("domain types have string keys and finite numbers").into()
}

impl From<JsonError> for tonic::Status {
    fn from(error: JsonError) -> Self {
        match &error {
            JsonError::TooLarge { .. } => Self::resource_exhausted(error.to_string()),
            JsonError::Malformed { source, .. } => Self::invalid_argument(format!("{error}: {source}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_field_and_the_place() {
        let error = decode::<Vec<u32>>("facts", b"[1, x]").unwrap_err();
        let status = tonic::Status::from(error);
        assert!(status.message().starts_with("field `facts` does not hold what it should: expected value"));
    }
}
