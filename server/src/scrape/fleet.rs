//! The coordinator itself: trust, certificates, audit log, backups, store, rings.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_core::Timestamp;
use windlass_core::audit::Checkpoint;

use super::out::{Out, count, number, seconds};
use crate::backups;
use crate::coordinator::Coordinator;

/// Folders of the store are looked at so deep.
const DEPTH: usize = 4;

/// Its metrics.
#[derive(Debug, Default)]
pub(super) struct Fleet {
    name: String,
    started: Timestamp,
    trust: (u64, Timestamp),
    certificate: Option<Timestamp>,
    lifetimes: [(&'static str, Duration); 3],
    audit_open: u64,
    checkpoint: Option<Timestamp>,
    backup: Option<(Timestamp, u64)>,
    backup_every: Duration,
    store_bytes: u64,
    rings: (usize, usize),
    operators: usize,
    releases: usize,
}

/// Blocks: it looks at files.
pub(super) fn look(coordinator: &Coordinator, data: &Path, backup_every: Duration) -> Fleet {
    let lives = coordinator.authority.lifetimes();
    let (rings, certificate) = (coordinator.history.size(), coordinator.authority.own_until());
    let backup = backups::newest(&data.join("backups")).and_then(|path| backups::of(&path));
    let store_bytes = size(&data.join("store"), DEPTH);
    let started = coordinator.registry.started();
    coordinator.ledger.read(|state| {
        let trust = state.trust.document();
        let covered = state.checkpoint.as_ref().map_or(0, |(size, _)| *size);
        Fleet {
            name: state.fleet.to_string(),
            started,
            trust: (state.trust.version(), trust.expires_at),
            certificate,
            lifetimes: [
                ("agent", lives.agent),
                ("operator", lives.operator),
                ("coordinator", lives.coordinator),
            ],
            audit_open: state.head.size.saturating_sub(covered),
            checkpoint: state.checkpoint.as_ref().and_then(|(_, envelope)| signed_at(envelope)),
            backup,
            backup_every,
            store_bytes,
            rings,
            operators: state.operators.len(),
            releases: state.releases.len(),
        }
    })
}

/// When a checkpoint of our own was signed.
fn signed_at(envelope: &[u8]) -> Option<Timestamp> {
    let envelope = Envelope::parse(envelope, PayloadType::Audit.max_len()).ok()?;
    serde_json::from_slice::<Checkpoint>(envelope.payload_bytes()).ok().map(|checkpoint| checkpoint.at)
}

fn size(folder: &Path, depth: usize) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let of = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() && depth > 1 => size(&entry.path(), depth - 1),
        Ok(meta) if meta.is_file() => meta.len(),
        Ok(_) | Err(_) => 0,
    };
    entries.flatten().map(of).fold(0, u64::saturating_add)
}

pub(super) fn write(out: &mut Out<'_>, fleet: &Fleet) -> fmt::Result {
    let labels = [("fleet", fleet.name.as_str()), ("version", env!("CARGO_PKG_VERSION"))];
    out.gauge("coordinator_info", "The fleet, and the version of this coordinator", [(labels, 1.0)])?;
    let help = "When this coordinator started, since the epoch";
    out.one("coordinator_start_timestamp_seconds", help, seconds(fleet.started))?;
    out.one("trust_version", "Version of the trust document in force", number(fleet.trust.0))?;
    let help = "When the trust document ends, since the epoch";
    out.one("trust_expiry_timestamp_seconds", help, seconds(fleet.trust.1))?;
    let own = fleet.certificate.map(|until| ([("kind", "coordinator")], seconds(until)));
    let help = "When the coordinator's own certificate ends, since the epoch";
    out.gauge("certificate_expiry_timestamp_seconds", help, own)?;
    let lives = fleet.lifetimes.iter().map(|(kind, life)| ([("kind", *kind)], life.as_secs_f64()));
    out.gauge("certificate_lifetime_seconds", "How long new certificates are valid", lives)?;
    let help = "Entries of the audit log that no checkpoint covers yet";
    out.one("audit_open_entries", help, number(fleet.audit_open))?;
    let none: [(&str, &str); 0] = [];
    let signed = fleet.checkpoint.map(|at| (none, seconds(at)));
    let help = "When the newest checkpoint was signed, since the epoch";
    out.gauge("audit_checkpoint_timestamp_seconds", help, signed)?;
    let help = "When the newest backup was written, since the epoch";
    out.gauge("backup_timestamp_seconds", help, fleet.backup.map(|(at, _)| (none, seconds(at))))?;
    out.gauge(
        "backup_size_bytes",
        "Size of that backup",
        fleet.backup.map(|(_, size)| (none, number(size))),
    )?;
    out.one("backup_interval_seconds", "How often a backup is written", fleet.backup_every.as_secs_f64())?;
    out.one("store_size_bytes", "Size of the store on disk", number(fleet.store_bytes))?;
    out.one("history_rings", "Hosts and services whose figures are kept", count(fleet.rings.0))?;
    out.one("history_size_bytes", "Memory of these figures", count(fleet.rings.1))?;
    out.one("operators", "Operators that were ever let in", count(fleet.operators))?;
    out.one("releases", "Releases that are remembered", count(fleet.releases))
}
