//! Statistics on their way to the coordinator: the newest measurement, cut to what a message may have.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;
use windlass_core::host::HostStats;
use windlass_proto::json;
use windlass_proto::limits::{MAX_STATS_IN_HEARTBEAT, MAX_STATS_REPORT};

/// The newest measurement for a report; `None` if nothing was measured yet.
pub(super) fn report(stats: &watch::Receiver<Arc<HostStats>>) -> Option<Bytes> {
    let stats = stats.borrow().clone();
    stats.at.is_some().then(|| fitting(&stats, MAX_STATS_REPORT))
}

/// The newest measurement for a heartbeat. Nothing was measured yet, or the measuring task is stuck: life goes on.
pub(super) fn in_heartbeat(stats: &watch::Receiver<Arc<HostStats>>) -> Bytes {
    let stats = stats.borrow().clone();
    if stats.at.is_some() { fitting(&stats, MAX_STATS_IN_HEARTBEAT) } else { Bytes::new() }
}

/// The JSON, without as many of the containers at its end as make it too long.
fn fitting(stats: &HostStats, most: usize) -> Bytes {
    let whole = json::encode(stats);
    if whole.len() <= most {
        return whole;
    }
    let mut fewer = stats.clone();
    loop {
        let kept = fewer.instances.len() / 2;
        fewer.left_out =
            fewer.left_out.saturating_add(u32::try_from(fewer.instances.len() - kept).unwrap_or(u32::MAX));
        fewer.instances.truncate(kept);
        let shorter = json::encode(&fewer);
        if shorter.len() <= most || kept == 0 {
            return shorter;
        }
    }
}

#[cfg(test)]
mod tests {
    use windlass_core::Timestamp;
    use windlass_core::host::InstanceStats;

    use super::*;

    #[test]
    fn a_host_of_many_containers_says_what_it_left_out() {
        let instance = |n: usize| InstanceStats { instance: format!("web.{n}"), ..InstanceStats::default() };
        let stats = HostStats {
            at: Some(Timestamp::ZERO),
            instances: (0..2048).map(instance).collect(),
            ..HostStats::default()
        };
        let whole = fitting(&stats, MAX_STATS_REPORT);
        assert_eq!(
            serde_json::from_slice::<HostStats>(&whole).unwrap(),
            stats,
            "a full report has room for all"
        );
        let cut = fitting(&stats, MAX_STATS_IN_HEARTBEAT);
        assert!(cut.len() <= MAX_STATS_IN_HEARTBEAT, "{}", cut.len());
        let cut: HostStats = serde_json::from_slice(&cut).unwrap();
        assert!(!cut.instances.is_empty());
        assert_eq!(cut.instances.len() + usize::try_from(cut.left_out).unwrap(), 2048);
    }
}
