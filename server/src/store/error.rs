//! Reasons for which the store does not answer, and their hints.

use std::path::PathBuf;

use super::record::RecordError;
use super::sled::full;
use super::transaction::{MAX_VALUE, Revision};

/// The reason for which the store did not answer, or refused.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody wrote a guarded key in between.
    #[error("`{key}` was changed by somebody else (revision {found}, expected {expected})")]
    Conflict {
        /// Which key.
        key: String,
        /// The expected revision.
        expected: Revision,
        /// The revision found.
        found: Revision,
    },
    /// More than [`MAX_VALUE`].
    #[error("the value of `{key}` has {len} bytes, more than {MAX_VALUE}")]
    TooLarge {
        /// Which key.
        key: String,
        /// Its length.
        len: usize,
    },
    /// It cannot be opened. Never taken for an empty one.
    #[error("the store in `{path}` cannot be read")]
    Unreadable {
        /// Its folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another process has it open.
    #[error("the store in `{path}` is in use by another process")]
    InUse {
        /// Its folder.
        path: PathBuf,
    },
    /// There was a store here, and what is left of it is empty.
    #[error("the store in `{path}` was in use before and is empty now")]
    Lost {
        /// Its folder.
        path: PathBuf,
    },
    /// Reading or writing failed. Whether the write happened is unknown.
    #[error("the store failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A record is not what its key says.
    #[error("the record `{key}` is damaged or of a newer version")]
    Record {
        /// Which key.
        key: String,
        /// Why.
        #[source]
        source: RecordError,
    },
}

impl StoreError {
    /// The next step of the coordinator's operator.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unreadable { source, .. } | Self::Failed(source) if is_full(&**source) => {
                Some("the disk is full: make room, and start again; nothing that was acknowledged is lost")
            }
            Self::Unreadable { .. } | Self::Lost { .. } => Some(
                "move the folder away and restore the newest backup with `windlass-server store import FILE`; \
                 hosts keep running meanwhile",
            ),
            Self::InUse { .. } => Some("stop the other windlass-server first"),
            Self::Record { .. } => {
                Some("start the version of windlass-server that wrote it, or restore a backup")
            }
            Self::Failed(_) => Some(
                "`windlass-server check` says whether the store can be read; if not, move the folder away and restore \
                 the newest backup with `windlass-server store import FILE`",
            ),
            Self::Conflict { .. } | Self::TooLarge { .. } => None,
        }
    }
}

/// Whether the disk is full. Then nothing is damaged, and restoring a backup would be the wrong advice.
fn is_full(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        if kind == Some(std::io::ErrorKind::StorageFull) || full::is_full(error) {
            return true;
        }
        cause = error.source();
    }
    false
}
