//! `audit accept`: an operator signs that a loss of the log is one that they know of.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde::Serialize;
use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_certs::trust::TrustDocument;
use windlass_core::Timestamp;
use windlass_core::audit::{AcceptedLoss, Loss, Verdict};

use super::super::files::write_file;
use super::view::{AuditError, AuditView};
use crate::args::{AcceptArgs, Global};
use crate::context::Context;
use crate::error::CtlError;
use crate::exit::Exit;
use crate::printer::Printer;
use crate::{clock, signing};

/// Digits of the hash that name a loss.
const DIGITS: usize = 12;

/// The document that `audit accept -o json` prints.
#[derive(Debug, Serialize)]
struct AcceptedView {
    accepted: Loss,
}

/// The name of a loss, as `audit verify` prints it.
pub(super) fn name(loss: &Loss) -> String {
    hash(loss).chars().take(DIGITS).collect()
}

/// Bare hex, without the name of the algorithm.
fn hash(loss: &Loss) -> String {
    let text = loss.head.to_string();
    text.rsplit(':').next().unwrap_or_default().to_owned()
}

/// The envelope in a file, if that holds a loss that was signed; a log of entries and checkpoints is none.
pub(super) fn signed(file: &Path) -> Result<Option<Envelope>, AuditError> {
    let failed = |source| AuditError::Read { path: file.to_owned(), source };
    let mut bytes = Vec::new();
    let limit = 2 * PayloadType::Loss.max_len() as u64;
    File::open(file).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(failed)?;
    let envelope = Envelope::parse(&bytes, PayloadType::Loss.max_len()).ok();
    Ok(envelope.filter(|envelope| envelope.payload_type() == PayloadType::Loss))
}

/// The loss in an envelope, if an operator of the fleet has signed it.
fn verified(envelope: &Envelope, trust: &TrustDocument) -> Result<AcceptedLoss, AuditError> {
    let verified =
        envelope.verify(PayloadType::Loss, &trust.operator_keys()).map_err(AuditError::NoOperator)?;
    let accepted: AcceptedLoss = verified.decode().map_err(AuditError::NoOperator)?;
    if accepted.fleet != trust.fleet {
        return Err(AuditError::OtherFleet(accepted.fleet));
    }
    Ok(accepted)
}

fn is_named(loss: &Loss, named: &str) -> bool {
    named.len() >= DIGITS && hash(loss).starts_with(named)
}

/// Keeps a loss that somebody else has signed.
pub(super) fn adopt(
    envelope: &Envelope,
    args: &AcceptArgs,
    context: &Context,
    global: &Global,
    printer: &Printer,
) -> Result<Exit, CtlError> {
    let accepted = verified(envelope, context.fleet.trust()?.document())?;
    if let Some(named) = args.loss.as_ref().filter(|named| !is_named(&accepted.loss, named)) {
        return Err(AuditError::NoLoss(named.clone()).into());
    }
    let question = format!(
        "`{}` signed at {} that {} entries of the log, which ended in {}, are lost. Accept that too?",
        accepted.by,
        accepted.at,
        accepted.loss.size,
        name(&accepted.loss)
    );
    printer.confirm(&question, global.yes)?;
    keep(envelope, accepted.loss, args, context, printer)
}

/// Signs and keeps the loss of `view` that is named.
pub(super) fn accept(
    view: &AuditView,
    args: AcceptArgs,
    context: &Context,
    global: &Global,
    printer: &Printer,
) -> Result<Exit, CtlError> {
    match view.verdict {
        Verdict::Lost { .. } | Verdict::Ok | Verdict::UnanchoredTail(_) => {}
        verdict @ (Verdict::Altered(_) | Verdict::Truncated { .. } | Verdict::Forked(_)) => {
            return Err(AuditError::Unsound(verdict).into());
        }
    }
    let named = args.loss.clone().unwrap_or_default();
    let loss = view.losses.iter().find(|loss| is_named(loss, &named));
    let loss = *loss.ok_or_else(|| match args.loss {
        Some(_) => AuditError::NoLoss(named.clone()),
        None => AuditError::Unnamed,
    })?;
    let start = view.segments.iter().find(|segment| segment.segment == loss.into).map_or(0, |it| it.start);
    let at = Timestamp::from_millis(i64::try_from(loss.into).unwrap_or(i64::MAX));
    let lost = loss.size.saturating_sub(start);
    let question = format!(
        "The coordinator was set back to entry {start} at {at}, {lost} entries are lost. Accept that?"
    );
    printer.confirm(&question, global.yes)?;
    let keys = signing::keys(args.key.as_slice(), context)?;
    let by = context.fleet.operator().map(|own| own.peer().identity.name().to_string()).unwrap_or_default();
    let fleet = context.config.fleet.clone();
    let accepted = AcceptedLoss { version: 1, fleet, loss, by, at: clock::now() };
    let payload = serde_json::to_vec(&accepted).expect("only string keys, so it is JSON");
    let signed: Vec<_> = keys.iter().collect();
    let envelope = Envelope::sign(PayloadType::Loss, payload, &signed);
    // As every later `audit verify` will read it: a key that the fleet does not know says nothing.
    let loss = verified(&envelope, context.fleet.trust()?.document())?.loss;
    keep(&envelope, loss, &args, context, printer)
}

fn keep(
    envelope: &Envelope,
    loss: Loss,
    args: &AcceptArgs,
    context: &Context,
    printer: &Printer,
) -> Result<Exit, CtlError> {
    let bytes = envelope.to_bytes();
    context.fleet.accept_loss(&String::from_utf8_lossy(&bytes))?;
    if let Some(out) = &args.out {
        write_file(out, &bytes)?;
    }
    printer.document(&AcceptedView { accepted: loss }, |_| format!("accepted {}", name(&loss)));
    Ok(Exit::Done)
}
