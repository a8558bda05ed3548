//! The gates of a step: asked at the end of each window, until all of them have passed or one has failed.

use std::time::Duration;

use crate::digest::Digest;
use crate::gate::{
    Answer, Asked, Course, Facts, GateCourse, GateEnd, GateState, Judged, QuestionKey, asked_in, planned,
};
use crate::host::FRESH;
use crate::release::{Gate, GateAsk};
use crate::slot::Waiting;
use crate::time::Timestamp;
use crate::traffic::KEPT;

use super::ending;
use super::model::{Kind, Reason};
use super::planner::Planner;
use super::trial::{GpuErrors, gpu_errors, more, restarts};

/// Time between two looks at requests in the middle of a window. Ingresses report as often.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The state of a step's gates.
pub(super) enum Gates {
    /// All of them have passed.
    Passed,
    /// Some are still asked.
    Going,
    /// One has failed.
    Failed(Reason),
    /// Nobody knows: a person has to look.
    Unclear(Reason),
}

/// Looks at the gates that step `step` (from 1 on) of the rollout asks, over windows that begin at `since`: those that it names, and
/// those that are asked in every step.
pub(super) fn look(planner: &mut Planner<'_>, step: u32, named: &[String], since: Timestamp) -> Gates {
    let Some((_, release)) = planner.target() else { return Gates::Going };
    let of = (step, since);
    let gates = asked_in(&release.spec, step, named);
    if let Some(unknown) = named.iter().find(|name| !gates.contains_key(name.as_str())) {
        let why = "the release has no such gate".to_owned();
        return Gates::Unclear(Reason::Gate { gate: unknown.clone(), end: GateEnd::Inconclusive, why });
    }
    if gates.is_empty() {
        return Gates::Passed;
    }
    if !planner.rollout().gates.as_ref().is_some_and(|course| course.is_of(of)) {
        let to = planner.rollout().to.digest;
        let before = (restarts(planner, &to), gpu_errors(planner, &to).by_instance);
        let course = Course::begin(planner.rollout().gates.as_ref(), of, before);
        planner.rollout().gates = Some(course);
    }
    let mut worst: Option<(GateState, String)> = None;
    for (name, gate) in gates {
        let standing = ask(planner, of, name, gate);
        if gate.dry_run {
            continue;
        }
        if worst.as_ref().is_none_or(|(worst, _)| standing > *worst) {
            worst = Some((standing, name.to_owned()));
        }
    }
    let Some((standing, gate)) = worst else { return Gates::Passed };
    let end = match standing {
        GateState::Passed => return Gates::Passed,
        GateState::Going => return Gates::Going,
        GateState::Failed => GateEnd::Failed,
        GateState::Unclear => GateEnd::Inconclusive,
        GateState::Unasked => GateEnd::ProviderError,
    };
    let course = planner.rollout().gates.as_ref().and_then(|course| course.gates.get(&gate));
    let why = course.and_then(|course| course.newest.as_ref()).map(|newest| newest.why.clone());
    let reason = Reason::Gate { gate, end, why: why.unwrap_or_default() };
    if end == GateEnd::Failed { Gates::Failed(reason) } else { Gates::Unclear(reason) }
}

/// Judges the step that is taken while instances of it, or of the next one, are on their way. Answers whether the rollout goes on.
pub(super) fn goes_on(planner: &mut Planner<'_>, step: u32, named: &[String]) -> bool {
    let shift = planner.rollout().shift.clone();
    let since = shift.filter(|shift| shift.promoted.is_none()).and_then(|shift| shift.watched_since);
    let Some(since) = since.filter(|_| planner.rollout().kind == Kind::Deploy) else { return true };
    let gates = look(planner, step, named, since);
    may_go_on(planner, &gates)
}

/// Goes back where a gate has failed, and pauses where nobody can tell. Answers whether it did neither.
pub(super) fn may_go_on(planner: &mut Planner<'_>, gates: &Gates) -> bool {
    let Some((_, release)) = planner.target() else { return false };
    match gates {
        Gates::Failed(reason) => ending::on_release_failure(planner, &release.spec, reason.clone()),
        Gates::Unclear(reason) => ending::pause(planner, reason.clone()),
        Gates::Going | Gates::Passed => return true,
    }
    false
}

