//! A store that is gone is never taken for a new fleet's. An empty coordinator would know no host, and give numbers and
//! slots a second time.

use std::path::Path;
use std::time::Duration;

use windlass_core::Timestamp;

use crate::authority::first_trust;
use crate::start::StartError;

/// Beside the store, for when that is gone.
const MARKER: &str = "store-was-made";
const MARKER_TEXT: &str = "A store was made in this folder. If `store` is gone, restore a backup with `windlass-server store import \
                           FILE`;\nto begin with nothing, and forget what the hosts run: `windlass-server store new`.\n";
/// A fleet whose trust document is younger may be starting for the first time.
const YOUNG: Duration = Duration::from_secs(24 * 3600);

/// Refuses if there is no store in the data folder, and there must have been one.
pub(crate) fn refuse_if_gone(data: &Path, now: Timestamp) -> Result<(), StartError> {
    if data.join("store").exists() {
        return Ok(());
    }
    let backup = crate::backups::newest(&data.join("backups"));
    let made_at = first_trust(data)?.document().created_at;
    let why = if let Some(backup) = &backup {
        format!("`{}` is a backup of it", backup.display())
    } else if data.join(MARKER).exists() {
        "it was made here before".to_owned()
    } else if now.since(made_at) > YOUNG {
        format!("the fleet is older than a day, its trust document is of {made_at}")
    } else {
        return Ok(());
    };
    Err(StartError::StoreGone { path: data.join("store"), data: data.to_owned(), backup, why })
}

/// Notes that there is a store now.
pub(crate) fn note_made(data: &Path) -> std::io::Result<()> {
    let marker = data.join(MARKER);
    if marker.exists() { Ok(()) } else { std::fs::write(marker, MARKER_TEXT) }
}
