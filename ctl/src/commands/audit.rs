//! `audit verify`: is the log what was written?

use std::path::{Path, PathBuf};

use serde::Serialize;
use windlass_certs::dsse::{Envelope, PayloadType, VerifyError};
use windlass_certs::trust::TrustDocument;
use windlass_core::Timestamp;
use windlass_core::audit::{self, Checkpoint, Segment, Verdict};

use super::release::{read_file, write_file};
use crate::args::{AuditCommand, Global};
use crate::client::AuditItem;
use crate::context::Context;
use crate::error::CtlError;
use crate::exit::Exit;
use crate::printer::Printer;

/// Why the log cannot be checked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuditError {
    #[error("line {line} of `{path}` is neither an entry nor a checkpoint")]
    Line { path: PathBuf, line: usize },
    #[error("checkpoint {0} is not signed by the fleet's audit key")]
    Checkpoint(usize, #[source] VerifyError),
}

impl AuditError {
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Line { .. } => Some("make one with `windlass audit verify --save FILE`".to_owned()),
            Self::Checkpoint(..) => Some(
                "somebody wrote checkpoints of their own; or fetch a newer trust document: `windlass trust show`"
                    .to_owned(),
            ),
        }
    }
}

/// What `audit verify -o json` prints.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(crate) struct AuditView {
    /// What the log turned out to be.
    pub(crate) verdict: Verdict,
    /// The same in words: `OK`, `ALTERED at n`, `TRUNCATED`, `FORKED`, `UNANCHORED TAIL(k)`.
    pub(crate) text: String,
    /// Is nothing wrong?
    pub(crate) sound: bool,
    /// Its segments: more than one if the coordinator was ever restored from a backup.
    pub(crate) segments: Vec<Segment>,
    /// Entries that were read.
    pub(crate) entries: usize,
    /// Checkpoints that were read, all of them signed by the audit key.
    pub(crate) checkpoints: usize,
}

#[derive(Default)]
struct Log {
    entries: Vec<Vec<u8>>,
    checkpoints: Vec<Vec<u8>>,
    // Both in the order they came, for `--save`.
    lines: Vec<u8>,
}

impl Log {
    fn push(&mut self, item: AuditItem) {
        let (list, bytes) = match item {
            AuditItem::Entry(bytes) => (&mut self.entries, bytes),
            AuditItem::Checkpoint(bytes) => (&mut self.checkpoints, bytes),
        };
        self.lines.extend_from_slice(&bytes);
        self.lines.push(b'\n');
        list.push(bytes);
    }

    fn read(path: &Path, bytes: &[u8]) -> Result<Self, AuditError> {
        let mut log = Self::default();
        for (at, line) in bytes.split(|b| *b == b'\n').enumerate().filter(|(_, line)| !line.is_empty()) {
            let value: serde_json::Value = serde_json::from_slice(line)
                .map_err(|_| AuditError::Line { path: path.to_owned(), line: at + 1 })?;
            log.push(match value.get("payloadType") {
                Some(_) => AuditItem::Checkpoint(line.to_vec()),
                None => AuditItem::Entry(line.to_vec()),
            });
        }
        Ok(log)
    }

    fn verify(&self, trust: &TrustDocument) -> Result<AuditView, AuditError> {
        let keys = trust.audit_keys();
        let checkpoint = |(at, bytes): (usize, &Vec<u8>)| -> Result<Checkpoint, AuditError> {
            let wrong = |source| AuditError::Checkpoint(at, source);
            let envelope = Envelope::parse(bytes, PayloadType::Audit.max_len()).map_err(wrong)?;
            envelope.verify(PayloadType::Audit, &keys).and_then(|verified| verified.decode()).map_err(wrong)
        };
        let checkpoints: Vec<Checkpoint> =
            self.checkpoints.iter().enumerate().map(checkpoint).collect::<Result<_, _>>()?;
        let audit::Findings { verdict, segments } = audit::examine(&self.entries, &checkpoints);
        Ok(AuditView {
            verdict,
            text: verdict.to_string(),
            sound: verdict.is_sound(),
            segments,
            entries: self.entries.len(),
            checkpoints: checkpoints.len(),
        })
    }
}

pub(super) async fn run(command: AuditCommand, global: &Global, printer: &Printer) -> Result<Exit, CtlError> {
    let AuditCommand::Verify { file, save } = command;
    let context = Context::load(global)?;
    let (log, trust) = match file {
        Some(path) => (Log::read(&path, &read_file(&path)?)?, context.fleet.trust()?),
        None => {
            let mut session = context.session().await?;
            session.fetch_trust().await?;
            let mut log = Log::default();
            let mut stream = session.client().audit().await?;
            while let Some(item) = stream.next().await? {
                item.into_iter().for_each(|item| log.push(item));
            }
            (log, session.trust().clone())
        }
    };
    if let Some(path) = save {
        write_file(&path, &log.lines)?;
    }
    let view = log.verify(trust.document())?;
    printer.document(&view, |_| {
        let restored = view.segments.iter().skip(1).map(restored);
        let restored: String = restored.collect();
        format!("{}\n{} entries, {} checkpoints{restored}", view.text, view.entries, view.checkpoints)
    });
    Ok(if view.sound { Exit::Done } else { Exit::Refused })
}

fn restored(segment: &Segment) -> String {
    let at = Timestamp::from_millis(i64::try_from(segment.segment).unwrap_or(i64::MAX));
    let lost = match segment.lost {
        0 => "what came after it in the log before is lost".to_owned(),
        1 => "at least one entry after it is lost".to_owned(),
        more => format!("at least {more} entries after it are lost"),
    };
    format!("\nset back to entry {} at {at}, when the coordinator was restored; {lost}", segment.start)
}
