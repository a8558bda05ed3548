//! Reads the log of one container and sends its lines on: the last lines, or what came after the last one that was
//! read, and then, when it is followed, every run of the container until it is removed.
//!
//! The engine is never held back for long, since it would lose lines at a rotation of its log and not say so. While a
//! reader pauses, its stream is closed; the log is read on from where it was once there is room again.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::mpsc::Permit;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use windlass_core::Timestamp;
use windlass_core::observation::Observation;
use windlass_core::reconcile::ContainerState;
use windlass_process::merge::{Item, Position};
use windlass_proto::pb::LogNote;

use super::line::{GAP, GONE, Line, State, ending, why};
use super::reading::{Fate, Reading, Resume, after, is_before, window};
use super::wanted::{Target, Wanted};
use crate::clock;
use crate::runtime::{LogLine, LogOptions, Runtime, RuntimeError};

/// Lines that wait to be merged.
pub(super) const CAPACITY: usize = 16;
/// Least time between two looks at a container that stands still.
const PAUSE: Duration = Duration::from_millis(200);
/// A log that is silent for so long has shown its past.
const IDLE: Duration = Duration::from_millis(300);
/// Time between two looks whether a container runs again, if nothing is heard.
const LOOK: Duration = Duration::from_secs(1);
/// The longest time that a line waits for its reader before the engine's stream is closed.
const STALL: Duration = Duration::from_secs(1);

/// The end of reading.
enum Ended {
    /// Nobody reads, or `until` has passed.
    Enough,
    /// The engine's stream ended.
    Quiet,
    /// The reader pauses.
    Held,
    /// The engine failed.
    Failed(RuntimeError),
}

/// An engine notes a start when the process runs already: its first line may be older by as much. It waits for twice that
/// between the end of a run and the next start.
const NOTED: Duration = Duration::from_millis(50);

/// The task of one container.
pub(super) struct Source<R> {
    pub(super) runtime: Arc<R>,
    pub(super) target: Target,
    pub(super) wanted: Arc<Wanted>,
    pub(super) report: watch::Receiver<Arc<Observation>>,
    pub(super) out: mpsc::Sender<Item<Line>>,
    /// The reader has more to take than it should; nothing is begun until it has not.
    pub(super) is_held: watch::Receiver<bool>,
    /// It appeared while the service was followed.
    pub(super) joins: bool,
}

impl<R: Runtime> Source<R> {
    /// Reads until the end; answers with why it failed, if it did.
    pub(super) async fn run(mut self) -> Option<String> {
        let mut wanted = Wanted::clone(&self.wanted);
        let mut resume = Resume::new(wanted.after.get(&self.target.instance).copied());
        if self.joins {
            self.note(LogNote::Started, "started", resume.newest()).await;
        }
        if wanted.previous {
            match self.before_this_run().await {
                Ok(Some(until)) => wanted.until = Some(wanted.until.map_or(until, |at| at.min(until))),
                Ok(None) => {}
                Err(error) => return Some(why(&error)),
            }
        }
        if wanted.follow {
            self.follow(wanted, resume).await;
            return None;
        }
        let last = resume.newest();
        let reading = match window(&*self.runtime, &self.target.container, &wanted, last).await {
            Ok(reading) => reading,
            Err(error) => return Some(why(&error)),
        };
        match self.read(reading, &wanted, &mut resume).await {
            Ended::Enough | Ended::Quiet | Ended::Held => None,
            Ended::Failed(error) => Some(why(&error)),
        }
    }

    async fn follow(&mut self, mut wanted: Wanted, mut resume: Resume) {
        let (mut is_first, mut before) = (true, None);
        loop {
            let began = match before.take() {
                Some(began) => began,
                None => self.state().await,
            };
            let last = resume.newest();
            let reading = match last {
                _ if is_first && !self.joins => {
                    window(&*self.runtime, &self.target.container, &wanted, last).await
                }
                Some(last) => Ok(after(last)),
                None => Ok(Reading { since: wanted.since, ..Reading::default() }),
            };
            let ended = match reading {
                Ok(reading) => {
                    if std::mem::take(&mut is_first) && last.is_none() && reading.tail == Some(0) {
                        wanted.since = wanted.since.max(Some(clock::now())); // no older line comes later either
                    }
                    self.read(Reading { follow: true, ..reading }, &wanted, &mut resume).await
                }
                Err(error) => Ended::Failed(error),
            };
            match ended {
                Ended::Enough => return,
                Ended::Held => {
                    if !self.has_room().await {
                        return;
                    }
                    if matches!(self.state().await, Ok(None)) {
                        self.note(LogNote::Dropped, GONE, resume.newest()).await;
                        return;
                    }
                    before = Some(began); // how that run ended is said when its lines were read
                    continue;
                }
                Ended::Quiet | Ended::Failed(_) => {}
            }
            if self.out.send(Item::Current).await.is_err() {
                return;
            }
            let now = self.state().await;
            if let Some(text) = ending(&began, &now) {
                self.note(LogNote::Ended, &text, resume.newest()).await;
            }
            if matches!(now, Ok(None)) || !self.runs_again(&wanted).await {
                return;
            }
        }
    }

