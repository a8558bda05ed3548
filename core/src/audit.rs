//! The audit log: a hash chain that whoever reads it can check, anchored by signed checkpoints.
//!
//! An entry is the exact bytes of its JSON; its hash is the SHA-256 of those bytes, and the next entry
//! carries it as `prev`. A [`Checkpoint`] (payload of an `audit` envelope) says how many entries there were
//! and the hash of the last. Agents keep the newest checkpoint they saw, so that a history that was written
//! again is contradicted by witnesses.

mod accepted;
mod segment;
mod verifier;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::FleetId;
use crate::time::Timestamp;

pub use accepted::AcceptedLoss;
pub use segment::{Loss, RESTORED, Segment, subject as segment_subject};
pub use verifier::{Anchor, By, Verifier};

/// The `prev` of the first entry, and the head of an empty log.
pub const GENESIS: Digest = Digest::from_bytes([0; 32]);

/// One thing that was done, or refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its place, from 0.
    pub n: u64,
    /// Hash of the entry before.
    pub prev: Digest,
    /// When, by the coordinator's clock.
    pub at: Timestamp,
    /// Who: `operator/alice`, `agent/web-1`, `coordinator`.
    pub actor: String,
    /// What: `release.submit`, `host.join`, …
    pub verb: String,
    /// To what: `production/web r7`, `web-1`.
    pub subject: String,
    /// The document it is about, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// `ok`, or why not.
    pub outcome: String,
}

impl Entry {
    /// The bytes that are stored and hashed.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an entry has only string keys, so it is JSON")
    }
}

/// The payload of an `audit` envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// Version of this format, `1`.
    pub version: u32,
    /// The fleet whose log it is.
    pub fleet: FleetId,
    /// The number of entries.
    pub size: u64,
    /// Hash of the last of them.
    pub head: Digest,
    /// The segment that the last of them is in, see [`Segment`]; 0 unless a backup was ever restored.
    #[serde(default, skip_serializing_if = "is_first")]
    pub segment: u64,
    /// When it was signed.
    pub at: Timestamp,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
pub(crate) const fn is_first(segment: &u64) -> bool {
    *segment == 0
}

/// The end of a log: the next entry builds on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The number of entries.
    pub size: u64,
    /// Hash of the last.
    pub hash: Digest,
}

impl Default for Head {
    fn default() -> Self {
        Self { size: 0, hash: GENESIS }
    }
}

/// An event, before it has a place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// Who.
    pub actor: String,
    /// What.
    pub verb: &'static str,
    /// To what.
    pub subject: String,
    /// The document it is about.
    pub digest: Option<Digest>,
    /// `ok`, or why not.
    pub outcome: String,
}

impl Head {
    /// Puts `fact` at the end of the log. Answers with the bytes of the new entry, and moves on.
    pub fn append(&mut self, fact: Fact, at: Timestamp) -> Vec<u8> {
        let Fact { actor, verb, subject, digest, outcome } = fact;
        let verb = verb.to_owned();
        let entry = Entry { n: self.size, prev: self.hash, at, actor, verb, subject, digest, outcome };
        let bytes = entry.to_bytes();
        *self = Self { size: self.size + 1, hash: Digest::of(&bytes) };
        bytes
    }
}

/// The verdict on a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every entry is in its place and below a checkpoint.
    Ok,
    /// The chain holds; the last entries are not below a checkpoint yet.
    UnanchoredTail(u64),
    /// This entry, or the one after it, is not what was written.
    Altered(u64),
    /// A checkpoint knows of more entries.
    Truncated {
        /// The number of entries here.
        have: u64,
        /// The number of entries before.
        want: u64,
    },
    /// The chain holds, and a checkpoint over its first entries names another history.
    Forked(u64),
    /// The log says that a backup was restored, a checkpoint over more entries of the time before was kept, and no
    /// operator has accepted that loss.
    Lost {
        /// The number of entries that the checkpoint covers.
        size: u64,
    },
}

impl Verdict {
    /// Returns whether nothing is wrong. Every log in use has an unanchored tail.
    pub const fn is_sound(self) -> bool {
        matches!(self, Self::Ok | Self::UnanchoredTail(_))
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ok => f.write_str("OK"),
            Self::UnanchoredTail(count) => write!(f, "UNANCHORED TAIL({count})"),
            Self::Altered(n) => write!(f, "ALTERED at {n}"),
            Self::Truncated { have, want } => write!(f, "TRUNCATED: {have} of {want} entries"),
            Self::Forked(size) => write!(f, "FORKED within the first {size} entries"),
            Self::Lost { size } => write!(f, "LOST: entries of a kept checkpoint over {size} entries"),
        }
    }
}

/// Findings about a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Findings {
    /// The verdict: whether the log is as it was written.
    pub verdict: Verdict,
    /// The witness that contradicts it, if a checkpoint does.
    pub by: Option<By>,
    /// Losses that nobody has accepted, one for each restore.
    pub losses: Vec<Loss>,
    /// Its segments; more than one if a backup was ever restored. Up to where it holds.
    pub segments: Vec<Segment>,
}

/// Checks a log from its first entry on. `checkpoints` are those whose signatures hold, from the log itself
/// and from witnesses, in any order.
pub fn verify<B: AsRef<[u8]>>(entries: &[B], checkpoints: &[Checkpoint]) -> Verdict {
    examine(entries, checkpoints).verdict
}

/// The same, and says where backups were restored.
pub fn examine<B: AsRef<[u8]>>(entries: &[B], checkpoints: &[Checkpoint]) -> Findings {
    examine_accepting(entries, checkpoints, &[])
}

