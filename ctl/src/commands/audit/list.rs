//! `audit ls`: entries of the log as the coordinator sends them.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use windlass_core::{Digest, Timestamp};

use crate::args::{AuditLsArgs, Global};
use crate::client::AuditItem;
use crate::context::Context;
use crate::error::CtlError;
use crate::exit::Exit;
use crate::printer::Printer;
use crate::{clock, table};

/// An entry of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub(crate) struct AuditEntryView {
    /// Its place, from 0.
    pub(crate) n: u64,
    /// When, by the coordinator's clock.
    pub(crate) at: Timestamp,
    /// The actor: `operator/alice`, `agent/web-1`, `coordinator`.
    pub(crate) actor: String,
    /// The action: `release.submit`, `host.join`, …
    pub(crate) verb: String,
    /// The object: `production/web r7`, `web-1`.
    pub(crate) subject: String,
    /// The document it is about, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<Digest>,
    /// `ok`, or why not.
    pub(crate) outcome: String,
}

/// The document that `audit ls -o json` prints.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(crate) struct AuditListView {
    /// The entries, the newest last.
    entries: Vec<AuditEntryView>,
    /// The beginning of the next page, for --from; absent at the end of the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

pub(super) async fn run(args: &AuditLsArgs, global: &Global, printer: &Printer) -> Result<Exit, CtlError> {
    let context = Context::load(global)?;
    let session = context.session().await?;
    let since = args.since.map(|since| since.at(clock::now()));
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let mut stream = session.client().audit(args.from.unwrap_or(0)).await?;
    let (mut entries, mut next) = (VecDeque::new(), None);
    while let Some(item) = stream.next().await? {
        let Some(AuditItem::Entry(bytes)) = item else { continue };
        let Ok(entry) = serde_json::from_slice::<AuditEntryView>(&bytes) else { continue };
        if !is_wanted(&entry, args, since) {
            continue;
        }
        if entries.len() == limit {
            if args.from.is_some() {
                next = Some(entry.n);
                break;
            }
            entries.pop_front();
        }
        entries.push_back(entry);
    }
    let view = AuditListView { entries: entries.into(), next };
    printer.document(&view, |colour| table::audit(&view.entries, colour));
    if let Some(next) = view.next {
        printer.note(&format!("more: --from {next}"));
    }
    Ok(Exit::Done)
}

fn is_wanted(entry: &AuditEntryView, args: &AuditLsArgs, since: Option<Timestamp>) -> bool {
    let is_by = |actor: &String| {
        entry.actor == *actor || entry.actor.rsplit_once('/').is_some_and(|(_, name)| name == actor)
    };
    since.is_none_or(|since| entry.at >= since)
        && args.actor.as_ref().is_none_or(is_by)
        && args.verb.as_ref().is_none_or(|verb| entry.verb.starts_with(verb.as_str()))
        && args.subject.as_ref().is_none_or(|text| entry.subject.contains(text.as_str()))
}
