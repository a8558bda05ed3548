//! `audit verify`: checks that the log is what was written. It is read as it comes, and nothing of it is kept. Held against it are
//! its own checkpoints, the newest checkpoint that was verified here before, and those that hosts show. `audit accept`: an
//! operator signs that a loss is one that they know of.

mod accept;
mod file;
mod list;
mod reading;
mod view;

use std::path::Path;

use windlass_core::Timestamp;
use windlass_core::audit::{Checkpoint, Loss, Segment, Verdict};

use crate::args::{AuditCommand, Global};
use crate::client::AuditItem;
use crate::context::Context;
use crate::error::CtlError;
use crate::exit::Exit;
use crate::home::{FleetHome, KeptCheckpoint};
use crate::printer::Printer;

use file::{Copy, lines};
pub(crate) use list::{AuditEntryView, AuditListView};
use reading::Reading;

pub(super) use view::AuditView;

pub(super) async fn run(command: AuditCommand, global: &Global, printer: &Printer) -> Result<Exit, CtlError> {
    let context = Context::load(global)?;
    let (file, save) = match command {
        AuditCommand::Ls(args) => return list::run(&args, global, printer).await,
        AuditCommand::Verify { file, save } => (file, save),
        AuditCommand::Accept(args) => {
            let signed = args.from.as_deref().map(accept::signed).transpose()?.flatten();
            if let Some(envelope) = signed {
                return accept::adopt(&envelope, &args, &context, global, printer);
            }
            let kept = context.fleet.kept_checkpoint();
            let view = match &args.from {
                Some(log) => from_file(log, &context.fleet, kept)?,
                None => from_coordinator(&context, kept, None).await?.0,
            };
            return accept::accept(&view, args, &context, global, printer);
        }
    };
    let kept = context.fleet.kept_checkpoint();
    let (view, newest) = match file {
        Some(path) => (from_file(&path, &context.fleet, kept)?, None),
        None => from_coordinator(&context, kept, save.as_deref()).await?,
    };
    if let Some(newest) = newest.filter(|_| view.sound) {
        context.fleet.keep_checkpoint(&newest)?;
    }
    printer.document(&view, |_| summary(&view));
    Ok(if view.sound { Exit::Done } else { Exit::Refused })
}

async fn from_coordinator(
    context: &Context,
    kept: Option<KeptCheckpoint>,
    save: Option<&Path>,
) -> Result<(AuditView, Option<Checkpoint>), CtlError> {
    let mut session = context.session().await?;
    session.fetch_trust().await?;
    let trust = session.trust().document();
    let mut reading = Reading::new(trust, kept.as_ref(), &context.fleet.accepted_losses());
    let mut copy = save.map(Copy::begin).transpose()?;
    let mut stream = session.client().audit(0).await?;
    while let Some(item) = stream.next().await? {
        match item {
            Some(AuditItem::Entry(bytes)) => {
                reading.entry(&bytes);
                copy.as_mut().map_or(Ok(()), |copy| copy.line(&bytes))?;
            }
            Some(AuditItem::Checkpoint(bytes)) => {
                reading.checkpoint(&bytes)?;
                copy.as_mut().map_or(Ok(()), |copy| copy.line(&bytes))?;
            }
            Some(AuditItem::Witness { host, receipt, key, checkpoint }) => {
                reading.witness(host, &receipt, &key, &checkpoint);
            }
            None => {}
        }
    }
    copy.map_or(Ok(()), Copy::finish)?;
    Ok(reading.finish(kept))
}

/// Twice: checkpoints may stand anywhere in a file, and are to be known before the entries they are about.
fn from_file(path: &Path, fleet: &FleetHome, kept: Option<KeptCheckpoint>) -> Result<AuditView, CtlError> {
    let trust = fleet.trust()?;
    let mut reading = Reading::new(trust.document(), kept.as_ref(), &fleet.accepted_losses());
    lines(path, |line, is_checkpoint| if is_checkpoint { reading.checkpoint(line) } else { Ok(()) })?;
    lines(path, |line, is_checkpoint| {
        if !is_checkpoint {
            reading.entry(line);
        }
        Ok(())
    })?;
    Ok(reading.finish(kept).0)
}

fn summary(view: &AuditView) -> String {
    let verdict = match view.verdict {
        Verdict::UnanchoredTail(tail) => {
            format!("OK: {} entries; the last {tail} not yet covered by a signed checkpoint", view.entries)
        }
        _ => view.text.clone(),
    };
    let mut text = format!("{verdict}\n{} entries, {} checkpoints", view.entries, view.checkpoints);
    if let Some(kept) = &view.kept {
        text.push_str(&format!("; held against the checkpoint over {} entries kept here", kept.size));
    }
    if !view.witnesses.is_empty() {
        text.push_str(&format!("; witnesses: {}", view.witnesses.join(", ")));
    }
    if !view.unproven.is_empty() {
        text.push_str(&format!("; without proof: {}", view.unproven.join(", ")));
    }
    view.segments.iter().skip(1).for_each(|segment| text.push_str(&restored(segment)));
    let meaning = match view.verdict {
        Verdict::Ok | Verdict::UnanchoredTail(_) => return text,
        Verdict::Altered(_) => {
            "an entry is not what was written: the file, or the coordinator's store, was edited"
        }
        Verdict::Truncated { .. } => {
            "entries that a signed checkpoint or a host knows of are gone, and the log does not say so: was the \
             coordinator set back to an older store?"
        }
        Verdict::Forked(_) => "somebody knows another history than this one: it was written again",
        Verdict::Lost { .. } => {
            "the log says that a backup was restored, and a captured coordinator can write that too: accept the loss only \
             if you know of the restore"
        }
    };
    let by = view.contradicted_by.as_ref().map(|by| format!("\ncontradicted by {by}")).unwrap_or_default();
    let accept = |loss: &Loss| format!("\naccept it with: windlass audit accept {}", accept::name(loss));
    let accepting: String = view.losses.iter().map(accept).collect();
    format!("{text}{by}\n{meaning}{accepting}")
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
