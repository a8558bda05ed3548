//! The audit log: a hash chain that whoever reads it can check, anchored by signed checkpoints.
//!
//! An entry is the exact bytes of its JSON; its hash is the SHA-256 of those bytes, and the next entry
//! carries it as `prev`. A [`Checkpoint`] (payload of an `audit` envelope) says how many entries there were
//! and the hash of the last. Agents keep the newest checkpoint they saw, so that a history that was written
//! again is contradicted by witnesses.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::FleetId;
use crate::time::Timestamp;

/// What the first entry carries as `prev`, and an empty log as its head.
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
    /// How many entries there were.
    pub size: u64,
    /// Hash of the last of them.
    pub head: Digest,
    /// When it was signed.
    pub at: Timestamp,
}

/// Where a log ends: what the next entry builds on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// How many entries there are.
    pub size: u64,
    /// Hash of the last.
    pub hash: Digest,
}

impl Default for Head {
    fn default() -> Self {
        Self { size: 0, hash: GENESIS }
    }
}

/// What happened, before it has a place in the log.
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

/// What a log turned out to be.
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
        /// How many there are.
        have: u64,
        /// How many there were.
        want: u64,
    },
    /// The chain holds, and a checkpoint over its first entries names another history.
    Forked(u64),
}

impl Verdict {
    /// Is nothing wrong? An unanchored tail is what every log in use has.
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
        }
    }
}

/// Checks a log from its first entry on. `checkpoints` are those whose signatures hold, from the log itself
/// and from witnesses, in any order.
pub fn verify<B: AsRef<[u8]>>(entries: &[B], checkpoints: &[Checkpoint]) -> Verdict {
    let mut hashes = vec![GENESIS];
    for (at, bytes) in entries.iter().enumerate() {
        let at = u64::try_from(at).unwrap_or(u64::MAX);
        let prev = hashes.last().copied().unwrap_or(GENESIS);
        match serde_json::from_slice::<Entry>(bytes.as_ref()) {
            Ok(entry) if entry.n == at && entry.prev == prev => {}
            // Most likely the entry before was changed; if this one names no neighbour at all, it is itself.
            Ok(entry) if entry.n == at => return Verdict::Altered(at.saturating_sub(1)),
            Ok(_) | Err(_) => return Verdict::Altered(at),
        }
        hashes.push(Digest::of(bytes.as_ref()));
    }
    let have = u64::try_from(entries.len()).unwrap_or(u64::MAX);
    let mut anchored = 0;
    let mut truncated = 0;
    for checkpoint in checkpoints {
        match usize::try_from(checkpoint.size).ok().and_then(|size| hashes.get(size)) {
            None => truncated = truncated.max(checkpoint.size),
            Some(hash) if *hash != checkpoint.head => return Verdict::Forked(checkpoint.size),
            Some(_) => anchored = anchored.max(checkpoint.size),
        }
    }
    match (truncated, have - anchored) {
        (0, 0) => Verdict::Ok,
        (0, tail) => Verdict::UnanchoredTail(tail),
        (want, _) => Verdict::Truncated { have, want },
    }
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
