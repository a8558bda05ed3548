//! People: they deploy good and bad releases, change their minds, and look after hosts.

use std::collections::{BTreeMap, BTreeSet};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use windlass_certs::identity::PeerIdentity;
use windlass_core::rollout::{RolloutCommand, ServiceCommand, State};
use windlass_core::view::{RecoveringHost, RecoveringState};
use windlass_core::{Counter, Digest, HostId, ServiceId};
use windlass_server::embedded::{EmbeddedError, HostAction};

use crate::dice::Dice;
use crate::event::Event;
use crate::host::address;
use crate::keys::keys;
use crate::meddle::Meddling;
use crate::shop::Behaviour;
use crate::trouble::Trouble;
use crate::world::World;

/// An action of a person. Services and hosts are named by their index.
#[derive(Debug, Clone, Copy)]
pub enum Action {
    /// Deploys a new release.
    Deploy(usize, Behaviour),
    /// The same, whatever rollout is active.
    Supersede(usize, Behaviour),
    /// Deploys once more what was deployed before, perhaps although it failed.
    Again(usize, bool),
    /// Submits an envelope again: its answer was lost.
    Resubmit(usize, Digest),
    /// Submits something that nobody signed who may.
    Forge(usize),
    /// Goes back to the last good release.
    RollBack(usize),
    /// Goes back to any release that was good.
    RollBackTo(usize),
    /// Steers the active rollout.
    Steer(usize, RolloutCommand),
    /// Scales, stops or removes a service, perhaps although a rollout moves it.
    Tell(usize, ServiceCommand, bool),
    /// Has new instances made of the release that a service is at.
    Restart(usize),
    /// Does something with a host.
    Host(usize, HostAction),
    /// Lets a host join again.
    Rejoin(usize),
    /// Takes a host that was lied to out of the fleet, and lets it join again.
    Cleanse(usize),
    /// Looks at what hosts hold that the store does not know, and lets the fleet go on.
    Recover,
    /// Publishes again the versions of the trust document that the coordinator has lost.
    Republish,
    /// Raises the floor of a service to the release it has.
    Floor(usize),
    /// Does something with a rollout under way.
    Meddle(Meddling),
    /// Approves the step that a rollout is at.
    Approve(usize),
    /// Says that the ingress of a host is gone for good.
    ForgetIngress(usize),
}

impl Action {
    /// Anything.
    pub fn any(dice: &mut Dice, services: usize, hosts: usize) -> Self {
        let (service, host) = (dice.index(services), dice.index(hosts));
        match dice.below(109) {
            100..105 => Self::Restart(service),
            0..32 => Self::Deploy(service, Behaviour::any(dice)),
            32..36 => Self::Tell(
                service,
                ServiceCommand::Scale(1 + u32::try_from(dice.below(5)).unwrap_or(0)),
                false,
            ),
            36..39 => Self::Tell(service, ServiceCommand::Stop, dice.chance(50)),
            39 => Self::Tell(service, ServiceCommand::Remove, dice.chance(50)),
            40..46 => Self::Again(service, dice.chance(50)),
            46..48 => Self::Forge(service),
            48..54 => Self::RollBack(service),
            54..58 => Self::RollBackTo(service),
            58..64 => Self::Steer(service, RolloutCommand::Pause),
            64..70 => Self::Steer(service, RolloutCommand::Resume),
            70..76 => Self::Steer(service, RolloutCommand::Abort),
            76..80 => Self::Host(host, HostAction::Cordon),
            80..86 => Self::Host(host, HostAction::Drain),
            86..92 => Self::Host(host, HostAction::Uncordon),
            92..95 => Self::Host(host, HostAction::Evict),
            95..98 => Self::Rejoin(host),
            _ => Self::Floor(service),
        }
    }
}

