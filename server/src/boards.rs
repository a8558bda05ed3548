//! The rows of the fleet, looked up once for everybody who watches them, and how many watch.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use windlass_core::view::{Board, RowView};
use windlass_core::{EnvironmentId, Timestamp};

/// Streams of one operator: some terminals, and those that are just replaced.
const OF_ONE: usize = 8;
/// Streams of all operators.
const OF_ALL: usize = 64;
/// Rows are looked up anew after so long.
const EVERY: Duration = Duration::from_millis(900);
/// And after so many times the time that the last look took.
const PACE: u32 = 10;

/// All rows of a board.
#[derive(Debug)]
pub(crate) struct Looked {
    /// When they were looked up.
    pub now: Timestamp,
    /// The rows, in the order of the board.
    pub rows: Vec<RowView>,
    /// Members of the fleet, and those that are connected.
    pub hosts: (usize, usize),
    /// Rollouts under way.
    pub moving: BTreeMap<EnvironmentId, usize>,
}

type Kept = Option<(Arc<Looked>, Instant)>;

/// The boards. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Boards(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    watchers: Mutex<BTreeMap<String, usize>>,
    /// One for each of [`Board::ALL`].
    kept: [tokio::sync::Mutex<Kept>; Board::ALL.len()],
}

/// A place among those who watch; dropping it gives it up.
#[derive(Debug)]
pub(crate) struct Watcher {
    boards: Boards,
    who: String,
}

impl Boards {
    /// One more who watches; `None` if there are too many.
    pub(crate) fn enter(&self, who: String) -> Option<Watcher> {
        let mut watchers = self.0.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = watchers.values().sum();
        let own = watchers.get(&who).copied().unwrap_or(0);
        if own >= OF_ONE || all >= OF_ALL {
            return None;
        }
        watchers.insert(who.clone(), own + 1);
        drop(watchers);
        Some(Watcher { boards: self.clone(), who })
    }

    /// The rows of a board, not older than a second unless a look takes long. Only one at a time looks them up.
    pub(crate) async fn rows(&self, board: Board, look: impl Future<Output = Looked>) -> Arc<Looked> {
        let number = Board::ALL.iter().position(|of| *of == board).unwrap_or(0);
        let mut kept = self.0.kept[number].lock().await;
        if let Some((looked, until)) = &*kept
            && Instant::now() < *until
        {
            return looked.clone();
        }
        let began = Instant::now();
        let looked = Arc::new(look.await);
        *kept = Some((looked.clone(), Instant::now() + EVERY.max(began.elapsed() * PACE)));
        looked
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let mut watchers = self.boards.0.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        match watchers.get_mut(&self.who) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(watchers.remove(&self.who)),
        }
        if watchers.is_empty() {
            // Nobody looks any more: the rows of ten thousand hosts are not kept for nobody.
            self.boards
                .0
                .kept
                .iter()
                .filter_map(|kept| kept.try_lock().ok())
                .for_each(|mut kept| *kept = None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looked(n: i64) -> Looked {
        let now = Timestamp::from_millis(n);
        Looked { now, rows: Vec::new(), hosts: (0, 0), moving: BTreeMap::new() }
    }

    #[test]
    fn who_watches_is_counted_by_operator_and_in_all() {
        let boards = Boards::default();
        let mut own: Vec<Watcher> =
            (0..OF_ONE).filter_map(|_| boards.enter("operator/ann".to_owned())).collect();
        assert_eq!(own.len(), OF_ONE);
        assert!(boards.enter("operator/ann".to_owned()).is_none());
        let others: Vec<Watcher> =
            (0..OF_ALL).filter_map(|n| boards.enter(format!("operator/o{n}"))).collect();
        assert_eq!(
            others.len(),
            OF_ALL - OF_ONE,
            "an operator who is there takes no place of others beyond these"
        );
        drop(own.pop());
        let again = boards.enter("operator/ann".to_owned());
        assert!(again.is_some(), "a place that was given up is free");
        drop((own, others, again));
        assert!(boards.0.watchers.lock().unwrap().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn rows_are_looked_up_once_for_all_and_kept_for_nobody() {
        let boards = Boards::default();
        let watcher = boards.enter("operator/ann".to_owned());
        let at = async |n| boards.rows(Board::Hosts, async move { looked(n) }).await.now.as_millis();
        assert_eq!((at(1).await, at(2).await), (1, 1), "as it was a moment ago");
        tokio::time::advance(EVERY).await;
        assert_eq!(at(3).await, 3);
        // A look that takes long is repeated rarely.
        tokio::time::advance(EVERY).await;
        let slow = async {
            tokio::time::sleep(EVERY).await;
            looked(4)
        };
        assert_eq!(boards.rows(Board::Hosts, slow).await.now.as_millis(), 4);
        tokio::time::advance(EVERY * 2).await;
        assert_eq!(at(5).await, 4);
        drop(watcher);
        assert_eq!(at(6).await, 6, "whoever comes next finds nothing kept");
    }
}
