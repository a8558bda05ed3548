//! A log in a file: an entry or a checkpoint a line.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};

use windlass_certs::files::begin_secret;

use super::view::AuditError;

/// Longer than any entry or envelope of a checkpoint.
const MAX_LINE: u64 = 1 << 20;

/// Reads a file line by line; the second argument says whether it is a checkpoint's envelope.
pub(super) fn lines(
    path: &Path,
    mut each: impl FnMut(&[u8], bool) -> Result<(), AuditError>,
) -> Result<(), AuditError> {
    let failed = |source| AuditError::Read { path: path.to_owned(), source };
    let mut input = BufReader::new(File::open(path).map_err(failed)?);
    for number in 1.. {
        let mut line = Vec::new();
        let read = input.by_ref().take(MAX_LINE).read_until(b'\n', &mut line).map_err(failed)?;
        if read == 0 {
            break;
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        if line.is_empty() {
            continue;
        }
        let value: serde_json::Value = serde_json::from_slice(&line)
            .map_err(|_| AuditError::Line { path: path.to_owned(), line: number })?;
        each(&line, value.get("payloadType").is_some())?;
    }
    Ok(())
}

/// The coordinator's log, in a file that gets its name once it is whole.
pub(super) struct Copy {
    path: PathBuf,
    unfinished: PathBuf,
    out: BufWriter<File>,
}

impl Copy {
    pub(super) fn begin(path: &Path) -> Result<Self, AuditError> {
        let mut name = path.as_os_str().to_owned();
        name.push(".unfinished");
        let unfinished = PathBuf::from(name);
        let out = begin_secret(&unfinished).map_err(|error| AuditError::Write {
            path: unfinished.clone(),
            source: std::io::Error::other(error),
        })?;
        Ok(Self { path: path.to_owned(), unfinished, out: BufWriter::new(out) })
    }

    pub(super) fn line(&mut self, bytes: &[u8]) -> Result<(), AuditError> {
        let written = self.out.write_all(bytes).and_then(|()| self.out.write_all(b"\n"));
        written.map_err(|source| AuditError::Write { path: self.unfinished.clone(), source })
    }

    pub(super) fn finish(mut self) -> Result<(), AuditError> {
        let whole = self.out.flush().and_then(|()| std::fs::rename(&self.unfinished, &self.path));
        whole.map_err(|source| AuditError::Write { path: self.path, source })
    }
}