impl World {
    /// A person does something; if the coordinator is not there, nothing comes of it.
    pub async fn act(&mut self, action: Action) {
        self.context.say(|| format!("operator: {action:?}"));
        let done = match action {
            Action::Deploy(service, behaviour) => {
                let supersede = self.context.dice.chance(60);
                self.deploy(service, Some(behaviour), false, supersede).await
            }
            Action::Supersede(service, behaviour) => self.deploy(service, Some(behaviour), false, true).await,
            Action::Again(service, retry) => {
                let supersede = self.context.dice.chance(60);
                self.deploy(service, None, retry, supersede).await
            }
            Action::Resubmit(_, digest) => {
                self.unanswered = self.unanswered.saturating_sub(1);
                self.submit(digest, true, false).await
            }
            Action::Restart(service) => self.restart(service).await,
            Action::Forge(service) => self.forge(service).await,
            Action::RollBack(service) => self.roll_back(service, None).await,
            Action::RollBackTo(service) => {
                let good = self.good_counters(service);
                let to = (!good.is_empty()).then(|| *self.context.dice.pick(&good));
                self.roll_back(service, to).await
            }
            Action::Steer(service, steering) => self.steer(service, steering).await,
            Action::Tell(service, verb, supersede) => self.tell(service, verb, supersede).await,
            Action::Host(host, action) => self.steer_host(host, action).await,
            Action::Rejoin(host) => self.rejoin(host).await,
            Action::Cleanse(host) => self.cleanse(host).await,
            Action::Recover => self.recover().await,
            Action::Republish => self.republish().await,
            Action::Floor(service) => self.raise_floor(service).await,
            Action::Meddle(meddling) => self.meddle(meddling).await,
            Action::Approve(service) => self.approve(service).await,
            Action::ForgetIngress(host) => self.forget_ingress(host).await,
        };
        match done {
            Ok(()) => {}
            Err(EmbeddedError::Refused(why)) => self.context.say(|| format!("refused: {why}")),
            Err(EmbeddedError::Stopped) => self.center.die(&mut self.context).await,
        }
    }

    fn service(&self, service: usize) -> ServiceId {
        self.profiles[service].id.clone()
    }

    async fn deploy(
        &mut self,
        service: usize,
        new: Option<Behaviour>,
        retry: bool,
        supersede: bool,
    ) -> Result<(), EmbeddedError> {
        let Some(embedded) = &self.center.embedded else { return Ok(()) };
        let (id, now) = (self.service(service), self.context.now);
        let counter = embedded.look(|view| view.services().get(&id).map_or(0, |s| s.last_counter)) + 1;
        let profile = &self.profiles[service];
        let (shop, dice) = (&mut self.context.shop, &mut self.context.dice);
        let digest = match new {
            Some(behaviour) => Some(shop.make(dice, profile, counter, behaviour, now)),
            None => {
                let of_service = shop.signed.iter().filter(|(_, signed)| signed.release.service_id() == id);
                let known: Vec<Digest> = of_service.map(|(digest, _)| *digest).collect();
                let old = (!known.is_empty()).then(|| *dice.pick(&known));
                old.and_then(|old| shop.again(profile, counter, &old, now))
            }
        };
        let Some(digest) = digest else { return Ok(()) };
        let done = self.submit(digest, supersede, retry).await;
        if done.is_ok() && !self.context.is_calm && self.context.dice.chance(12) {
            // Rollouts are short, and the coordinator dies in the middle of some.
            let dies = self.context.now + self.context.dice.seconds(2, 14);
            self.context.queue.push(dies, Event::Break(Trouble::CenterCrash));
        }
        if done == Err(EmbeddedError::Stopped) {
            // The answer was lost; whoever asked asks again.
            let again = self.context.now + self.context.dice.seconds(20, 90);
            self.unanswered += 1;
            self.context.queue.push(again, Event::Act(Action::Resubmit(service, digest)));
        }
        done
    }

    async fn submit(&mut self, digest: Digest, supersede: bool, retry: bool) -> Result<(), EmbeddedError> {
        let Some(embedded) = &self.center.embedded else { return Ok(()) };
        let Some(signed) = self.context.shop.signed.get(&digest) else { return Ok(()) };
        embedded.submit(signed.envelope.clone(), supersede, retry).await.map(drop)
    }

    async fn forge(&mut self, service: usize) -> Result<(), EmbeddedError> {
        let id = self.service(service);
        let Some(embedded) = &self.center.embedded else { return Ok(()) };
        let mut signed = self.context.shop.signed.iter();
        let of_service =
            signed.find(|(_, signed)| signed.release.service_id() == id).map(|(digest, _)| *digest);
        let Some(envelope) = of_service.and_then(|digest| self.context.shop.forged(&digest)) else {
            return Ok(());
        };
        match embedded.submit(envelope, true, true).await {
            Ok(_) => self.context.checks.fail(format!("{id}: a release was taken that nobody signed")),
            Err(EmbeddedError::Refused(_)) => {}
            Err(EmbeddedError::Stopped) => return Err(EmbeddedError::Stopped),
        }
        Ok(())
    }

