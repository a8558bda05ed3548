//! Requests of an agent to its engine, which take their time, and fail.

use std::time::Duration;

use windlass_core::observation::PullProgress;
use windlass_core::reconcile::{LocalImage, Outcome, PullFailure, StartFailure, Step, Target};
use windlass_core::{Digest, Span};

use crate::context::Context;
use crate::engine::{Reachability, Request};
use crate::event::{Event, Life};
use crate::host::Host;
use crate::shop::Behaviour;

/// A pull without a byte for so long is given up.
const STALLED: Span = Span::from_secs(120);
/// The exit code of a process that was told to stop, as nothing else ends here.
pub const STOPPED: i64 = 143;
/// Bytes of an image that come in a second.
const SPEED: u64 = 3000;

/// The next step of a request.
enum Next {
    /// There is more to do, so much later.
    Again(Duration),
    /// It is done; what it taught.
    Done(Vec<Outcome>),
}

impl Host {
    /// Begins a step that was decided.
    pub(super) fn begin(&mut self, context: &mut Context, step: Step) {
        let Some(life) = self.agent.as_ref().map(|agent| agent.life) else { return };
        if let Some(slot) = step.slot()
            && self.busy(life).contains(slot)
        {
            return context.checks.fail(format!("{}: two operations at once on {slot}: {step:?}", self.name));
        }
        self.check_start(context, &step);
        self.note_excuse(context, &step);
        context.say(|| format!("{} {} {}", self.name, step.verb(), about(&step)));
        let takes = match &step {
            Step::Pull { .. } => context.dice.millis(200, 1200),
            Step::Stop(_) | Step::Restart(_) => context.dice.millis(50, 4000),
            _ => context.dice.millis(30, 900),
        };
        let number = self.engine.request(step, life, context.now);
        context.queue.push(context.now + takes, Event::Request(self.index, number));
    }

    /// A request gets further.
    pub fn request(&mut self, context: &mut Context, number: u64) {
        let Some(request) = self.engine.requests.get(&number).cloned() else { return };
        let again = |context: &mut Context, after: Duration| {
            context.queue.push(context.now + after, Event::Request(self.index, number));
        };
        match self.engine.standing {
            Reachability::Hung if !request.is_orphan => return again(context, Duration::from_secs(1)),
            Reachability::Hung | Reachability::Down => {
                self.engine.requests.remove(&number);
                let gone = "the engine went away".to_owned();
                let slot = request.step.slot().cloned();
                let outcomes = slot.map(|slot| Outcome::StepFailed { slot, message: gone });
                return self.finish(context, &request, outcomes.into_iter().collect());
            }
            Reachability::Up => {}
        }
        match self.perform(context, &request, number) {
            Next::Again(_) if request.is_orphan => drop(self.engine.requests.remove(&number)),
            Next::Again(after) => {
                if let Some(request) = self.engine.requests.get_mut(&number) {
                    request.stage += 1;
                }
                context.queue.push(context.now + after, Event::Request(self.index, number));
                self.notice(context);
            }
            Next::Done(outcomes) => {
                self.engine.requests.remove(&number);
                self.finish(context, &request, outcomes);
            }
        }
    }

    /// The asker hears of it, if it is still there.
    fn finish(&mut self, context: &mut Context, request: &Request, outcomes: Vec<Outcome>) {
        if let Some(agent) = self.agent.as_mut().filter(|agent| agent.life == request.life) {
            agent.outcomes.extend(outcomes);
        }
        self.wake(context, Duration::from_millis(1));
    }