/// Judges the window of a gate if it is over, and what is clear before that. Answers how the gate stands.
fn ask(planner: &mut Planner<'_>, of: (u32, Timestamp), name: &str, gate: &Gate) -> GateState {
    let now = planner.now();
    let known = course(planner, name);
    let standing = known.standing(gate);
    if standing > GateState::Going && !gate.dry_run {
        return standing;
    }
    let (from, until) = Course::next(planner.rollout().gates.as_ref(), of, name, gate, now);
    let asked = asked(planner, of, name, gate, (from, until));
    let judged = if now >= until { at_end(planner, asked) } else { at_once(planner, asked) };
    let Some(judged) = judged else {
        let late = gate.ask.timeout().filter(|_| now >= until);
        planner.wake(if late.is_some() { Course::answer_until(gate, until) } else { until });
        if gate.ask.counts_requests() || gate.ask.counts_events() || late.is_some() {
            planner.wake(now + LOOK_EVERY);
        }
        if !gate.dry_run && (standing == GateState::Going || now >= until) {
            let newest = known.newest.filter(|newest| newest.step == of.0 && newest.until > of.1);
            let (passed, wanted) = (known.passes, gate.passes);
            planner.wait(Waiting::Gate {
                gate: name.to_owned(),
                passed,
                wanted,
                until,
                newest: newest.map(|newest| newest.verdict),
            });
        }
        return standing;
    };
    let mut course = known;
    course.add(&judged);
    let standing = course.standing(gate);
    let ends = standing > GateState::Going && !gate.dry_run;
    planner.note_judged(judged, ends);
    if let Some(all) = &mut planner.rollout().gates {
        all.gates.insert(name.to_owned(), course);
    }
    // The next window has begun.
    planner.wake_now();
    standing
}

fn course(planner: &mut Planner<'_>, name: &str) -> GateCourse {
    let course = planner.rollout().gates.as_ref().and_then(|course| course.gates.get(name));
    course.cloned().unwrap_or_default()
}

fn asked(
    planner: &mut Planner<'_>,
    (step, _): (u32, Timestamp),
    name: &str,
    gate: &Gate,
    (from, until): (Timestamp, Timestamp),
) -> Asked {
    let look = course(planner, name).looks.saturating_add(1);
    let looks = planner.target().map_or(1, |(_, release)| planned(&release.spec, name, gate));
    let compares =
        matches!(gate.ask, GateAsk::ErrorRate { baseline: true, .. } | GateAsk::P95 { baseline: true, .. });
    let rollout = planner.rollout();
    let (release, against) = (rollout.to.counter, rollout.from.filter(|_| compares).map(|from| from.counter));
    let (gate, question) = (name.to_owned(), gate.clone());
    Asked { gate, question, step, release, against, from, until, at_once: false, look, looks }
}

/// Judges a window that has ended; `None` while its answer is waited for.
fn at_end(planner: &mut Planner<'_>, asked: Asked) -> Option<Judged> {
    let facts = match &asked.question.ask {
        GateAsk::ErrorRate { .. } | GateAsk::P95 { .. } => requests(planner, &asked),
        GateAsk::Crashes { .. } => exits(planner),
        GateAsk::GpuErrors { .. } => errors_of_gpus(planner),
        GateAsk::Memory { .. } | GateAsk::Cpu { .. } | GateAsk::GpuMemory { .. } => used(planner, &asked),
        GateAsk::Prometheus { .. } | GateAsk::Http { .. } => {
            Facts::Answer(Box::new(answer(planner, &asked)?))
        }
    };
    Some(Judged::new(asked, facts))
}

/// Judges the open window, and then the step so far, where something is clear before the end of a window. The step has more
/// requests; the window shows what has begun only now.
fn at_once(planner: &mut Planner<'_>, asked: Asked) -> Option<Judged> {
    let since = planner.rollout().gates.as_ref().filter(|_| !asked.question.dry_run)?.since;
    let now = planner.now();
    let kept = since.max(now - KEPT);
    fails_since(planner, asked.from.max(kept), &asked).or_else(|| fails_since(planner, kept, &asked))
}

/// The verdict on the time from `from` until now, if it is clear that the gate fails.
fn fails_since(planner: &mut Planner<'_>, from: Timestamp, asked: &Asked) -> Option<Judged> {
    let asked = Asked { from, until: planner.now(), at_once: true, ..asked.clone() };
    let facts = match &asked.question.ask {
        GateAsk::ErrorRate { .. } => requests(planner, &asked),
        GateAsk::Crashes { .. } => exits(planner),
        GateAsk::GpuErrors { .. } => errors_of_gpus(planner),
        GateAsk::GpuMemory { .. }
        | GateAsk::P95 { .. }
        | GateAsk::Memory { .. }
        | GateAsk::Cpu { .. }
        | GateAsk::Prometheus { .. }
        | GateAsk::Http { .. } => return None,
    };
    let judged = Judged::new(asked, facts);
    (judged.verdict == crate::gate::Verdict::Fail).then_some(judged)
}

