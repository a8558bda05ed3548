//! Documents that the simulated agent accepts: verified by the real agent's code, written down, and only then in force. The
//! order is that of the agent's keeper.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use windlass_agent::policy::Mounts;
use windlass_agent::state::{PlanMark, State, TrustMark};
use windlass_agent::verify::{self, Context as Rules, Me, VerifiedPlan, raised_floors};
use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_certs::json::decode_bounded;
use windlass_core::observation::{Refusal, RefusalCode};
use windlass_core::plan::HostPlan;
use windlass_core::reconcile::{Container, Desired, VerifiedRelease};
use windlass_core::slot::Intent;
use windlass_core::verify::{PlanOrder, trusted_now};
use windlass_core::{Digest, Timestamp};

use crate::context::Context;
use crate::event::Up;
use crate::host::{Host, Written};
use crate::network;

type Found = BTreeMap<Digest, Result<Arc<VerifiedRelease>, Refusal>>;

static NO_MOUNTS: Mounts = Mounts { allowed: Vec::new(), own: Vec::new() };

impl Host {
    fn rules<'a>(&'a self, state: &'a State, now: Timestamp) -> Rules<'a> {
        Rules {
            local: &self.local,
            facts: &self.facts,
            mounts: &NO_MOUNTS,
            trust: self.disk.trust.document(),
            floors: &state.floors,
            made: &state.memory.slots,
            now: trusted_now(self.clock(now), state.trusted_time),
        }
    }

    /// The desired state at a start: the journaled plan, judged again.
    pub(super) fn taken_up(&self, context: &Context) -> Desired {
        let nothing = Desired {
            local: self.local.clone(),
            plan: None,
            releases: BTreeMap::new(),
            plan_refusal: None,
            refusals: BTreeMap::new(),
        };
        let Some(state) = &self.disk.state else { return nothing };
        let Some(mark) = &state.plan else { return nothing };
        let plan = Envelope::parse(mark.envelope.as_bytes(), PayloadType::Plan.max_len()).ok();
        let plan = plan.and_then(|envelope| {
            decode_bounded::<HostPlan>(envelope.payload_bytes(), PayloadType::Plan.max_len()).ok()
        });
        let Some(plan) = plan else { return nothing };
        let rules = self.rules(state, context.now);
        let named = verify::named(&plan).into_iter();
        let found: Found = named.map(|digest| (digest, self.kept(&rules, &digest))).collect();
        verify::desired(&rules, Arc::new(plan), &found)
    }

    fn kept(&self, rules: &Rules<'_>, digest: &Digest) -> Result<Arc<VerifiedRelease>, Refusal> {
        match self.disk.releases.get(digest) {
            Some(envelope) => rules.verify_kept(digest, envelope).map(Arc::new),
            None => Err(missing(digest)),
        }
    }

    /// Takes the plan that was offered, once everything that it names was fetched.
    pub(crate) fn consider(&mut self, context: &mut Context) {
        self.look_at_offer(context);
        let Some(link) = self.agent.as_mut().and_then(|agent| agent.link.as_mut()) else { return };
        if !link.is_fetching
            && let Some(next) = link.next.take()
        {
            link.offer = Some(next);
            self.look_at_offer(context);
        }
    }

    fn look_at_offer(&mut self, context: &mut Context) {
        let Some(link) = self.agent.as_ref().and_then(|agent| agent.link.as_ref()) else { return };
        let Some(offer) = link.offer.clone().filter(|_| !link.is_fetching) else { return };
        let verified = match self.judge(context, &offer) {
            Ok(verified) => verified,
            Err(refusal) => return self.refuse(context, refusal),
        };
        let wanted: Vec<Digest> = verify::named(&verified.plan)
            .into_iter()
            .filter(|digest| !self.disk.releases.contains_key(digest) && !link.fetched.contains_key(digest))
            .collect();
        let stream = link.stream;
        if wanted.is_empty() {
            return self.take(context, &offer, verified);
        }
        if let Some(link) = self.agent.as_mut().and_then(|agent| agent.link.as_mut()) {
            link.is_fetching = true;
        }
        network::up(self, context, stream, Up::Fetch(wanted));
    }

