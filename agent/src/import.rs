//! `trust import`: taking trust documents by hand, when a coordinator withholds them. The same chain is walked as on
//! the link; a file that is not signed by the fleet's root keys changes nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::watch;
use windlass_certs::dsse::{Envelope, PayloadType};

use crate::config::Config;
use crate::data::{DataDir, DataError};
use crate::document_store::{DocumentStore, OpenError, Opened, TakeError};
use crate::member::{Member, MemberError};
use crate::{facts, gpu, policy};

/// 1024 versions of 64 KiB, as base64.
const MAX_LEN: u64 = 100 << 20;

/// The reason that nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file.
    #[error("failed to read `{path}`")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The folder.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Membership.
    #[error(transparent)]
    Member(#[from] MemberError),
    /// The state in force cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It is not believed.
    #[error("the trust document was not taken")]
    Take(#[from] TakeError),
}

impl ImportError {
    /// Returns the next step of the user.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Data(DataError::Busy { .. }) => Some(
                "stop the agent first (nothing that runs is touched), import, and start it again".to_owned(),
            ),
            Self::Data(error) => error.hint(),
            Self::Member(error) => error.hint(),
            Self::Open(error) => error.hint(),
            Self::Take(_) => {
                Some("the file needs every version after the one in force, one envelope per line".to_owned())
            }
            Self::Read { .. } => None,
        }
    }
}

/// Imports `file`: one envelope, or several, one per line, the oldest first. Answers with the version in force.
pub async fn import(config: &Config, file: &Path) -> Result<u64, ImportError> {
    let bytes = crate::data::read_bounded(file, MAX_LEN)
        .map_err(|source| ImportError::Read { path: file.to_owned(), source })?;
    let data = DataDir::open(&config.data)?;
    let _lock = data.lock()?;
    let member = Member::load(&data)?;
    // Running releases are judged by the new document, so the judge must know the host.
    let policy = policy::load(&config.policy).unwrap_or_default();
    // Which GPUs there are decides nothing about a trust document.
    let (_facts, facts) = watch::channel(Arc::new(facts::of_host(&member, &policy, &gpu::Seen::default())));
    let keeper = DocumentStore::open(Opened { data, member, facts, own: Vec::new() }).await?;
    keeper.take_trust(&envelopes(&bytes)).await?;
    Ok(keeper.trust().version())
}

fn envelopes(bytes: &[u8]) -> Vec<Vec<u8>> {
    if Envelope::parse(bytes, PayloadType::Trust.max_len()).is_ok() {
        return vec![bytes.to_vec()];
    }
    bytes.split(|b| *b == b'\n').filter(|line| !line.trim_ascii().is_empty()).map(<[u8]>::to_vec).collect()
}
