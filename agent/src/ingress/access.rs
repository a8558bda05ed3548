//! The access log's file. Lines are written on a thread for files: a slow disk loses lines, which are counted, and
//! delays nobody.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use windlass_ingress::Access;

use crate::data::on_disk;

/// Records that may wait.
pub(super) const QUEUE: usize = 16 * 1024;
/// Records that are written at once.
const MOST: usize = 1024;

/// The task.
#[derive(Debug)]
pub(super) struct AccessLog {
    out: Out,
    records: mpsc::Receiver<Access>,
}

#[derive(Debug)]
enum Out {
    Stdout,
    File { path: PathBuf, file: File },
}

impl AccessLog {
    /// Opens the file; `-` is stdout.
    pub(super) fn open(path: &Path) -> io::Result<(Self, mpsc::Sender<Access>)> {
        let out = if path == Path::new("-") {
            Out::Stdout
        } else {
            Out::File { path: path.to_owned(), file: append(path)? }
        };
        let (queue, records) = mpsc::channel(QUEUE);
        Ok((Self { out, records }, queue))
    }

    /// Writes until it is cancelled, and then what is left.
    pub(super) async fn run(mut self, cancel: CancellationToken) -> anyhow::Result<()> {
        let mut said = false;
        loop {
            let mut some = Vec::new();
            tokio::select! {
                biased;
                _ = self.records.recv_many(&mut some, MOST) => {}
                () = cancel.cancelled() => self.records.close(),
            }
            if some.is_empty() {
                // Closed and empty.
                if self.records.is_closed() && self.records.is_empty() {
                    return Ok(());
                }
                continue;
            }
            let mut out = self.out;
            let (written, back) = on_disk(move || {
                let written = out.write(&some);
                (written, out)
            })
            .await;
            self.out = back;
            match written {
                Ok(()) => said = false,
                Err(error) if !said => {
                    said = true;
                    tracing::error!(%error, "the access log cannot be written; its lines are lost meanwhile");
                }
                Err(_) => {}
            }
        }
    }
}

impl Out {
    fn write(&mut self, records: &[Access]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for record in records {
            serde_json::to_writer(&mut bytes, record)?;
            bytes.push(b'\n');
        }
        match self {
            Self::Stdout => io::stdout().write_all(&bytes),
            Self::File { path, file } => {
                // A rotation of logs has moved the file away.
                if fs::metadata(&path).map(|meta| (meta.dev(), meta.ino())).ok()
                    != file.metadata().map(|meta| (meta.dev(), meta.ino())).ok()
                {
                    *file = append(path)?;
                }
                file.write_all(&bytes)
            }
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}
