//! The processes that have connected as one host.
//!
//! An agent that is started again is another process, and the one before never returns; its folder's lock sees to it that
//! there is one at a time. So a process that comes back after another one has connected runs on another machine with
//! a copy of the folder: a clone, found out within a second or so, as both connect again and again.

use std::collections::VecDeque;

/// Processes remembered beside the newest one.
const KEPT: usize = 8;

/// The processes that have connected, by their random numbers.
#[derive(Debug, Default)]
pub(super) struct Runs {
    newest: u64,
    /// The oldest first.
    before: VecDeque<u64>,
}

impl Runs {
    /// A stream of this process begins; 0 is an agent that does not say. Answers whether it was replaced before.
    pub(super) fn begin(&mut self, run: u64) -> bool {
        if run == 0 || run == self.newest {
            return false;
        }
        if self.before.contains(&run) {
            return true;
        }
        if self.newest != 0 {
            if self.before.len() >= KEPT {
                self.before.pop_front();
            }
            self.before.push_back(self.newest);
        }
        self.newest = run;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_that_returns_after_its_successor_is_a_clone() {
        #[rustfmt::skip]
        let table: [(&str, &[u64], bool); 6] = [
            ("one process reconnects", &[7, 7, 7], false),
            ("it is started again, again and again", &[7, 8, 8, 9, 10], false),
            ("two take turns", &[7, 8, 7], true),
            ("an older one returns", &[7, 8, 9, 7], true),
            ("older agents do not say", &[0, 7, 0, 7, 0], false),
            ("more starts than are remembered", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], false),
        ];
        for (case, streams, want) in table {
            let mut runs = Runs::default();
            let found = streams.iter().any(|run| runs.begin(*run));
            assert_eq!(found, want, "{case}");
            assert!(runs.before.len() <= KEPT, "{case}");
        }
    }
}
