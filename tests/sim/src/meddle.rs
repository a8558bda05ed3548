//! People at rollouts under way: they promote, approve, pause and go back in the middle of steps; and they forget ingresses.

use windlass_core::ServiceId;
use windlass_core::rollout::{Approved, RolloutCommand, State};
use windlass_server::embedded::EmbeddedError;

use crate::dice::Dice;
use crate::event::Event;
use crate::operator::Action;
use crate::shop::Behaviour;
use crate::trouble::Trouble;
use crate::world::World;

/// A person's action on a rollout under way.
#[derive(Debug, Clone, Copy)]
pub enum Meddling {
    /// Steers it.
    Steer(RolloutCommand),
    /// Approves the step that it is at.
    Approve,
    /// Goes back to the last good release beside it.
    RollBack,
}

impl Meddling {
    fn any(dice: &mut Dice) -> Self {
        match dice.below(20) {
            0..4 => Self::Steer(RolloutCommand::Promote),
            4..6 => Self::Steer(RolloutCommand::PromoteFull),
            6..9 => Self::Steer(RolloutCommand::Pause),
            9..13 => Self::Steer(RolloutCommand::Resume),
            13..15 => Self::Steer(RolloutCommand::Abort),
            15..19 => Self::Approve,
            _ => Self::RollBack,
        }
    }
}

impl World {
    /// Draws the troubles of ingresses, and the actions of people in a world that has some.
    pub(crate) fn draw_lanes(&mut self, begin: windlass_core::Timestamp, window: u64) {
        let (hosts, services) = (self.hosts.len(), self.profiles.len());
        let edges: Vec<usize> = (0..hosts).filter(|index| self.hosts[*index].edge.is_installed).collect();
        let context = &mut self.context;
        let at = |dice: &mut Dice| begin + std::time::Duration::from_millis(dice.below(window));
        let dice = &mut context.traffic;
        for _ in 0..2 + dice.below(4) {
            let deploy = Action::Deploy(dice.index(services), Behaviour::Good);
            context.queue.push(at(dice), Event::Act(deploy));
        }
        for _ in 0..dice.below(16) {
            context.queue.push(at(dice), Event::Act(Action::Meddle(Meddling::any(dice))));
        }
        if edges.is_empty() {
            return;
        }
        for _ in 0..dice.below(6) {
            let edge = *dice.pick(&edges);
            let trouble = match dice.below(10) {
                0..5 => Trouble::EdgeKilled(edge),
                5..8 => Trouble::EdgeTakenOver(edge),
                _ => Trouble::EdgeGone(edge),
            };
            context.queue.push(at(dice), Event::Break(trouble));
        }
        if dice.chance(25) {
            let edge = *dice.pick(&edges);
            context.queue.push(at(dice), Event::Act(Action::ForgetIngress(edge)));
        }
    }

    /// Somebody does something with a rollout that goes on, if one does.
    pub(crate) async fn meddle(&mut self, meddling: Meddling) -> Result<(), EmbeddedError> {
        let Some(embedded) = &self.center.embedded else { return Ok(()) };
        let is_moving = |id: &ServiceId| embedded.look(|view| view.active(id).is_some());
        let moving: Vec<usize> =
            (0..self.profiles.len()).filter(|index| is_moving(&self.profiles[*index].id)).collect();
        if moving.is_empty() {
            return Ok(());
        }
        let service = *self.context.traffic.pick(&moving);
        match meddling {
            Meddling::Steer(steering) => self.steer(service, steering).await,
            Meddling::Approve => self.approve(service).await,
            Meddling::RollBack => self.roll_back(service, None).await,
        }
    }

    /// Somebody approves the step that a service's rollout is at.
    pub(crate) async fn approve(&mut self, service: usize) -> Result<(), EmbeddedError> {
        let Some(embedded) = &self.center.embedded else { return Ok(()) };
        let id = &self.profiles[service].id;
        let wanted = embedded.look(|view| {
            let rollout = view.active(id).filter(|rollout| rollout.state == State::Advancing)?;
            let step = rollout.shift.as_ref().map_or(0, |shift| shift.taken);
            Some((rollout.id.clone(), Approved { step, release: rollout.to.digest }))
        });
        match wanted {
            Some((rollout, approved)) => embedded.approve(&rollout, approved).await,
            None => Ok(()),
        }
    }

    /// Somebody says that an ingress is gone for good.
    pub(crate) async fn forget_ingress(&mut self, host: usize) -> Result<(), EmbeddedError> {
        let Some(embedded) = &self.center.embedded else { return Ok(()) };
        embedded.forget_ingress(&self.hosts[host].name).await
    }
}
