//! The processes of one ingress, by what each of them last reported: the one that serves, and those that it took over from
//! and that still finish what they have.

use std::sync::Arc;
use std::time::Duration;

use crate::time::Timestamp;

use super::report::{IngressReport, REPORT_QUIET};

/// Processes of one ingress that are remembered, as many as an agent lets connect.
const MOST: usize = 4;
/// An ingress of which nothing was heard for so long is silent: it has missed two reports.
const SILENT: Duration = Duration::from_secs(2 * REPORT_QUIET.as_secs());

/// A report and when it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reported {
    /// The report.
    pub report: Arc<IngressReport>,
    /// When it came, by the coordinator's clock.
    pub at: Timestamp,
    /// When the first report of its process came.
    pub first: Timestamp,
    /// When the first report of it came that said that it ends.
    pub ends: Option<Timestamp>,
}

/// The newest report of each process of one ingress, the one that serves first.
#[derive(Debug, Clone, Default)]
pub struct Processes(Vec<Reported>);

impl Processes {
    /// Takes in a report that came at `now`. The process that serves stays whatever becomes of it; one before it counts until
    /// it has nothing left, or was silent for long while another one was not: then it has gone.
    pub fn take(&mut self, report: Arc<IngressReport>, now: Timestamp) {
        let known = self.0.iter().find(|of| of.report.process == report.process);
        let first = known.map_or(now, |of| of.first);
        let ends = known.and_then(|of| of.ends).or(Some(now)).filter(|_| report.ending);
        self.0.retain(|of| of.report.process != report.process);
        self.0.push(Reported { report, at: now, first, ends });
        // One that ends has a successor; among others, the one that was heard of last for the first time serves. The clock of
        // their host may have been set between their starts, and tells only of those that were heard of at once.
        let begun = |of: &Reported| (of.first, of.report.started_at);
        self.0.sort_by_key(|of| (of.report.ending, std::cmp::Reverse(begun(of))));
        let mut place = 0;
        self.0.retain(|of| {
            place += 1;
            let is_empty = of.report.ending && of.report.under_way() == 0;
            place == 1 || (!is_empty && now.since(of.at) < SILENT && place <= MOST)
        });
    }

    /// The report of the process that serves.
    pub fn serving(&self) -> Option<&IngressReport> {
        self.0.first().map(|of| &*of.report)
    }

    /// Whether no other process serves than those that are known. Where the newest that is known has begun to end, its successor
    /// may have yet to report for the first time; if none does for long, there is none.
    pub fn are_known(&self, now: Timestamp) -> bool {
        self.0.first().is_some_and(|of| of.ends.is_none_or(|at| now.since(at) >= SILENT))
    }

    /// The report of every process that counts.
    pub fn all(&self) -> impl Iterator<Item = &IngressReport> {
        self.0.iter().map(|of| &*of.report)
    }

    /// When one of them was last heard of.
    pub fn heard_at(&self) -> Option<Timestamp> {
        self.0.iter().map(|of| of.at).max()
    }

    /// Since when nothing is heard of them, if that is long ago; `since` is when one began to listen.
    pub fn silent_since(&self, since: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let last = self.heard_at().unwrap_or(since);
        (now.since(last) >= SILENT).then_some(last)
    }

    /// The clock by which reports came was set.
    pub fn clock_was_set(&mut self, moved: impl Fn(&mut Timestamp)) {
        for of in &mut self.0 {
            moved(&mut of.at);
            moved(&mut of.first);
            of.ends.iter_mut().for_each(&moved);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::tests::report;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn said(process: u64, started: i64, ending: bool, in_flight: u64) -> Arc<IngressReport> {
        let of = report(1, in_flight);
        Arc::new(IngressReport { process, started_at: at(started), ending, ..of })
    }

    fn kept(processes: &Processes) -> Vec<u64> {
        processes.all().map(|report| report.process).collect()
    }

    #[test]
    fn a_process_that_was_taken_over_counts_until_it_is_done() {
        let mut processes = Processes::default();
        processes.take(said(1, 0, false, 5), at(100));
        // The successor reports before the first one has said that it ends.
        processes.take(said(2, 100, false, 0), at(101));
        assert_eq!(kept(&processes), [2, 1]);
        processes.take(said(1, 0, true, 5), at(102));
        processes.take(said(2, 100, false, 0), at(103));
        assert_eq!(kept(&processes), [2, 1], "its requests are under way");
        processes.take(said(1, 0, true, 0), at(104));
        assert_eq!(kept(&processes), [2]);
        assert_eq!(processes.serving().unwrap().process, 2);
    }

    /// Found by the simulation (seed 636): a coordinator that had begun anew heard of a process that was taken over, and not yet of
    /// the one that served.
    #[test]
    fn a_process_that_ends_may_have_an_unheard_successor() {
        let mut processes = Processes::default();
        assert!(!processes.are_known(at(99)));
        processes.take(said(1, 0, true, 0), at(100));
        assert!(!processes.are_known(at(101)));
        let mut alone = processes.clone();
        alone.take(said(1, 0, true, 0), at(119));
        assert!(!alone.are_known(at(119)) && alone.are_known(at(120)), "nobody has its listeners");
        processes.take(said(2, 100, false, 0), at(102));
        assert!(processes.are_known(at(102)));
    }

    #[test]
    fn a_process_that_died_is_forgotten_when_its_successor_goes_on() {
        let mut processes = Processes::default();
        processes.take(said(1, 0, false, 5), at(100));
        processes.take(said(2, 101, false, 0), at(110));
        processes.take(said(2, 101, false, 0), at(119));
        assert_eq!(kept(&processes), [2, 1]);
        processes.take(said(2, 101, false, 0), at(120));
        assert_eq!(kept(&processes), [2]);
        // If all are silent, none is forgotten: their host may be cut off.
        processes.take(said(3, 130, false, 0), at(130));
        processes.take(said(2, 101, true, 4), at(131));
        assert_eq!(kept(&processes), [3, 2]);
        assert_eq!(processes.silent_since(at(0), at(150)), None);
        assert_eq!(processes.silent_since(at(0), at(151)), Some(at(131)));
        assert_eq!(Processes::default().silent_since(at(7), at(151)), Some(at(7)));
    }

    /// Found by the simulation: where the clock of a host had been set back, a process that was dead counted for ever.
    #[test]
    fn a_process_serves_after_another_whatever_its_clock_says() {
        let mut processes = Processes::default();
        processes.take(said(1, 500, false, 0), at(100));
        processes.take(said(2, 101, false, 0), at(110));
        processes.take(said(1, 500, false, 0), at(111));
        assert_eq!(kept(&processes), [2, 1]);
        processes.take(said(2, 101, false, 0), at(140));
        assert_eq!(kept(&processes), [2]);
    }

    #[test]
    fn the_last_process_stays_and_the_number_of_them_is_bounded() {
        let mut processes = Processes::default();
        processes.take(said(1, 0, true, 0), at(100));
        assert_eq!(kept(&processes), [1], "nobody else is there");
        for process in 2..20 {
            processes.take(said(process, i64::try_from(process).unwrap(), true, 1), at(101));
        }
        assert_eq!(kept(&processes).len(), MOST);
    }
}