    fn good_counters(&self, service: usize) -> Vec<Counter> {
        let id = self.service(service);
        let Some(embedded) = &self.center.embedded else { return Vec::new() };
        embedded.look(|view| {
            let good = view.services().get(&id).map(|service| service.good.clone()).unwrap_or_default();
            good.into_iter().map(|release| release.counter).collect()
        })
    }

    pub(crate) async fn roll_back(
        &mut self,
        service: usize,
        to: Option<Counter>,
    ) -> Result<(), EmbeddedError> {
        let id = self.service(service);
        let Some(embedded) = &self.center.embedded else { return Ok(()) };
        embedded.rollback(&id, to).await.map(drop)
    }

    pub(crate) async fn steer(
        &mut self,
        service: usize,
        steering: RolloutCommand,
    ) -> Result<(), EmbeddedError> {
        let id = self.service(service);
        let Some(embedded) = &self.center.embedded else { return Ok(()) };
        let Some(rollout) = embedded.look(|view| view.active(&id).map(|rollout| rollout.id.clone())) else {
            return Ok(());
        };
        let done = embedded.steer(&rollout, steering).await;
        let goes_on = matches!(
            steering,
            RolloutCommand::Resume | RolloutCommand::Promote | RolloutCommand::PromoteFull
        );
        if goes_on && !matches!(done, Err(EmbeddedError::Refused(_))) {
            self.context.checks.is_let_go(&rollout);
        }
        done
    }

    async fn tell(
        &mut self,
        service: usize,
        verb: ServiceCommand,
        supersede: bool,
    ) -> Result<(), EmbeddedError> {
        let id = self.service(service);
        let Some(embedded) = &self.center.embedded else { return Ok(()) };
        embedded.command(&id, verb, supersede).await
    }

    async fn restart(&mut self, service: usize) -> Result<(), EmbeddedError> {
        let id = self.service(service);
        let Some(embedded) = &self.center.embedded else { return Ok(()) };
        embedded.restart(&id).await
    }

    async fn steer_host(&mut self, host: usize, action: HostAction) -> Result<(), EmbeddedError> {
        let name = self.hosts[host].name.clone();
        let Some(embedded) = &self.center.embedded else { return Ok(()) };
        let done = embedded.steer_host(&name, action).await;
        let is_evicted = matches!(action, HostAction::Evict | HostAction::Ban);
        if is_evicted && !matches!(done, Err(EmbeddedError::Refused(_))) {
            // The person who evicts it says that it is off.
            self.hosts[host].is_disowned = self.hosts[host].is_on;
        }
        done?;
        if is_evicted {
            self.center.cut(&mut self.context, host);
        }
        Ok(())
    }

    /// The agent is stopped, joins into a new folder, and starts.
    pub async fn rejoin(&mut self, host: usize) -> Result<(), EmbeddedError> {
        let Some(embedded) = &self.center.embedded else { return Ok(()) };
        let machine = &mut self.hosts[host];
        if !machine.is_on {
            return Ok(());
        }
        let request = keys().request(host, machine.joined);
        let receipts = keys().receipts.public();
        let labels = Default::default();
        let joined = embedded.join(&machine.name, labels, request, receipts, &address(host)).await;
        if joined == Err(EmbeddedError::Stopped) {
            // It may have happened: whoever joins asks again.
            machine.peer = None;
        }
        let chain = joined?;
        let mut trust = keys().first_trust();
        let (_, newer) = embedded.trust_after(1);
        if let Err(error) = trust.walk(newer.iter().map(Vec::as_slice)) {
            self.context.checks.fail(format!("the trust chain does not hold: {error}"));
        }
        let certificate = CertificateDer::pem_slice_iter(chain.as_bytes()).find_map(Result::ok);
        machine.peer = match certificate.map(|der| PeerIdentity::from_der(&der)) {
            Some(Ok(peer)) => Some(peer),
            other => {
                return Err(EmbeddedError::Refused(format!("its certificate cannot be read: {other:?}")));
            }
        };
        machine.joined += 1;
        self.context.refused.remove(&host);
        machine.belongs_again();
        machine.die(&mut self.context);
        machine.fresh_disk(&mut self.context, trust);
        machine.start(&mut self.context);
        self.center.cut(&mut self.context, host);
        Ok(())
    }

