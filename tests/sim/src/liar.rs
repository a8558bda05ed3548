//! A coordinator that lies: it has the key that signs plans, and signs what no honest one would. It offers older plans
//! again, and plans that name what failed on the host, what is below the floor, or another release without a word about
//! the one that serves. Everything in them was signed by whoever may.

use std::time::Duration;

use bytes::Bytes;
use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_certs::json::decode_bounded;
use windlass_core::plan::{HostPlan, Order, Phase, PlanSlot};
use windlass_core::{Counter, Digest};

use crate::context::Context;
use crate::event::{Down, Event};
use crate::host::Host;
use crate::keys::keys;
use crate::operator::Action;
use crate::world::World;

impl World {
    /// A host is lied to, on its own stream, which does not last much longer.
    pub(crate) fn lie(&mut self, index: usize) {
        let (context, host) = (&mut self.context, &mut self.hosts[index]);
        let link =
            host.agent.as_ref().and_then(|agent| agent.link.as_ref()).filter(|link| link.is_welcomed());
        let Some(stream) = link.map(|link| link.stream) else { return };
        if context.dice.chance(25) {
            replay(context, host, stream);
        } else if let Some((plan, release)) = invent(context, host) {
            let Some(signed) = context.shop.signed.get(&release) else { return };
            let named = signed.envelope.to_bytes();
            let envelope = keys().plan(&plan);
            context.say(|| format!("{} is lied to: plan {} names {}", host.name, plan.seq, release.short()));
            host.lies.extend(Envelope::parse(&envelope, PayloadType::Plan.max_len()).map(|e| e.digest()));
            let releases = Down::Releases(vec![(release, Some(named))]);
            context.queue.push(context.now, Event::Down(index, stream, releases));
            context.queue.push(context.now, Event::Down(index, stream, Down::Plan(envelope.into())));
            is_found_out(context, index);
        }
        let ends = context.now + context.dice.millis(300, 6000);
        context.queue.push(ends, Event::Silent(index, stream));
    }
}

/// A person notices, some time later, what a host was made to believe.
pub(crate) fn is_found_out(context: &mut Context, index: usize) {
    let at = context.now + context.dice.seconds(5, 90);
    context.queue.push(at, Event::Act(Action::Cleanse(index)));
}

/// A plan from before, as it was signed.
fn replay(context: &mut Context, host: &Host, stream: u64) {
    let older = context.plans.get(&host.index).map(Vec::as_slice).unwrap_or_default();
    if older.is_empty() {
        return;
    }
    let plan: Bytes = context.dice.pick(older).clone();
    context.say(|| format!("{} is offered an older plan", host.name));
    context
        .queue
        .push(context.now + Duration::from_millis(1), Event::Down(host.index, stream, Down::Plan(plan)));
}

/// The newest plan of a host, but for one or all slots of a service, and the release that those get.
fn invent(context: &mut Context, host: &Host) -> Option<(HostPlan, Digest)> {
    let mark = host.disk.state.as_ref()?.plan.as_ref()?;
    let envelope = Envelope::parse(mark.envelope.as_bytes(), PayloadType::Plan.max_len()).ok()?;
    let mut plan: HostPlan = decode_bounded(envelope.payload_bytes(), PayloadType::Plan.max_len()).ok()?;
    if plan.slots.is_empty() {
        return None;
    }
    let about = context.dice.pick(&plan.slots).clone();
    let candidates = bad(context, host, &about);
    let release = if candidates.is_empty() { return None } else { *context.dice.pick(&candidates) };
    plan.seq += 1;
    plan.issued_at = context.now;
    plan.expires_at = context.now + Duration::from_secs(3600);
    for slot in plan.slots.iter_mut().filter(|slot| slot.slot.service == about.slot.service) {
        *slot = PlanSlot {
            release,
            phase: Phase::Running,
            good: false,
            fallback: None,
            order: Order::StartFirst,
            previous: None,
            retry_quarantined: false,
            generation: 0,
            keeps_older: false,
            task: None,
            ..slot.clone()
        };
    }
    plan.version = HostPlan::version_for(&plan.slots);
    Some((plan, release))
}

/// Releases that a slot must not get, or not like that.
fn bad(context: &mut Context, host: &Host, about: &PlanSlot) -> Vec<Digest> {
    let service = &about.slot.service;
    let floor = host.floor(service);
    let of_service = context.shop.signed.iter().filter(|(_, signed)| &signed.release.service_id() == service);
    let of_service: Vec<(Digest, Counter, bool)> = of_service
        .map(|(digest, signed)| {
            let failed = host.failed.contains(&(service.clone(), signed.content));
            (*digest, signed.release.counter, failed)
        })
        .collect();
    let first = context.dice.below(3);
    let of_kind = |kind: u64| {
        let fits = |(digest, counter, failed): &&(Digest, Counter, bool)| match kind % 3 {
            0 => *failed && *counter >= floor,
            1 => *counter < floor,
            _ => !*failed && *counter >= floor && *digest != about.release,
        };
        of_service.iter().filter(fits).map(|(digest, ..)| *digest).collect::<Vec<Digest>>()
    };
    // Without one of a kind, the next one is tried.
    (first..first + 3).map(of_kind).find(|found| !found.is_empty()).unwrap_or_default()
}