    fn judge(&self, context: &Context, offer: &Bytes) -> Result<VerifiedPlan, Refusal> {
        let Some(state) = &self.disk.state else {
            let detail = "the journal is lost; this host adopts what runs and takes no plan".to_owned();
            return Err(Refusal { code: RefusalCode::Stale, detail });
        };
        let trust = self.disk.trust.document();
        let me = Me { fleet: &self.local.fleet, host: &self.name };
        let now = trusted_now(self.clock(context.now), state.trusted_time);
        verify::plan(offer, trust, me, state.committed(trust.epoch), now)
    }

    fn refuse(&mut self, context: &mut Context, refusal: Refusal) {
        context.say(|| format!("{} refuses a plan: {refusal}", self.name));
        let Some(agent) = &mut self.agent else { return };
        // A plan that was refused because of the time is looked at again; see the agent's intake.
        let for_now = matches!(refusal.code, RefusalCode::NotYetValid | RefusalCode::Expired);
        if let Some(link) = agent.link.as_mut().filter(|_| !for_now) {
            link.offer = None;
        }
        if agent.desired.plan_refusal.as_ref() != Some(&refusal) {
            Arc::make_mut(&mut agent.desired).plan_refusal = Some(refusal);
            self.wake(context, std::time::Duration::ZERO);
        }
    }

    /// Keeps what was fetched, writes the plan down, and has it in force.
    fn take(&mut self, context: &mut Context, offer: &Bytes, verified: VerifiedPlan) {
        let Some(state) = self.disk.state.clone() else { return };
        let fetched =
            self.agent.as_ref().and_then(|agent| agent.link.as_ref()).map(|link| link.fetched.clone());
        let fetched = fetched.unwrap_or_default();
        let mut found = Found::new();
        for digest in verify::named(&verified.plan) {
            let new = fetched.get(&digest).filter(|_| !self.disk.releases.contains_key(&digest));
            let judged = match new {
                None => self.kept(&self.rules(&state, context.now), &digest),
                Some(None) => Err(missing(&digest)),
                Some(Some(envelope)) => {
                    let judged = self.rules(&state, context.now).verify_new(&digest, envelope).map(Arc::new);
                    if judged.is_ok() {
                        match self.write(|disk| drop(disk.releases.insert(digest, envelope.clone()))) {
                            Written::Yes => {}
                            Written::Full => return, // it is offered again
                            Written::Died => return self.crash(context),
                        }
                    }
                    judged
                }
            };
            found.insert(digest, judged);
        }
        if verified.order == PlanOrder::Newer {
            match self.commit(context, offer, &verified, &found) {
                Written::Yes => {}
                Written::Full => return,
                Written::Died => return self.crash(context),
            }
        }
        let state = self.disk.state.clone().unwrap_or_default();
        let desired = verify::desired(&self.rules(&state, context.now), Arc::new(verified.plan), &found);
        context.say(|| format!("{} takes plan {}", self.name, desired.plan.as_ref().map_or(0, |p| p.seq)));
        self.is_astray = false;
        if let Some(plan) = desired.plan.as_ref().filter(|_| !self.is_deceived) {
            self.owns_up(plan);
        }
        self.asked_for(&desired, self.clock(context.now));
        let Some(agent) = &mut self.agent else { return };
        agent.desired = Arc::new(desired);
        if let Some(link) = &mut agent.link {
            link.offer = None;
            link.fetched.clear();
        }
        self.wake(context, std::time::Duration::ZERO);
    }

    /// Takes responsibility for instances that an honest plan has run.
    fn owns_up(&mut self, plan: &HostPlan) {
        let runs = |seen: &Container| {
            plan.slots.iter().any(|want| want.slot == seen.slot && Intent::from(want).has_run(&seen.release))
        };
        let processes = self.engine.processes.values_mut();
        processes.filter(|process| runs(&process.container)).for_each(|process| process.is_unplanned = false);
    }

