//! Checking a log as it is read: an entry at a time, with nothing kept but where the log stands and what outsiders
//! say of places that were not reached yet.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::segment::{Claim, Loss, Segments};
use super::{Checkpoint, Entry, Findings, Head, Verdict};
use crate::digest::Digest;

/// A claim about the log: it had so many entries, and the last of them had this hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchor {
    /// The number of entries.
    pub size: u64,
    /// Hash of the last.
    pub head: Digest,
    /// The segment that it is in.
    pub segment: u64,
    /// The witness.
    pub by: By,
}

/// A witness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The audit key: entries below it are anchored.
    Key,
    /// The checkpoint that the reader kept of an earlier look, signed by the audit key.
    Kept,
    /// A host that shows a checkpoint signed by the audit key: the reader's number for it. It anchors nothing.
    Witness(usize),
}

impl From<&Checkpoint> for Anchor {
    /// Of a checkpoint whose signature holds.
    fn from(checkpoint: &Checkpoint) -> Self {
        let Checkpoint { size, head, segment, .. } = *checkpoint;
        Self { size, head, segment, by: By::Key }
    }
}

/// A log that is being read.
#[derive(Debug, Clone, Default)]
pub struct Verifier {
    head: Head,
    segments: Segments,
    altered: Option<u64>,
    /// Said of places that were not reached yet.
    ahead: BTreeMap<u64, Vec<Anchor>>,
    /// Said of places that were reached, and not plainly so: what the log has there.
    open: Vec<(Anchor, Digest)>,
    anchored: u64,
    accepted: Vec<Loss>,
    losses: Vec<(Loss, By)>,
}

impl Verifier {
    /// Takes in what an outsider says, or a checkpoint. One about a place that was passed already says nothing:
    /// whoever sends the log could as well have left it out.
    pub fn expect(&mut self, anchor: Anchor) {
        match anchor.size.cmp(&self.head.size) {
            Ordering::Equal => self.hold(anchor),
            Ordering::Greater => self.ahead.entry(anchor.size).or_default().push(anchor),
            Ordering::Less => {}
        }
    }

    /// Takes in a loss that an operator has accepted.
    pub fn accept(&mut self, loss: Loss) {
        self.accepted.push(loss);
    }

    /// Takes in the next entry.
    pub fn entry(&mut self, bytes: &[u8]) {
        if self.altered.is_some() {
            return;
        }
        let at = self.head.size;
        match serde_json::from_slice::<Entry>(bytes) {
            Ok(entry) if entry.n == at && entry.prev == self.head.hash => {
                if !self.segments.push(&entry, Digest::of(bytes)) {
                    self.altered = Some(at);
                    return;
                }
            }
            // Most likely the entry before was changed; if this one names no neighbour at all, it is itself.
            Ok(entry) if entry.n == at => {
                self.altered = Some(at.saturating_sub(1));
                return;
            }
            Ok(_) | Err(_) => {
                self.altered = Some(at);
                return;
            }
        }
        self.head = Head { size: at + 1, hash: Digest::of(bytes) };
        for anchor in self.ahead.remove(&self.head.size).unwrap_or_default() {
            self.hold(anchor);
        }
    }

    /// Entries so far that are in their place.
    pub const fn entries(&self) -> u64 {
        self.head.size
    }

    fn hold(&mut self, anchor: Anchor) {
        if anchor.head == self.head.hash && anchor.segment == self.segments.newest() {
            self.anchor(anchor);
        } else {
            self.open.push((anchor, self.head.hash));
        }
    }

    fn anchor(&mut self, anchor: Anchor) {
        if matches!(anchor.by, By::Key | By::Kept) {
            self.anchored = self.anchored.max(anchor.size);
        }
    }

    /// The end of the log.
    pub fn finish(mut self) -> Findings {
        let (verdict, by) = self.judge();
        let losses = self.losses.into_iter().map(|(loss, _)| loss).collect();
        Findings { verdict, by, losses, segments: self.segments.into_list() }
    }