    fn perform(&mut self, context: &mut Context, request: &Request, number: u64) -> Next {
        let fails = self.is_flaky && context.dice.chance(25);
        match &request.step {
            Step::Pull { image } => return self.pull(context, image.digest, number),
            Step::RemoveImage { image, .. } => drop(self.engine.images.remove(image)),
            Step::Launch(launch) if request.stage == 0 => {
                if fails {
                    return refused(&launch.slot, &launch.instance, launch.release.digest);
                }
                if !self.engine.images.contains_key(&launch.release.release.spec.image.digest) {
                    let failure = StartFailure::ImageMissing;
                    let (slot, instance) = (launch.slot.clone(), launch.instance.clone());
                    let release = launch.release.digest;
                    return Next::Done(vec![Outcome::StartFailed { slot, instance, release, failure }]);
                }
                self.engine.create(launch, context.now);
                return Next::Again(context.dice.millis(20, 800));
            }
            Step::Launch(launch) => {
                let id = self.engine.named(&launch.instance).map(|process| process.container.id.clone());
                let Some(id) = id else { return Next::Done(Vec::new()) };
                let target = Target {
                    slot: launch.slot.clone(),
                    instance: launch.instance.clone(),
                    container: id.clone(),
                    release: launch.release.digest,
                };
                let outcomes = self.start_process(context, &target, fails);
                if !outcomes.is_empty() {
                    self.engine.processes.remove(&id); // nothing of it is of use
                    return Next::Done(outcomes);
                }
                let (slot, instance) = (target.slot, target.instance);
                return Next::Done(vec![Outcome::Launched { slot, instance, container: id }]);
            }
            Step::Start(target) => return Next::Done(self.start_process(context, target, fails)),
            Step::Restart(target) if request.stage == 0 => {
                if fails {
                    return failed(target);
                }
                self.stop_process(context, target);
                return Next::Again(context.dice.millis(20, 400));
            }
            Step::Restart(target) => return Next::Done(self.start_process(context, target, fails)),
            Step::Stop(target) => {
                if fails {
                    return failed(target);
                }
                self.stop_process(context, target);
            }
            Step::Remove(target) => {
                let up =
                    self.engine.processes.get(&target.container).is_some_and(|p| p.container.state.is_up());
                if fails || up {
                    return failed(target);
                }
                self.engine.processes.remove(&target.container);
            }
            Step::KeepRunning(target) => {
                if fails {
                    return failed(target);
                }
                if let Some(process) = self.engine.processes.get_mut(&target.container) {
                    process.container.policy = windlass_core::reconcile::RestartPolicy::UnlessStopped;
                }
            }
            Step::Task { .. } => {} // a start that must not be: `check_start` says so
            Step::CollectLog(target) => {
                let (slot, instance) = (target.slot.clone(), target.instance.clone());
                return Next::Done(vec![Outcome::Log { slot, instance, lines: vec!["boom".to_owned()] }]);
            }
        }
        Next::Done(Vec::new())
    }

    fn pull(&mut self, context: &mut Context, image: Digest, number: u64) -> Next {
        let program = context.shop.images.get(&image).copied();
        let Some(request) = self.engine.requests.get_mut(&number) else { return Next::Done(Vec::new()) };
        if request.is_orphan {
            return Next::Done(Vec::new());
        }
        let failed = |failure| Next::Done(vec![Outcome::PullFailed { image, failure }]);
        let behaviour = program.map(|program| program.behaviour);
        if self.no_registry {
            // Half of the time it answers nothing at all, and somebody has to give up.
            let silent = context.now.since(request.moved_at);
            if number.is_multiple_of(2) && silent < STALLED.duration() {
                return Next::Again(Duration::from_secs(5));
            }
            let stalled = number.is_multiple_of(2);
            return failed(if stalled {
                PullFailure::Stalled(STALLED)
            } else {
                PullFailure::Failed("the registry does not answer".to_owned())
            });
        }
        match (program, behaviour) {
            (None, _) | (_, Some(Behaviour::CannotPull)) => {
                failed(PullFailure::Failed("no such image".to_owned()))
            }
            (_, Some(Behaviour::WrongImage)) => failed(PullFailure::WrongImage("other bytes".to_owned())),
            (Some(program), _) if request.bytes < program.size => {
                request.bytes = (request.bytes + SPEED).min(program.size);
                request.moved_at = context.now;
                let progress = PullProgress { done: request.bytes, total: program.size };
                Next::Again(if progress.done < progress.total {
                    Duration::from_secs(1)
                } else {
                    Duration::ZERO
                })
            }
            (Some(program), _) => {
                let id = image.to_string();
                self.engine
                    .images
                    .insert(image, LocalImage { id: id.clone(), size: program.size, origins: None });
                Next::Done(vec![Outcome::Pulled { image, id }])
            }
        }
    }

    fn start_process(&mut self, context: &mut Context, target: &Target, fails: bool) -> Vec<Outcome> {
        let Some(process) = self.engine.processes.get(&target.container) else { return Vec::new() };
        let Some(program) = program_of(context, &process.container.release) else { return Vec::new() };
        let (slot, instance, release) = (target.slot.clone(), target.instance.clone(), target.release);
        if let Some(port) = self.engine.taken_port(&target.container) {
            let failure = StartFailure::PortTaken(port);
            return vec![Outcome::StartFailed { slot, instance, release, failure }];
        }
        if fails || program.behaviour == Behaviour::CannotStart {
            let failure = StartFailure::Failed("the engine says no".to_owned());
            return vec![Outcome::StartFailed { slot, instance, release, failure }];
        }
        if let Some(process) = self.engine.processes.get_mut(&target.container) {
            process.container.restarts = 0;
            process.again = 0;
        }
        self.run(context, &target.container);
        Vec::new()
    }