    fn commit(
        &mut self,
        context: &mut Context,
        offer: &Bytes,
        verified: &VerifiedPlan,
        found: &Found,
    ) -> Written {
        let mark = PlanMark {
            epoch: verified.plan.epoch,
            seq: verified.plan.seq,
            digest: verified.digest,
            envelope: String::from_utf8_lossy(offer).into_owned(),
        };
        let raised = raised_floors(&verified.plan, found);
        let clock = self.clock(context.now);
        let seq = mark.seq;
        let written = self.write(|disk| {
            let Some(state) = &mut disk.state else { return };
            state.witness(verified.plan.issued_at.min(trusted_now(clock, state.trusted_time)));
            state.plan = Some(mark);
            for (service, floor) in raised {
                let known = state.floors.entry(service).or_insert(floor);
                *known = floor.max(*known);
            }
        });
        let journaled = self.disk.state.as_ref().and_then(|s| s.plan.as_ref()).map_or(0, |plan| plan.seq);
        if journaled < self.highest {
            let line =
                format!("{}: its seq fell from {} to {journaled}, offered {seq}", self.name, self.highest);
            context.checks.fail(line);
        }
        self.highest = journaled.max(self.highest);
        // Also if the agent died with it: the next one finds it in the journal.
        self.is_deceived |= self.holds_a_lie();
        written
    }

    /// A plan that calls a content good, or asks for it again, ends what was known of its failure; good releases raise
    /// floors. Kept beside the agent's own memory, to compare with.
    fn asked_for(&mut self, desired: &Desired, now: Timestamp) {
        for want in desired.plan.iter().flat_map(|plan| &plan.slots) {
            let Some(release) = desired.releases.get(&want.release) else { continue };
            let service = want.slot.service.clone();
            if want.good || want.retry_quarantined {
                let content = (service.clone(), release.content);
                self.failed.remove(&content);
                self.asked.insert(content, now);
            }
            if let Some(floor) = release.release.spec.floor.filter(|_| want.good) {
                let known = self.floors.entry(service).or_insert(floor);
                *known = floor.max(*known);
            }
        }
    }

    /// Walks to newer versions of the trust document.
    pub(super) fn take_trust(&mut self, context: &mut Context, envelopes: &[Vec<u8>]) {
        let mut trust = self.disk.trust.clone();
        drop(trust.walk(envelopes.iter().map(Vec::as_slice)));
        if trust.version() <= self.disk.trust.version() || self.disk.state.is_none() {
            return;
        }
        // The file first, then the journal: it may be one step ahead.
        let file = trust.clone();
        let written = self.write(|disk| disk.trust = file);
        let written = if written == Written::Yes {
            let mark = TrustMark { version: trust.version(), digest: trust.digest() };
            self.write(|disk| {
                if let Some(state) = &mut disk.state {
                    state.trust = mark;
                }
            })
        } else {
            written
        };
        match written {
            Written::Yes => {}
            Written::Full => return,
            Written::Died => return self.crash(context),
        }
        let refusal = self.agent.as_ref().and_then(|agent| agent.desired.plan_refusal.clone());
        let mut desired = self.taken_up(context);
        desired.plan_refusal = refusal;
        if let Some(agent) = &mut self.agent {
            agent.desired = Arc::new(desired);
        }
        self.wake(context, std::time::Duration::ZERO);
    }

    /// Keeps a checkpoint as a witness.
    pub(super) fn witness(&mut self, context: &mut Context, envelope: &[u8]) {
        let Some(state) = &self.disk.state else { return };
        let now = trusted_now(self.clock(context.now), state.trusted_time);
        let kept = state.checkpoint.as_ref().and_then(|text| {
            let kept = Envelope::parse(text.as_bytes(), PayloadType::Audit.max_len()).ok()?;
            decode_bounded(kept.payload_bytes(), PayloadType::Audit.max_len()).ok()
        });
        let (trust, fleet) = (self.disk.trust.document(), &self.local.fleet);
        let text = String::from_utf8_lossy(envelope).into_owned();
        match verify::checkpoint(envelope, trust, fleet, kept.as_ref(), now) {
            Ok(new) => {
                let written = self.write(|disk| {
                    if let Some(state) = &mut disk.state {
                        state.checkpoint = Some(text);
                        state.witness(new.at.min(now));
                    }
                });
                if written == Written::Died {
                    self.crash(context);
                }
            }
            Err(refusal) if refusal.code == RefusalCode::Equivocation => {
                context.checks.fail(format!("{}: the coordinator forked its log: {refusal}", self.name));
            }
            Err(_) => {}
        }
    }
}

fn missing(digest: &Digest) -> Refusal {
    Refusal { code: RefusalCode::UnsignedRelease, detail: format!("{digest}: it is not here") }
}
