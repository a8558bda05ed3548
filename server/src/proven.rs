//! Checkpoints of the audit log that hosts have shown and that were verified.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use windlass_core::receipt::Witnessed;

/// The checkpoints whose signature was verified last: all hosts of a fleet show the same one with each plan.
#[derive(Debug, Default)]
pub(crate) struct Proven {
    /// Version of the trust document, envelope and checkpoint of each; the newest last.
    known: Mutex<VecDeque<(u64, Bytes, Witnessed)>>,
}

impl Proven {
    /// Checkpoints kept at most; hosts differ by one or two.
    const MOST: usize = 8;

    /// Returns the checkpoint of an envelope that was verified under this version of the trust document.
    pub(crate) fn find(&self, trust: u64, envelope: &[u8]) -> Option<Witnessed> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.iter().find(|(version, bytes, _)| *version == trust && bytes == envelope);
        found.map(|(_, _, witnessed)| witnessed.clone())
    }

    /// Keeps a verified envelope and its checkpoint.
    pub(crate) fn keep(&self, trust: u64, envelope: &[u8], witnessed: Witnessed) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() == Self::MOST {
            known.pop_front();
        }
        known.push_back((trust, Bytes::copy_from_slice(envelope), witnessed));
    }
}

#[cfg(test)]
mod tests {
    use windlass_core::Digest;

    use super::*;

    #[test]
    fn a_checkpoint_is_known_under_its_trust_document_alone() {
        let proven = Proven::default();
        let of = |size| Witnessed { size, head: Digest::of(b"head"), segment: 0 };
        proven.keep(1, b"one", of(1));
        assert_eq!(proven.find(1, b"one"), Some(of(1)));
        assert_eq!((proven.find(1, b"two"), proven.find(2, b"one")), (None, None));
        (0..8_u64).for_each(|n| proven.keep(1, &n.to_be_bytes(), of(n)));
        assert_eq!((proven.find(1, b"one"), proven.known.lock().unwrap().len()), (None, Proven::MOST));
    }
}