    /// Begins a run of a process, and says what will become of it.
    pub fn run(&mut self, context: &mut Context, id: &str) {
        let now = self.clock(context.now);
        let Some(run) = self.engine.begin(id, now) else { return };
        let Some(process) = self.engine.processes.get_mut(id) else { return };
        process.is_unplanned |= self.is_deceived;
        let Some(program) = program_of(context, &process.container.release) else { return };
        context.checks.runs(&self.name, &process.container);
        let ready = Duration::from_millis(program.start);
        let later = ready + context.dice.seconds(4, 20);
        let soon = context.dice.millis(50, 900);
        let fate: Vec<(Duration, Life)> = match program.behaviour {
            Behaviour::Good => vec![(ready, Life::Ready)],
            Behaviour::ExitsAtOnce => vec![(soon, Life::Exits(1, false))],
            Behaviour::OutOfMemory => vec![(soon, Life::Exits(137, true))],
            Behaviour::CrashesLater => vec![(ready, Life::Ready), (later, Life::Exits(3, false))],
            Behaviour::TurnsUnready => vec![(ready, Life::Ready), (later, Life::Unready)],
            Behaviour::Hangs => vec![(ready, Life::Ready), (later, Life::Hangs)],
            Behaviour::NeverReady
            | Behaviour::CannotPull
            | Behaviour::WrongImage
            | Behaviour::CannotStart => Vec::new(),
        };
        for (after, what) in fate {
            context.queue.push(context.now + after, Event::Life(self.index, id.to_owned(), run, what));
        }
        self.notice(context);
    }

    fn stop_process(&mut self, context: &mut Context, target: &Target) {
        let now = self.clock(context.now);
        if let Some(process) = self.engine.processes.get_mut(&target.container) {
            process.by_hand = true;
        }
        self.note_routed(context, &target.container);
        self.note_stop(context, &target.container);
        self.engine.end(&target.container, STOPPED, false, now);
    }

    /// Something happens to a process.
    pub fn live(&mut self, context: &mut Context, id: &str, run: u64, what: Life) {
        let now = self.clock(context.now);
        let is_up = self.engine.standing == Reachability::Up;
        let Some(process) = self.engine.processes.get_mut(id).filter(|process| process.run == run) else {
            return;
        };
        use windlass_core::reconcile::{ContainerState, RestartPolicy};
        let running = matches!(process.container.state, ContainerState::Running { .. });
        match what {
            Life::Ready if running => (process.ready, process.ready_since) = (true, context.now),
            Life::Unready if running => (process.ready, process.misbehaved) = (false, true),
            Life::Hangs if running => (process.live, process.misbehaved) = (false, true),
            Life::Exits(code, oom) if running => {
                process.misbehaved = true;
                let revived = process.container.policy == RestartPolicy::UnlessStopped && !process.by_hand;
                process.again = (process.again + 1).min(8);
                let after = Duration::from_millis(100 << process.again);
                self.engine.end(id, code, oom, now);
                if revived && let Some(process) = self.engine.processes.get_mut(id) {
                    process.container.state = ContainerState::Restarting;
                    let event = Event::Life(self.index, id.to_owned(), run, Life::Revived);
                    context.queue.push(context.now + after, event);
                }
            }
            Life::Revived if process.container.state == ContainerState::Restarting => {
                if !is_up {
                    let event = Event::Life(self.index, id.to_owned(), run, Life::Revived);
                    context.queue.push(context.now + Duration::from_secs(1), event);
                    return;
                }
                process.container.restarts += 1;
                self.run(context, id);
            }
            Life::Ready | Life::Unready | Life::Hangs | Life::Exits(..) | Life::Revived => return,
        }
        match what {
            Life::Ready => self.ask_soon(context, id, (50, 1000)),
            Life::Unready => self.ask_soon(context, id, (1000, 2500)),
            Life::Hangs => self.ask_soon(context, id, (2000, 5000)),
            Life::Exits(..) | Life::Revived => self.notice(context),
        }
    }
}

fn program_of(context: &Context, release: &Digest) -> Option<crate::shop::Program> {
    let image = context.shop.signed.get(release)?.release.spec.image.digest;
    context.shop.images.get(&image).copied()
}

fn refused(slot: &windlass_core::SlotId, instance: &str, release: Digest) -> Next {
    let failure = StartFailure::Failed("the engine says no".to_owned());
    Next::Done(vec![Outcome::StartFailed {
        slot: slot.clone(),
        instance: instance.to_owned(),
        release,
        failure,
    }])
}

fn failed(target: &Target) -> Next {
    let message = "the engine says no".to_owned();
    Next::Done(vec![Outcome::StepFailed { slot: target.slot.clone(), message }])
}

fn about(step: &Step) -> String {
    match step {
        Step::Pull { image } => image.digest.short(),
        Step::RemoveImage { id, .. } => id.clone(),
        Step::Task { key, .. } => key.clone(),
        Step::Launch(launch) => launch.instance.clone(),
        Step::Start(target)
        | Step::Restart(target)
        | Step::Stop(target)
        | Step::Remove(target)
        | Step::KeepRunning(target)
        | Step::CollectLog(target) => target.instance.clone(),
    }
}
