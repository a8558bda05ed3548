//! Reading the whole store at the start. Anything that cannot be read stops the start: a coordinator that
//! forgot a slot would remove its container.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use windlass_core::FleetId;
use windlass_core::audit::Head;

use super::release::ReleaseEntry;
use super::state::State;
use super::{Change, keys};
use crate::store::dump;
use crate::store::record::{self, RecordError, ReleaseRecord};
use crate::store::{Entry, Revision, Store, StoreError, Transaction};

/// The reason for which the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The store itself.
    #[error("failed to read the store")]
    Store(#[from] StoreError),
    /// It belongs to somebody else.
    #[error("the store is of fleet `{found}`, the configuration of fleet `{expected}`")]
    OtherFleet {
        /// Whose it is.
        found: FleetId,
        /// Whose it should be.
        expected: FleetId,
    },
    /// Part of it is missing.
    #[error("the import is incomplete: it was interrupted")]
    HalfImported,
    /// A key that says nothing.
    #[error("the store has a key that is none of ours: `{0}`")]
    Key(String),
    /// A signed document that was stored does not hold any more.
    #[error("the {0} in the store is damaged")]
    Document(String),
}

impl LoadError {
    /// The next step of the operator.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Store(error) => error.hint(),
            Self::HalfImported => Some(dump::HALF_IMPORTED),
            Self::OtherFleet { .. } => Some("point --data at the folder of this fleet"),
            Self::Key(_) | Self::Document(_) => {
                Some("restore a backup with `windlass-server store import FILE`")
            }
        }
    }
}

/// Fills `state`, which holds the first trust document. Answers with the revision of the head, which is made
/// if this is the first start.
pub(super) async fn load(store: &dyn Store, state: &mut State) -> Result<Revision, LoadError> {
    if store.get(dump::IMPORTING).await?.is_some() {
        return Err(LoadError::HalfImported);
    }
    match store.get(keys::FLEET).await? {
        Some(entry) => {
            let found: FleetId = decode(&entry)?;
            if found != state.fleet {
                return Err(LoadError::OtherFleet { found, expected: state.fleet.clone() });
            }
        }
        None => first_start(store, state).await?,
    }
    let head = store.get(keys::HEAD).await?.ok_or_else(|| LoadError::Document("head".to_owned()))?;
    state.head = decode::<Head>(&head)?;
    for entry in store.list(keys::TRUST).await?.into_iter().skip(1) {
        state.trust.advance(&entry.value).map_err(|_| LoadError::Document(entry.key.clone()))?;
        state.trust_chain.push(entry.value);
    }
    if let Some(entry) = store.list(keys::CHECKPOINT).await?.pop() {
        state.checkpoint = Some((number(&entry.key)?, entry.value));
    }
    for entry in store.list(keys::RELEASE).await? {
        let record: ReleaseRecord = decode(&entry)?;
        let (entry, release) = ReleaseEntry::open(record).ok_or(LoadError::Document(entry.key))?;
        state.add_release(entry, release);
    }
    for entry in store.list(keys::EVENT).await? {
        state.push_event(decode(&entry)?);
    }
    records(store, state).await?;
    Ok(head.revision)
}

async fn first_start(store: &dyn Store, state: &State) -> Result<(), LoadError> {
    let mut transaction = Transaction::default()
        .guard(keys::FLEET, 0)
        .put(keys::FLEET, record::encode(&state.fleet))
        .put(keys::HEAD, record::encode(&Head::default()));
    for (version, envelope) in (1..).zip(&state.trust_chain) {
        transaction = transaction.put(keys::numbered(keys::TRUST, version), envelope.clone());
    }
    store.commit(transaction).await?;
    Ok(())
}

async fn records(store: &dyn Store, state: &mut State) -> Result<(), LoadError> {
    for entry in store.list(keys::HOST).await? {
        state.apply(Change::Host(Box::new(decode(&entry)?)));
    }
    for entry in store.list(keys::TOKEN).await? {
        state.apply(Change::Token(decode(&entry)?));
    }
    for entry in store.list(keys::OPERATOR).await? {
        state.apply(Change::Operator(Box::new(decode(&entry)?)));
    }
    for entry in store.list(keys::OPERATOR_TOKEN).await? {
        state.apply(Change::OperatorToken(Box::new(decode(&entry)?)));
    }
    for entry in store.list(keys::SERVICE).await? {
        state.apply(Change::Service(Box::new(decode(&entry)?)));
    }
    for entry in store.list(keys::SLOT).await? {
        let slot = name(&entry.key, keys::SLOT)?;
        state.apply(Change::Slot(slot, Box::new(decode(&entry)?)));
    }
    for entry in store.list(keys::ROLLOUT).await? {
        state.apply(Change::Rollout(Box::new(decode(&entry)?)));
    }
    for entry in store.list(keys::PLAN).await? {
        let host = name(&entry.key, keys::PLAN)?;
        state.apply(Change::Plan(host, decode(&entry)?));
    }
    for entry in store.list(keys::ROUTES).await? {
        let environment = name(&entry.key, keys::ROUTES)?;
        state.apply(Change::Routes(environment, Box::new(decode(&entry)?)));
    }
    if let Some(entry) = store.get(keys::CLOSED).await? {
        state.closed = Some(decode(&entry)?);
    }
    if let Some(entry) = store.get(keys::RECOVERY).await? {
        state.apply(Change::Recovery(decode(&entry)?));
    }
    for entry in store.list(keys::OBSERVATION).await? {
        let host = name(&entry.key, keys::OBSERVATION)?;
        state.apply(Change::Observation(host, Arc::new(decode(&entry)?)));
    }
    Ok(())
}

fn decode<T: DeserializeOwned>(entry: &Entry) -> Result<T, LoadError> {
    let named = |source: RecordError| StoreError::Record { key: entry.key.clone(), source };
    Ok(record::decode(&entry.value).map_err(named)?)
}

fn name<T: std::str::FromStr>(key: &str, prefix: &str) -> Result<T, LoadError> {
    let text = key.strip_prefix(prefix).unwrap_or_default();
    text.parse().map_err(|_| LoadError::Key(key.to_owned()))
}

fn number(key: &str) -> Result<u64, LoadError> {
    let digits = key.rsplit('/').next().unwrap_or_default();
    digits.parse().map_err(|_| LoadError::Key(key.to_owned()))
}
