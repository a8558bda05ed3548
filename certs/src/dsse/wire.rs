//! The JSON form of an envelope, read strictly: one spelling per envelope's fields, everything bounded.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::{Envelope, MAX_SIGNATURES, PayloadType, Signature, VerifyError};
use crate::json;

/// Bytes of an envelope around its payload: field names, white space, 16 signatures.
const OVERHEAD: usize = 32 * 1024;
/// A key id of ours has 64 characters; others put paths or URLs there.
const MAX_KEYID: usize = 512;
/// An Ed25519 signature has 88 characters of base64; other algorithms' may stand beside ours.
const MAX_SIGNATURE: usize = 2048;

impl Envelope {
    /// Parses an envelope whose payload has at most `max_len` bytes.
    ///
    /// Refuses unknown, missing and duplicate fields, base64 that is not canonical, a payload type that is not
    /// ours, and more than 16 signatures. Nothing is verified yet.
    pub fn parse(bytes: &[u8], max_len: usize) -> Result<Self, VerifyError> {
        // Base64 is 4/3 of its payload; refused by length alone, before anything is decoded or allocated.
        let limit = max_len.saturating_mul(4) / 3 + OVERHEAD;
        if bytes.len() > limit {
            return Err(VerifyError::TooLarge { len: bytes.len(), limit });
        }
        let mut fields: Map<String, Value> = json::decode_strict(bytes, 4)
            .map_err(|error| VerifyError::Malformed { what: "the envelope", source: Some(error) })?;
        let kind = text(&mut fields, "payloadType", 256)?;
        let encoded = text(&mut fields, "payload", usize::MAX)?;
        let signatures = match fields.remove("signatures") {
            Some(Value::Array(list)) => list,
            _ => return Err(malformed("`signatures`")),
        };
        if !fields.is_empty() {
            return Err(malformed("an unknown field of the envelope"));
        }
        if signatures.len() > MAX_SIGNATURES {
            return Err(VerifyError::TooLarge { len: signatures.len(), limit: MAX_SIGNATURES });
        }
        let signatures = signatures.into_iter().map(signature).collect::<Result<_, _>>()?;
        let payload = STANDARD.decode(encoded).map_err(|_| malformed("the base64 of `payload`"))?;
        if payload.len() > max_len {
            return Err(VerifyError::TooLarge { len: payload.len(), limit: max_len });
        }
        let kind =
            PayloadType::from_media_type(&kind).ok_or(VerifyError::WrongType { got: kind, want: None })?;
        Ok(Self { kind, payload, signatures })
    }

    /// The envelope as compact JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        let signatures: Vec<Value> = self
            .signatures
            .iter()
            .map(|signature| {
                let mut fields = Map::new();
                if let Some(keyid) = &signature.keyid {
                    fields.insert("keyid".to_owned(), Value::String(keyid.clone()));
                }
                fields.insert("sig".to_owned(), Value::String(STANDARD.encode(&signature.bytes)));
                Value::Object(fields)
            })
            .collect();
        serde_json::json!({
            "payloadType": self.kind.as_str(),
            "payload": STANDARD.encode(&self.payload),
            "signatures": signatures,
        })
        .to_string()
        .into_bytes()
    }
}

fn signature(value: Value) -> Result<Signature, VerifyError> {
    let Value::Object(mut fields) = value else { return Err(malformed("a signature")) };
    let bytes = STANDARD
        .decode(text(&mut fields, "sig", MAX_SIGNATURE)?)
        .map_err(|_| malformed("the base64 of `sig`"))?;
    // Optional in DSSE, and some writers put an empty one.
    let keyid = match fields.remove("keyid") {
        None => None,
        Some(Value::String(keyid)) if keyid.len() <= MAX_KEYID => Some(keyid).filter(|id| !id.is_empty()),
        Some(_) => return Err(malformed("`keyid`")),
    };
    if fields.is_empty() {
        Ok(Signature { keyid, bytes })
    } else {
        Err(malformed("an unknown field of a signature"))
    }
}

fn text(fields: &mut Map<String, Value>, name: &'static str, max: usize) -> Result<String, VerifyError> {
    match fields.remove(name) {
        Some(Value::String(text)) if text.len() <= max => Ok(text),
        _ => Err(VerifyError::Malformed { what: name, source: None }),
    }
}

const fn malformed(what: &'static str) -> VerifyError {
    VerifyError::Malformed { what, source: None }
}