    fn judge(&mut self) -> (Verdict, Option<By>) {
        if let Some(at) = self.altered {
            return (Verdict::Altered(at), None);
        }
        let have = self.head.size;
        let mut truncated = None;
        let reached = std::mem::take(&mut self.open).into_iter().map(|(anchor, hash)| (anchor, Some(hash)));
        let ahead = std::mem::take(&mut self.ahead).into_values().flatten().map(|anchor| (anchor, None));
        for (anchor, hash) in reached.chain(ahead) {
            match (self.segments.hold(anchor.segment, anchor.size), hash) {
                (Claim::GivenUp { into, mark }, _) => {
                    let Anchor { size, head, segment, by } = anchor;
                    self.lose(Loss { segment, size, head, into, mark }, by);
                }
                (Claim::Covers, Some(hash)) if hash == anchor.head => self.anchor(anchor),
                // The log ends before that place, or was set back behind the beginning of that segment, and
                // does not say so.
                (Claim::Covers | Claim::Unknown, None) => {
                    if truncated.is_none_or(|(size, _)| size < anchor.size) {
                        truncated = Some((anchor.size, anchor.by));
                    }
                }
                (Claim::Covers | Claim::Unknown, Some(_)) => {
                    return (Verdict::Forked(anchor.size), Some(anchor.by));
                }
            }
        }
        if let Some((want, by)) = truncated {
            return (Verdict::Truncated { have, want }, Some(by));
        }
        if let Some((loss, by)) = self.losses.iter().max_by_key(|(loss, _)| (loss.segment, loss.size)) {
            return (Verdict::Lost { size: loss.size }, Some(*by));
        }
        match have - self.anchored {
            0 => (Verdict::Ok, None),
            tail => (Verdict::UnanchoredTail(tail), None),
        }
    }

