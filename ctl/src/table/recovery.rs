//! `host recover`: what hosts hold and a restored store does not.

use comfy_table::Cell;
use windlass_core::Timestamp;
use windlass_core::view::{RecoveringHost, RecoveringService, RecoveringState, RecoveryView};

use super::{ago, grid, or_dash};
use crate::printer::Colour;

/// Lines about one host; `-o json` has them all.
const LINES: usize = 20;

/// All of it.
pub(crate) fn recovery(view: &RecoveryView, now: Timestamp, colour: Colour) -> String {
    if view.hosts.is_empty() {
        return match (view.open, &view.cause) {
            (true, Some(cause)) => {
                format!("{cause}. No host holds anything else; the fleet goes on by itself\n")
            }
            _ => "nothing to recover: no host holds what the coordinator does not know\n".to_owned(),
        };
    }
    let mut text = String::new();
    if let Some(cause) = &view.cause {
        let when = view.since.map(|at| format!(" ({})", ago(at, now))).unwrap_or_default();
        text += &format!("{cause}{when}\n");
    }
    if view.lost_audit_entries > 0 {
        let count = view.lost_audit_entries;
        text += &format!(
            "at least {count} entries of the audit log are lost; hosts are witnesses that they were there\n"
        );
    }
    for host in &view.hosts {
        text += &one(host, now);
    }
    if !view.services.is_empty() {
        let rows = view.services.iter().map(service).collect();
        text += "\n";
        text += &grid(&["SERVICE", "STORE", "HOSTS", "GOOD", "NEXT", ""], rows, colour);
    }
    text
}

fn one(host: &RecoveringHost, now: Timestamp) -> String {
    let made = host.issued_at.map(|at| format!(", made {}", ago(at, now))).unwrap_or_default();
    let carried = if host.receipt.is_some() { " and carried out" } else { "" };
    let plan = format!("it holds plan {}{made}{carried}; the store knows {}", host.seq, host.known_seq);
    let (seq, what) = match host.state {
        RecoveringState::KeepHost => (plan, "what it holds is adopted"),
        RecoveringState::KeepStore => (plan, "it gets the store's state instead"),
        RecoveringState::Asked => (plan, "it has not said yet which releases it keeps"),
        RecoveringState::Stuck => (plan, "its plan cannot be adopted: use --keep-store, or let it wait"),
        RecoveringState::Unheard => {
            ("it has not been heard of".to_owned(), "numbers that it may have seen stay unused")
        }
    };
    let mut text = format!("\n{}: {seq}; {what}\n", host.host);
    for difference in host.differences.iter().take(LINES) {
        text += &format!("  {difference}\n");
    }
    let more = host.differences.len().saturating_sub(LINES);
    if more > 0 {
        text += &format!("  and {more} more\n");
    }
    for obstacle in &host.obstacles {
        text += &format!("  ! {obstacle}\n");
    }
    text
}

fn service(service: &RecoveringService) -> Vec<Cell> {
    let paused = if service.paused { "its rollout is paused: resume or abort it" } else { "" };
    vec![
        Cell::new(format!("{}/{}", service.environment, service.service)),
        Cell::new(or_dash(service.before)),
        Cell::new(or_dash(service.after)),
        Cell::new(or_dash(service.good)),
        Cell::new(service.next),
        Cell::new(paused),
    ]
}
