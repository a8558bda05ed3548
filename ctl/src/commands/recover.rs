//! `host recover`: what hosts hold and a restored store does not, and how to go on.

use std::time::{Duration, Instant};

use windlass_core::HostId;
use windlass_core::view::{RecoveringState, RecoveryView};

use crate::args::Global;
use crate::client::{CallError, Client};
use crate::error::CtlError;
use crate::exit::Exit;
use crate::printer::Printer;
use crate::{clock, table};

/// The time that hosts have to show the releases they keep.
const ASKED: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(200);

pub(super) async fn run(
    keep_store: &[HostId],
    look: bool,
    client: &mut Client,
    global: &Global,
    printer: &Printer,
) -> Result<Exit, CtlError> {
    let view = settled(keep_store, client).await?;
    if look || (!view.open && view.hosts.is_empty()) {
        printer.document(&view, |colour| table::recovery(&view, clock::now(), colour));
        return Ok(Exit::Done);
    }
    if !printer.is_structured() {
        printer.text(&table::recovery(&view, clock::now(), printer.colour()));
    }
    printer.confirm(&question(&view), global.yes)?;
    let done = client.recover(keep_store, view.digest).await?;
    if printer.is_structured() {
        printer.document(&done, |_| String::new());
    }
    printer.result("the fleet goes on");
    Ok(Exit::Done)
}

/// The preview, once every host that is connected has said what it keeps.
async fn settled(keep_store: &[HostId], client: &mut Client) -> Result<RecoveryView, CallError> {
    let begun = Instant::now();
    loop {
        let view = client.preview_recovery(keep_store).await?;
        let asked = view.hosts.iter().any(|host| host.state == RecoveringState::Asked);
        if !asked || begun.elapsed() > ASKED {
            return Ok(view);
        }
        tokio::time::sleep(AGAIN).await;
    }
}

fn question(view: &RecoveryView) -> String {
    let count = |state| view.hosts.iter().filter(|host| host.state == state).count();
    let restarts = match count(RecoveringState::KeepStore) {
        0 => "Nothing is restarted.".to_owned(),
        1 => "What one host runs may be restarted.".to_owned(),
        more => format!("What {more} hosts run may be restarted."),
    };
    let without = match count(RecoveringState::Unheard) {
        0 => String::new(),
        1 => " without one host that has not been heard of".to_owned(),
        more => format!(" without {more} hosts that have not been heard of"),
    };
    format!("{restarts} Take over what is said above, and go on{without}?")
}
