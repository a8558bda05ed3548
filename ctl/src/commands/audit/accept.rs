//! `audit accept`: an operator signs that a loss of the log is one that they know of.

use std::path::PathBuf;

use serde::Serialize;
use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_core::Timestamp;
use windlass_core::audit::{AcceptedLoss, Loss, Verdict};

use super::view::{AuditError, AuditView};
use crate::args::Global;
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

/// Signs and keeps the loss of `view` that `named` names.
pub(super) fn accept(
    view: &AuditView,
    named: &str,
    key: Option<PathBuf>,
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
    let is_named = |loss: &&Loss| named.len() >= DIGITS && hash(loss).starts_with(named);
    let loss = *view.losses.iter().find(is_named).ok_or_else(|| AuditError::NoLoss(named.to_owned()))?;
    let start = view.segments.iter().find(|segment| segment.segment == loss.into).map_or(0, |it| it.start);
    let at = Timestamp::from_millis(i64::try_from(loss.into).unwrap_or(i64::MAX));
    let lost = loss.size.saturating_sub(start);
    let question = format!(
        "The coordinator was set back to entry {start} at {at}, {lost} entries are lost. Accept that?"
    );
    printer.confirm(&question, global.yes)?;
    let keys = signing::keys(key.as_slice(), context)?;
    let by = context.fleet.operator().map(|own| own.peer().identity.name().to_string()).unwrap_or_default();
    let fleet = context.config.fleet.clone();
    let accepted = AcceptedLoss { version: 1, fleet, loss, by, at: clock::now() };
    let payload = serde_json::to_vec(&accepted).expect("only string keys, so it is JSON");
    let signed: Vec<_> = keys.iter().collect();
    let envelope = Envelope::sign(PayloadType::Loss, payload, &signed).to_bytes();
    context.fleet.accept_loss(&String::from_utf8_lossy(&envelope))?;
    printer.document(&AcceptedView { accepted: loss }, |_| format!("accepted {}", name(&loss)));
    Ok(Exit::Done)
}