    async fn cleanse(&mut self, host: usize) -> Result<(), EmbeddedError> {
        if !self.hosts[host].is_deceived {
            return Ok(());
        }
        let rejoins = self.context.now + self.context.dice.seconds(1, 30);
        self.context.queue.push(rejoins, Event::Act(Action::Rejoin(host)));
        self.steer_host(host, HostAction::Evict).await
    }

    async fn recover(&mut self) -> Result<(), EmbeddedError> {
        self.recovers_at = None;
        let Some(embedded) = &self.center.embedded else { return Ok(()) };
        let deceived = self.hosts.iter().filter(|host| host.is_deceived).map(|host| host.name.clone());
        let mut overruled: BTreeSet<HostId> = deceived.collect();
        let stuck = |host: &RecoveringHost| host.state == RecoveringState::Stuck;
        let shown = embedded.recovery(&overruled);
        overruled.extend(shown.hosts.into_iter().filter(stuck).map(|host| host.host));
        let done = embedded.recover(&overruled).await?;
        for host in &done.hosts {
            self.context.say(|| format!("  {}: {}", host.host, host.state.as_str()));
        }
        Ok(())
    }

    /// People notice when the coordinator waits for them to say what counts.
    pub(crate) fn notice_recovery(&mut self) {
        let Some(embedded) = &self.center.embedded else { return };
        let names = || self.hosts.iter().map(|host| &host.name);
        let waits = embedded.look(|view| view.is_set_back() || names().any(|host| view.is_recovering(host)));
        if waits && self.recovers_at.is_none_or(|at| at < self.context.now) {
            let at = self.context.now + self.context.dice.seconds(2, 60);
            self.recovers_at = Some(at);
            self.context.queue.push(at, Event::Act(Action::Recover));
        }
    }

    async fn raise_floor(&mut self, service: usize) -> Result<(), EmbeddedError> {
        self.republish().await?;
        let id = self.service(service);
        let Some(embedded) = &self.center.embedded else { return Ok(()) };
        let current = embedded.look(|view| view.services().get(&id).and_then(|service| service.last_good()));
        let Some(current) = current else { return Ok(()) };
        let (version, _) = embedded.trust_after(0);
        let mut floors = self.floors.clone();
        floors.insert(id, current.counter);
        let envelope = keys().trust(version + 1, &floors);
        self.trusts.insert(version + 1, (envelope.clone(), floors.clone()));
        embedded.publish_trust(envelope).await?;
        self.floors = floors;
        Ok(())
    }

    /// When nothing breaks any more, people look after what waits for them.
    pub async fn look_after(&mut self) {
        let version = self.center.embedded.as_ref().map_or(0, |embedded| embedded.trust_after(0).0);
        if self.trusts.keys().next_back().is_some_and(|newest| *newest > version) {
            self.act(Action::Republish).await;
        }
        for service in 0..self.profiles.len() {
            let id = self.service(service);
            let Some(embedded) = &self.center.embedded else { return };
            let paused = embedded.look(|view| view.active(&id).is_some_and(|r| r.state == State::Paused));
            if self.context.is_routed {
                self.act(Action::Approve(service)).await;
            }
            if paused {
                let resume = self.context.dice.chance(30);
                let steering = if resume { RolloutCommand::Resume } else { RolloutCommand::Abort };
                self.act(Action::Steer(service, steering)).await;
            }
        }
        for host in 0..self.hosts.len() {
            let Some(embedded) = &self.center.embedded else { return };
            let name = self.hosts[host].name.clone();
            let scheduling = embedded.look(|view| view.scheduling(&name));
            let is_refused = self.context.refused.remove(&host);
            // The person who lets a host join again waits until its slots run elsewhere.
            let has_slots = embedded.look(|view| {
                view.slots().values().flat_map(BTreeMap::values).any(|assignment| assignment.host() == &name)
            });
            let machine = &self.hosts[host];
            if machine.is_deceived && scheduling.is_some() {
                self.act(Action::Cleanse(host)).await;
            } else if scheduling.is_none() && has_slots {
                self.context.say(|| format!("{name} is no member, and still has slots"));
            } else if scheduling.is_none()
                || is_refused
                || machine.disk.state.is_none()
                || machine.peer.is_none()
            {
                self.act(Action::Rejoin(host)).await;
            } else if scheduling != Some(windlass_core::fleet::Scheduling::Ready) {
                self.act(Action::Host(host, HostAction::Uncordon)).await;
            }
        }
    }
}
