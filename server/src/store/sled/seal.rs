//! A seal by which damage of a database file is noticed.
//!
//! sled takes a log that does not check out for one that was cut by a crash: it goes back to what was before, and says
//! nothing. One flipped bit can so undo an hour of a fleet, or lose single records. Hence a *seal*, a digest over the
//! set of all records that is written with every transaction, and a *note* of the newest transaction in a file of its
//! own, so that an older state is not taken for the newest although all of it is sealed.
//!
//! The note is written after the transaction is on disk and is not synced: after a power cut it may be behind the
//! database, which is no damage; ahead of it, it never is.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::store::transaction::Revision;

/// The file with the note.
pub(super) const NOTE: &str = "NEWEST";
/// The note is there twice, on different pages, as a flipped bit may also hit the note.
const COPIES: [u64; 2] = [0, 4096];
const LEN: usize = 16;

/// A digest over a set of records, whatever their order: what a transaction changes is taken out and put in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Seal([u8; 32]);

impl Seal {
    /// Puts a record in, or takes it out.
    pub(super) fn toggle(&mut self, key: &[u8], value: &[u8]) {
        let length = u64::try_from(key.len()).unwrap_or(u64::MAX);
        let digest = Sha256::new().chain_update(length.to_be_bytes()).chain_update(key).chain_update(value);
        self.0.iter_mut().zip(digest.finalize()).for_each(|(mine, theirs)| *mine ^= theirs);
    }

    /// As it is stored.
    pub(super) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The number of the newest transaction, beside the database.
#[derive(Debug)]
pub(super) struct Note {
    file: File,
    newest: Option<Revision>,
}

impl Note {
    /// Opens the note, or makes an empty one.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        let mut options = File::options();
        let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(folder.join(NOTE))?;
        let mut newest = None;
        for at in COPIES {
            let mut copy = [0; LEN];
            match file.read_exact_at(&mut copy, at) {
                Ok(()) => newest = newest.max(decode(copy)),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self { file, newest })
    }

    /// The revision of the seal when it was opened, or was written since.
    pub(super) const fn newest(&self) -> Option<Revision> {
        self.newest
    }

    /// Writes it anew, in place: there is room for it once it has been written.
    pub(super) fn write(&mut self, newest: Revision) -> io::Result<()> {
        for at in COPIES {
            self.file.write_all_at(&encode(newest), at)?;
        }
        self.newest = Some(newest);
        Ok(())
    }
}

fn encode(newest: Revision) -> [u8; LEN] {
    let (number, mut bytes) = (newest.to_be_bytes(), [0; LEN]);
    bytes[..8].copy_from_slice(&number);
    bytes[8..].copy_from_slice(&Sha256::digest(number)[..8]);
    bytes
}

fn decode(bytes: [u8; LEN]) -> Option<Revision> {
    let number = Revision::from_be_bytes(bytes.first_chunk::<8>().copied()?);
    (encode(number) == bytes).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_is_of_the_set_and_not_of_its_order() {
        let mut one = Seal::default();
        one.toggle(b"a", b"1");
        one.toggle(b"b", b"2");
        let mut other = Seal::default();
        other.toggle(b"b", b"2");
        other.toggle(b"a", b"0");
        assert_ne!(one, other);
        other.toggle(b"a", b"0");
        other.toggle(b"a", b"1");
        assert_eq!(one, other);
        let mut moved = Seal::default();
        moved.toggle(b"a1", b"");
        moved.toggle(b"b", b"2");
        assert_ne!(one, moved, "where a key ends counts");
    }

    #[test]
    fn a_note_survives_damage_to_one_of_its_copies() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Note::open(folder.path()).unwrap().newest(), None);
        Note::open(folder.path()).unwrap().write(7).unwrap();
        let note = Note::open(folder.path()).unwrap();
        assert_eq!(note.newest(), Some(7));
        note.file.write_all_at(b"x", 3).unwrap();
        assert_eq!(Note::open(folder.path()).unwrap().newest(), Some(7));
        note.file.write_all_at(b"x", COPIES[1] + 12).unwrap();
        assert_eq!(Note::open(folder.path()).unwrap().newest(), None, "both are gone");
    }
}
