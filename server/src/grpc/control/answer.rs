//! The bound of one answer. A client takes no larger one, so a list that has grown beyond it is refused with
//! what to ask for instead, rather than sent and thrown away.

use bytes::Bytes;
use serde::Serialize;
use tonic::{Code, Status};
use windlass_proto::json::encode;
use windlass_proto::limits::MAX_MESSAGE;

use crate::grpc::status::{Refusal, refused};

/// Bytes of a message beside its view.
const FRAME: usize = 64;

/// A view that is too long.
#[derive(Debug, thiserror::Error)]
#[error("the answer has {len} bytes, and a message takes {MAX_MESSAGE}")]
struct TooLong {
    len: usize,
    instead: &'static str,
}

impl Refusal for TooLong {
    fn code(&self) -> Code {
        Code::ResourceExhausted
    }
    fn hint(&self) -> Option<String> {
        Some(self.instead.to_owned())
    }
}

/// The view as it is sent; refused with `instead` for a hint if it fits into no message.
pub(super) fn whole<T: Serialize>(view: &T, instead: &'static str) -> Result<Bytes, Status> {
    let view = encode(view);
    match view.len() {
        len if len > MAX_MESSAGE - FRAME => Err(refused(TooLong { len, instead })),
        _ => Ok(view),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::status::HINT;

    #[test]
    fn too_large_answer_is_refused_with_a_smaller_request() {
        // Two quotes beside the text.
        let largest = MAX_MESSAGE - FRAME - 2;
        assert_eq!(whole(&"x".repeat(largest), "ask for less").unwrap().len(), MAX_MESSAGE - FRAME);
        let status = whole(&"x".repeat(largest + 1), "ask for less").unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(status.message(), "the answer has 8388545 bytes, and a message takes 8388608");
        assert_eq!(status.metadata().get(HINT).unwrap(), "ask for less");
    }
}
