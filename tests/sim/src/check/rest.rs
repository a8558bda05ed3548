//! After the last event, when everything is whole again: every rollout has ended, nothing is done any more, and
//! everything that is to serve, serves.

use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_certs::json::decode_bounded;
use windlass_core::audit::Checkpoint;
use windlass_core::plan::Phase;
use windlass_core::service::Mode;
use windlass_core::{SlotId, Timestamp};
use windlass_server::embedded::View;

use super::lanes::{endpoints, tables_at_rest};
use crate::context::Context;
use crate::host::Host;

/// The reason for which the world is not at rest; `None` if it is.
pub fn at_rest(view: &View<'_>, context: &Context, hosts: &[Host]) -> Option<String> {
    let now = context.now;
    let tables = || tables_at_rest(view, hosts).filter(|_| context.is_routed);
    let services = || services(view, context, hosts);
    coordinator(view, now).or_else(|| agents(view, context, hosts)).or_else(services).or_else(tables)
}

fn coordinator(view: &View<'_>, now: Timestamp) -> Option<String> {
    if view.is_set_back() {
        return Some("recovery is pending".to_owned());
    }
    for id in view.services().keys() {
        if let Some(rollout) = view.active(id) {
            let waiting: Vec<String> =
                view.advance(id, now).into_iter().flat_map(|a| a.waiting).map(|w| w.to_string()).collect();
            return Some(format!(
                "{id}: the rollout of {} has not ended: {} since {}, waits for {waiting:?}",
                rollout.to.counter,
                rollout.state.as_str(),
                rollout.state_since
            ));
        }
        if !view.is_idle(id, now) {
            return Some(format!("{id}: one more step of the coordinator is not empty"));
        }
    }
    None
}

fn agents(view: &View<'_>, context: &Context, hosts: &[Host]) -> Option<String> {
    for host in hosts.iter().filter(|host| view.scheduling(&host.name).is_some()) {
        let (held, issued) = (host.seq(), view.issued(&host.name));
        if held != issued {
            return Some(format!("{} is at plan {held}, the newest is {issued}", host.name));
        }
        if let Err(why) = host.is_settled(context) {
            return Some(format!("{}: {why}", host.name));
        }
    }
    None
}

/// Every slot of a service that is at its good release serves it, once, and nothing else runs.
fn services(view: &View<'_>, context: &Context, hosts: &[Host]) -> Option<String> {
    let now = context.now;
    for (id, service) in view.services() {
        if service.mode != Mode::Running {
            let runs = hosts
                .iter()
                .flat_map(|host| host.engine.processes.values())
                .find(|process| &process.container.slot.service == id && process.container.state.is_up());
            if let Some(process) = runs {
                return Some(format!(
                    "{} runs, although its service is {:?}",
                    process.container.instance, service.mode
                ));
            }
            continue;
        }
        let Some(good) = service.last_good().filter(|good| service.current == Some(*good)) else { continue };
        let none = Default::default();
        let slots = view.slots().get(id).unwrap_or(&none);
        for (slot, assignment) in slots {
            let want = assignment.plan();
            let member = view.scheduling(assignment.host()).is_some();
            // Of a good release that has turned bad no slot arrives, and what it was to replace serves on.
            if member && !context.shop.behaves(&good.digest) {
                continue;
            }
            let host = hosts.iter().find(|host| member && &host.name == assignment.host());
            let Some(host) = host else {
                return Some(format!("{slot} is on {}, which is no member", assignment.host()));
            };
            // A coordinator that was set back may go on with what has come below the floor meanwhile.
            if host.is_below_floor(context, slot) {
                continue;
            }
            let up: Vec<_> = host
                .engine
                .processes
                .values()
                .filter(|process| &process.container.slot == slot && process.container.state.is_up())
                .collect();
            if want.phase != Phase::Running || want.release != good.digest {
                let waiting: Vec<String> = view
                    .advance(id, now)
                    .into_iter()
                    .flat_map(|a| a.waiting)
                    .map(|w| w.to_string())
                    .collect();
                return Some(format!(
                    "{slot} is not at the good release {}: {want:?}; waits for {waiting:?}; {}",
                    good.counter,
                    said(host, slot)
                ));
            }
            if up.len() != 1 || up.iter().any(|process| process.container.release != good.digest) {
                let names: Vec<&str> = up.iter().map(|process| process.container.instance.as_str()).collect();
                return Some(format!(
                    "{slot}: {names:?} run, one of {} should; {}",
                    good.counter,
                    said(host, slot)
                ));
            }
            if !up.iter().all(|process| process.serves()) {
                return Some(format!("{slot} does not serve; {}", said(host, slot)));
            }
        }
        let leads = endpoints(view, &id.name, &good.digest);
        if context.is_routed && context.shop.behaves(&good.digest) && leads < slots.len() {
            return Some(format!("{id}: the table leads to {leads} of {} instances", slots.len()));
        }
        let release = &context.shop.signed.get(&good.digest)?.release;
        // Of a good release that has turned bad, a slot on its way elsewhere never arrives.
        if !context.shop.behaves(&good.digest) {
            continue;
        }
        // A slot that went with the volume of an evicted host is made again when a person says so.
        let wanted = service.replicas_for(release).map(|wanted| wanted.saturating_sub(service.given_up));
        // A fixed port is free once on each host.
        let members = hosts.iter().filter(|host| view.scheduling(&host.name).is_some()).count();
        let most =
            if release.spec.ports.values().any(|port| port.host.is_some()) { members } else { usize::MAX };
        let wanted = wanted.map(|wanted| (wanted as usize).min(most));
        if let Some(wanted) = wanted.filter(|wanted| slots.len() != *wanted) {
            return Some(format!("{id} has {} slots, {wanted} are wanted", slots.len()));
        }
    }
    strays(view, hosts)
}

/// The host's last word about a slot, for the message of a violation.
fn said(host: &Host, slot: &SlotId) -> String {
    let report = host.agent.as_ref().and_then(|agent| agent.report.as_ref());
    let of_slot = report.map(|report| (report.seq, &report.engine, &report.plan_refusal, report.slot(slot)));
    format!("its host says {of_slot:?}")
}

/// Nothing runs that no slot stands for.
fn strays(view: &View<'_>, hosts: &[Host]) -> Option<String> {
    for host in hosts.iter().filter(|host| view.scheduling(&host.name).is_some()) {
        for process in host.engine.processes.values().filter(|process| process.container.state.is_up()) {
            let slot = &process.container.slot;
            let assignment = view.slots().get(&slot.service).and_then(|slots| slots.get(slot));
            if assignment.is_none_or(|assignment| assignment.host() != &host.name) {
                return Some(format!(
                    "{} runs on {} and no slot stands for it",
                    process.container.instance, host.name
                ));
            }
        }
    }
    None
}

/// A checkpoint, as it was signed.
pub fn checkpoint(envelope: &[u8]) -> Option<Checkpoint> {
    let envelope = Envelope::parse(envelope, PayloadType::Audit.max_len()).ok()?;
    decode_bounded(envelope.payload_bytes(), PayloadType::Audit.max_len()).ok()
}