    /// Notes a loss, unless it was accepted: the greatest of each restore.
    fn lose(&mut self, loss: Loss, by: By) {
        if self.accepted.iter().any(|accepted| accepted.covers(&loss)) {
            return;
        }
        match self.losses.iter_mut().find(|(known, _)| known.covers(&loss) || loss.covers(known)) {
            Some(known) if known.0.size < loss.size => *known = (loss, by),
            Some(_) => {}
            None => self.losses.push((loss, by)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::audit::{Fact, RESTORED};
    use crate::time::Timestamp;

    fn log(count: u64, salt: &str) -> (Vec<Vec<u8>>, Vec<Head>) {
        let (mut head, mut heads) = (Head::default(), vec![Head::default()]);
        let entries = (0..count).map(|n| {
            let subject = format!("{salt} {n}");
            let fact = Fact { actor: "a".into(), verb: "test", subject, digest: None, outcome: "ok".into() };
            let bytes = head.append(fact, Timestamp::ZERO);
            heads.push(head);
            bytes
        });
        (entries.collect(), heads)
    }

    fn said(head: Head, by: By) -> Anchor {
        Anchor { size: head.size, head: head.hash, segment: 0, by }
    }

    fn read(entries: &[Vec<u8>], before: &[Anchor], between: &[Anchor]) -> Verdict {
        let mut verifier = Verifier::default();
        before.iter().for_each(|anchor| verifier.expect(*anchor));
        for bytes in entries {
            verifier.entry(bytes);
            let here = between.iter().filter(|anchor| anchor.size == verifier.entries());
            here.copied().collect::<Vec<_>>().into_iter().for_each(|anchor| verifier.expect(anchor));
        }
        verifier.finish().verdict
    }

    #[test]
    fn outsiders_see_what_the_log_itself_cannot_show() {
        let (entries, heads) = log(9, "true");
        let (other, others) = log(9, "false");
        let kept = |size: usize| said(heads[size], By::Key);
        let seen = |size: usize| said(heads[size], By::Witness(0));
        #[rustfmt::skip]
        let table = [
            ("nobody says anything",                     entries.clone(),       vec![],        vec![],       "UNANCHORED TAIL(9)"),
            ("its own checkpoint, at its place",         entries.clone(),       vec![],        vec![kept(9)], "OK"),
            ("entries after the checkpoint",             entries.clone(),       vec![kept(4)], vec![kept(6)], "UNANCHORED TAIL(3)"),
            ("a host has seen it",                       entries.clone(),       vec![seen(9)], vec![kept(6)], "UNANCHORED TAIL(3)"),
            ("set back, and checkpointed there",         entries[..5].to_vec(), vec![kept(7)], vec![kept(5)], "TRUNCATED: 5 of 7 entries"),
            ("set back, and only a host knows",          entries[..5].to_vec(), vec![seen(7)], vec![kept(5)], "TRUNCATED: 5 of 7 entries"),
            ("written again, and checkpointed",          other.clone(),         vec![kept(4)], vec![said(others[9], By::Key)], "FORKED within the first 4 entries"),
            ("written again, and only a host knows",     other,         vec![seen(4)], vec![said(others[9], By::Key)], "FORKED within the first 4 entries"),
            ("set back to nothing",                      vec![],                vec![kept(4)], vec![],       "TRUNCATED: 0 of 4 entries"),
            ("of a segment that the log does not know",  entries.clone(),       vec![],        vec![Anchor { segment: 5, ..kept(9) }], "FORKED within the first 9 entries"),
            ("an empty log",                             vec![],                vec![],        vec![],       "OK"),
        ];
        for (case, entries, before, between, want) in table {
            assert_eq!(read(&entries, &before, &between).to_string(), want, "{case}");
        }
        // An entry that reads well contradicts the next one, and is what was changed.
        let mut changed = entries.clone();
        changed[3] = String::from_utf8(changed[3].clone()).unwrap().replace("true 3", "free 3").into_bytes();
        assert_eq!(read(&changed, &[], &[kept(9)]).to_string(), "ALTERED at 3");
        let mut changed = entries;
        changed[3] = changed[3].clone().into_iter().map(|b| if b == b't' { b'T' } else { b }).collect();
        assert_eq!(read(&changed, &[], &[kept(9)]).to_string(), "ALTERED at 3");
    }

    /// Signed between the restore and the entry that says so: it is of the new segment, and over the old entries.
    #[test]
    fn a_checkpoint_of_a_segment_may_stand_before_its_first_entry() {
        let (mut entries, heads) = log(5, "true");
        let mut head = heads[5];
        let subject = crate::audit::segment::subject(70);
        let fact = Fact { actor: "a".into(), verb: RESTORED, subject, digest: None, outcome: "ok".into() };
        entries.push(head.append(fact, Timestamp::ZERO));
        let early = Anchor { segment: 70, ..said(heads[3], By::Key) };
        assert_eq!(read(&entries, &[early], &[]).to_string(), "UNANCHORED TAIL(3)");
        let other = Anchor { head: heads[4].hash, ..early };
        assert_eq!(read(&entries, &[other], &[]).to_string(), "FORKED within the first 3 entries");
    }

    /// A captured coordinator cuts its log down to an entry that says a backup was restored.
    #[test]
    fn a_kept_checkpoint_that_is_gone_is_a_loss_until_accepted() {
        let (entries, heads) = log(5, "true");
        let restore = |kept: usize, name: u64| {
            let (mut head, mut entries) = (heads[kept], entries[..kept].to_vec());
            let subject = crate::audit::segment::subject(name);
            let fact =
                Fact { actor: "a".into(), verb: RESTORED, subject, digest: None, outcome: "ok".into() };
            entries.push(head.append(fact, Timestamp::ZERO));
            (entries, Anchor { segment: name, ..said(head, By::Key) })
        };
        let look = |(entries, end): &(Vec<Vec<u8>>, Anchor), said: &[Anchor], accepted: &[Loss]| {
            let mut verifier = Verifier::default();
            accepted.iter().for_each(|loss| verifier.accept(*loss));
            said.iter().chain([end]).for_each(|anchor| verifier.expect(*anchor));
            entries.iter().for_each(|bytes| verifier.entry(bytes));
            verifier.finish()
        };
        let (made_up, honest) = (restore(0, 70), restore(3, 80));
        for by in [By::Key, By::Kept, By::Witness(4)] {
            for log in [&made_up, &honest] {
                let found = look(log, &[said(heads[5], by)], &[]);
                assert_eq!((found.verdict, found.by), (Verdict::Lost { size: 5 }, Some(by)), "{by:?}");
            }
        }
        let found = look(&made_up, &[said(heads[5], By::Kept), said(heads[2], By::Witness(1))], &[]);
        let [loss] = found.losses[..] else { panic!("{found:?}") };
        assert_eq!((loss.size, loss.head, loss.into), (5, heads[5].hash, 70));
        // Accepted, it covers what had been seen before, and no other restore.
        let said = [said(heads[5], By::Kept), said(heads[2], By::Witness(1))];
        assert_eq!(look(&made_up, &said, &[loss]).verdict, Verdict::Ok);
        assert!(!look(&restore(0, 71), &said, &[loss]).verdict.is_sound(), "another restore");
        assert!(!look(&honest, &said, &[loss]).verdict.is_sound());
        let smaller = Loss { size: 4, ..loss };
        assert!(!look(&made_up, &said, &[smaller]).verdict.is_sound(), "more is lost than was accepted");
    }

    proptest! {
        #[test]
        fn holder_of_a_checkpoint_sees_every_cut_and_change(
            kept in 1_usize..12, cut in 0_usize..12, flip in any::<Option<(usize, u8)>>(),
        ) {
            let (mut entries, heads) = log(12, "true");
            if let Some((at, bit)) = flip {
                let at = at % kept;
                let byte = usize::from(bit) % entries[at].len();
                entries[at][byte] ^= 1 << (bit % 8);
            }
            entries.truncate(cut.max(usize::from(flip.is_some())));
            let verdict = read(&entries, &[said(heads[kept], By::Key)], &[]);
            prop_assert_eq!(verdict.is_sound(), flip.is_none() && entries.len() >= kept, "{}", verdict);
        }
    }
}