/// The requests of both releases in a window.
fn requests(planner: &mut Planner<'_>, asked: &Asked) -> Facts {
    let to = planner.rollout().to.digest;
    let from = planner.rollout().from.filter(|_| asked.against.is_some()).map(|from| from.digest);
    let (fleet, service) = (planner.snapshot.fleet, &planner.service.id);
    let nothing = crate::traffic::ServiceWindows::default();
    let windows = fleet.windows(service).unwrap_or(&nothing);
    let span = (asked.from, asked.until);
    let of = |release: &Digest| windows.window(release, span, &service.environment, fleet.traffic());
    let mut new = of(&to);
    let mut old = from.as_ref().map(of).map(|window| Box::new(window.tally));
    if !matches!(asked.question.ask, GateAsk::P95 { .. }) {
        // Nothing but what the verdict needs is stored.
        new.tally.to_head.clear();
        old.iter_mut().for_each(|old| old.to_head.clear());
    }
    let (reporting, ingresses, faults) = (new.reporting, new.ingresses, new.faults);
    Facts::Requests { new: Box::new(new.tally), old, reporting, ingresses, faults }
}

/// Instances of the new release, as far as their hosts are heard of.
fn instances(planner: &mut Planner<'_>) -> u32 {
    let to = planner.rollout().to.digest;
    let facts = planner.slots.keys().filter_map(|slot| planner.facts(slot).last());
    let count = facts.flat_map(|seen| &seen.instances).filter(|instance| instance.release == to).count();
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Exits of the new release's instances since the step began.
fn exits(planner: &mut Planner<'_>) -> Facts {
    let to = planner.rollout().to.digest;
    let now = restarts(planner, &to);
    let before =
        planner.rollout().gates.as_ref().map(|course| course.restarts_before.clone()).unwrap_or_default();
    Facts::Exits { exits: more(&now, &before), instances: instances(planner) }
}

/// Errors of the GPUs of the new release's instances since the step began.
fn errors_of_gpus(planner: &mut Planner<'_>) -> Facts {
    let to = planner.rollout().to.digest;
    let GpuErrors { by_instance, last, measured, instances } = gpu_errors(planner, &to);
    let course = planner.rollout().gates.as_ref();
    let before = course.map(|course| course.gpu_errors_before.clone()).unwrap_or_default();
    let errors = more(&by_instance, &before);
    let faults = if errors > 0 { last } else { Vec::new() };
    Facts::GpuErrors { errors, measured, instances, faults }
}

/// The use of the instance that uses the most, as far as hosts have told lately.
fn used(planner: &mut Planner<'_>, asked: &Asked) -> Facts {
    let (to, now, fleet) = (planner.rollout().to.digest, planner.now(), planner.snapshot.fleet);
    let limit = planner.target().map_or(0, |(_, release)| release.spec.resources.cpu_millis);
    let (mut most, mut measured, mut instances) = (None, 0_u32, 0_u32);
    for slot in planner.slots.keys() {
        let facts = planner.facts(slot);
        let seen = facts.last().into_iter().flat_map(|seen| &seen.instances);
        for instance in seen.filter(|instance| instance.release == to && instance.state.is_running()) {
            instances = instances.saturating_add(1);
            let usage = fleet.usage(facts.host(), &instance.id).filter(|usage| now.since(usage.at) <= FRESH);
            let of_cpu = matches!(asked.question.ask, GateAsk::Cpu { .. });
            let of_gpu = matches!(asked.question.ask, GateAsk::GpuMemory { .. });
            let share = usage.and_then(|usage| match (of_cpu, of_gpu) {
                (true, _) => usage.cpu_share(limit),
                (false, true) => usage.gpu_memory_share(),
                (false, false) => usage.memory_share(),
            });
            measured = measured.saturating_add(u32::from(share.is_some()));
            most = most.max(share);
        }
    }
    Facts::Used { most, measured, instances }
}

/// The answer of a provider, or that there is none in time.
fn answer(planner: &mut Planner<'_>, asked: &Asked) -> Option<Answer> {
    let rollout = planner.rollout().id.clone();
    let key = QuestionKey { rollout, gate: asked.gate.clone(), until: asked.until };
    if let Some(answer) = planner.snapshot.fleet.answer(&key) {
        return Some(answer);
    }
    let late = planner.now() >= Course::answer_until(&asked.question, asked.until);
    late.then(|| Answer::missing(asked.until))
}