    /// Waits until the reader has taken most of what waits for it. `false`: it is gone.
    async fn has_room(&mut self) -> bool {
        tokio::select! {
            held = self.is_held.wait_for(|is_held| !is_held) => held.is_ok(),
            () = self.out.closed() => false,
        }
    }

    /// Waits until the container runs. `false`: it is gone, nobody reads, or `until` has passed.
    async fn runs_again(&mut self, wanted: &Wanted) -> bool {
        loop {
            // An engine that ends its streams at once is not asked in a tight loop.
            if timeout(PAUSE, self.out.closed()).await.is_ok()
                || wanted.until.is_some_and(|until| clock::now() >= until)
            {
                return false;
            }
            match self.state().await {
                Ok(Some(state)) if state.is_up() => return true,
                Ok(None) => return false,
                // Stopped, or an engine that is away: looked at again when something is heard, or in a while.
                Ok(Some(_)) | Err(_) => drop(timeout(LOOK, self.report.changed()).await),
            }
        }
    }

    async fn state(&self) -> State {
        let seen = self.runtime.inspect(&self.target.container).await?;
        Ok(seen.map(|seen| seen.state))
    }

    /// When the present run began, if there is one.
    async fn before_this_run(&self) -> Result<Option<Timestamp>, RuntimeError> {
        Ok(match self.state().await? {
            Some(ContainerState::Running { started_at }) => Some(started_at - NOTED),
            Some(ContainerState::Created) => Some(Timestamp::ZERO),
            Some(ContainerState::Restarting | ContainerState::Exited { .. }) | None => None,
        })
    }

    /// Sends the lines of one stream of the engine.
    async fn read(&self, reading: Reading, wanted: &Wanted, resume: &mut Resume) -> Ended {
        let opened = clock::now();
        let options = LogOptions { tail: reading.tail, since: reading.since, follow: reading.follow };
        let mut lines = self.runtime.logs(&self.target.container, options);
        let (mut skip, mut is_current) = (reading.skip, !reading.follow);
        resume.begin(reading.after);
        loop {
            let left = wanted.until.filter(|_| reading.follow).map(|until| until.since(clock::now()));
            let line = tokio::select! {
                biased;
                line = lines.next() => line,
                () = self.out.closed() => return Ended::Enough,
                () = tokio::time::sleep(IDLE), if !is_current => {
                    is_current = true;
                    if self.out.send(Item::Current).await.is_err() { return Ended::Enough }
                    continue;
                }
                () = tokio::time::sleep(left.unwrap_or_default()), if left.is_some() => return Ended::Enough,
            };
            let line = match line {
                Some(Ok(line)) => line,
                Some(Err(error)) => return Ended::Failed(error),
                None => return Ended::Quiet,
            };
            if skip > 0 {
                skip -= 1;
                continue;
            }
            if !is_before(&line, wanted.until) {
                return Ended::Enough;
            }
            let last = resume.newest();
            match resume.judge(line.nanos) {
                Fate::Known => continue,
                Fate::NewAfterGap => self.note(LogNote::Dropped, GAP, last).await,
                Fate::New => {}
            }
            if wanted.since.is_some_and(|since| line.at.is_some_and(|at| at < since)) {
                continue;
            }
            let becomes_current = !is_current && line.at.is_some_and(|at| at >= opened);
            let permit = match self.place(reading.follow).await {
                Some(Place::AtOnce(permit)) => permit,
                Some(Place::Late) => {
                    drop(lines);
                    let Ok(permit) = self.out.reserve().await else { return Ended::Enough };
                    self.pass(permit, line);
                    return Ended::Held;
                }
                None => return Ended::Enough,
            };
            self.pass(permit, line);
            if becomes_current {
                is_current = true;
                if self.out.send(Item::Current).await.is_err() {
                    return Ended::Enough;
                }
            }
        }
    }

    /// A place for the next line. One that only counts what is kept may wait as long as it takes.
    async fn place(&self, follow: bool) -> Option<Place<'_>> {
        match timeout(if follow { STALL } else { Duration::MAX }, self.out.reserve()).await {
            Ok(permit) => permit.ok().map(Place::AtOnce),
            Err(_) => Some(Place::Late),
        }
    }

    fn pass(&self, permit: Permit<'_, Item<Line>>, line: LogLine) {
        permit.send(Item::Entries(vec![Line::of(&self.target.instance, line)]));
    }

    /// Says something about the instance, in its place among the lines.
    async fn note(&self, note: LogNote, text: &str, last: Option<Position>) {
        let line = Line::note(&self.target.instance, note, text, last);
        drop(self.out.send(Item::Entries(vec![line])).await);
    }
}

/// The place of the next line.
enum Place<'a> {
    AtOnce(Permit<'a, Item<Line>>),
    /// The reader pauses.
    Late,
}