/// The same, with losses that operators have accepted.
pub fn examine_accepting<B: AsRef<[u8]>>(
    entries: &[B],
    checkpoints: &[Checkpoint],
    accepted: &[Loss],
) -> Findings {
    let mut verifier = Verifier::default();
    accepted.iter().for_each(|loss| verifier.accept(*loss));
    checkpoints.iter().for_each(|checkpoint| verifier.expect(checkpoint.into()));
    entries.iter().for_each(|bytes| verifier.entry(bytes.as_ref()));
    verifier.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn log(count: u64) -> (Vec<Vec<u8>>, Vec<Head>) {
        let (mut head, mut heads) = (Head::default(), vec![Head::default()]);
        let entries = (0..count).map(|n| {
            let fact = Fact {
                actor: "operator/alice".to_owned(),
                verb: "test",
                subject: format!("thing {n}"),
                digest: None,
                outcome: "ok".to_owned(),
            };
            let bytes = head.append(fact, Timestamp::from_millis(1000));
            heads.push(head);
            bytes
        });
        (entries.collect(), heads)
    }

    fn checkpoint(head: Head) -> Checkpoint {
        Checkpoint {
            version: 1,
            fleet: "demo".parse().unwrap(),
            size: head.size,
            head: head.hash,
            segment: 0,
            at: Timestamp::ZERO,
        }
    }

    #[test]
    fn verdicts() {
        let (entries, heads) = log(5);
        let at = |size: usize| checkpoint(heads[size]);
        assert_eq!(verify::<Vec<u8>>(&[], &[]), Verdict::Ok);
        assert_eq!(verify(&entries, &[at(5), at(2)]), Verdict::Ok);
        assert_eq!(verify(&entries, &[at(3)]), Verdict::UnanchoredTail(2));
        assert_eq!(verify(&entries[..3], &[at(5)]), Verdict::Truncated { have: 3, want: 5 });
        assert_eq!(verify(&entries[1..], &[at(5)]), Verdict::Altered(0));
        let other = Head { size: 3, hash: Digest::of(b"another history") };
        assert_eq!(verify(&entries, &[at(5), checkpoint(other)]), Verdict::Forked(3));
        let mut dropped = entries;
        dropped.remove(2);
        assert_eq!(verify(&dropped, &[at(5)]), Verdict::Altered(2));
    }

    fn restored(mut head: Head, segment: u64) -> (Vec<u8>, Head) {
        let fact = Fact {
            actor: "coordinator".to_owned(),
            verb: RESTORED,
            subject: segment_subject(segment),
            digest: None,
            outcome: "ok".to_owned(),
        };
        let bytes = head.append(fact, Timestamp::ZERO);
        (bytes, head)
    }

    #[test]
    fn silent_restore_is_contradicted_and_a_declared_one_explained() {
        let (mut entries, heads) = log(5);
        let of = |head: Head, segment| Checkpoint { segment, ..checkpoint(head) };
        // A backup of three entries comes back: two are lost, and witnesses know of them.
        entries.truncate(3);
        assert_eq!(verify(&entries, &[of(heads[5], 0)]), Verdict::Truncated { have: 3, want: 5 }, "silent");
        let (mark, begun) = restored(heads[3], 70);
        entries.push(mark);
        let kept = [of(heads[5], 0), of(heads[2], 0), of(begun, 70)];
        let found = examine(&entries, &kept);
        assert_eq!(found.verdict, Verdict::Lost { size: 5 }, "nobody has accepted it");
        let found = examine_accepting(&entries, &kept, &found.losses);
        assert_eq!(found.verdict, Verdict::Ok);
        let [first, second] = found.segments[..] else { panic!("{found:?}") };
        assert_eq!(first, Segment::default());
        assert_eq!(second, Segment { segment: 70, start: 3, lost: 2 });
        // The content of the backup is held against it all the same.
        let other = Head { size: 2, hash: Digest::of(b"another history") };
        assert_eq!(verify(&entries, &[of(other, 0), of(begun, 70)]), Verdict::Forked(2));
        // The same backup once more, under another name: the segment between was given up with its entries.
        let (again, begun_again) = restored(heads[3], 90);
        entries[3] = again;
        let kept = [of(begun, 70), of(begun_again, 90)];
        let found = examine(&entries, &kept);
        assert_eq!(found.verdict, Verdict::Lost { size: 4 });
        assert_eq!(examine_accepting(&entries, &kept, &found.losses).verdict, Verdict::Ok);
        // Set back behind the second restore without a word.
        let witness = Head { size: 4, ..begun };
        let silent = verify(&entries[..3], &[of(witness, 70)]);
        assert_eq!(silent, Verdict::Truncated { have: 3, want: 4 });
        let (more, _) = log(6);
        assert_eq!(verify(&more, &[of(witness, 70)]), Verdict::Forked(4));
    }

    #[test]
    fn segments_only_rise() {
        let (mut entries, heads) = log(2);
        let (mark, head) = restored(heads[2], 70);
        entries.push(mark);
        let (mark, _) = restored(head, 70);
        entries.push(mark);
        assert_eq!(verify::<Vec<u8>>(&entries, &[]), Verdict::Altered(3));
    }

    proptest! {
        #[test]
        fn no_flipped_bit_passes(entry in 0_usize..5, byte in any::<usize>(), bit in 0_u8..8) {
            let (mut entries, heads) = log(5);
            let at = byte % entries[entry].len();
            entries[entry][at] ^= 1 << bit;
            prop_assert!(!verify(&entries, &[checkpoint(heads[5])]).is_sound());
        }
    }
}
