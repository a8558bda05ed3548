//! Troubles of the world, and their repair.

use std::time::Duration;

use bytes::Bytes;
use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_core::reconcile::ContainerState;

use crate::dice::Dice;
use crate::engine::Reachability;
use crate::event::Event;
use crate::host::Doom;
use crate::keys::keys;
use crate::liar;
use crate::mortal::Death;
use crate::network;
use crate::world::World;

/// Something that breaks. Hosts are named by their index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// An agent's process ends.
    AgentCrash(usize),
    /// An agent's process ends at one of its next writes.
    AgentDoom(usize),
    /// The coordinator ends.
    CenterCrash,
    /// The coordinator ends at one of its next writes.
    CenterDoom,
    /// The coordinator's disk is gone, and an older export of its store is restored.
    CenterOld,
    /// Nothing goes through.
    Cut(usize),
    /// Nothing that a host sends arrives.
    CutUp(usize),
    /// Nothing that is sent to a host arrives.
    CutDown(usize),
    /// A stream breaks.
    Break(usize),
    /// The engine's socket is gone; containers go on.
    EngineDown(usize),
    /// The engine answers nothing.
    EngineHung(usize),
    /// The engine ends with everything it runs, and comes back.
    EngineRestart(usize),
    /// The machine is off for a while.
    Off(usize),
    /// The agent's folder cannot be read.
    DiskLost(usize),
    /// The agent's folder is as it was a while ago.
    DiskOld(usize),
    /// Nothing can be written.
    DiskFull(usize),
    /// A process ends that did nothing wrong.
    Killed(usize),
    /// The engine fails now and then.
    Flaky(usize),
    /// A registry that does not answer.
    NoRegistry(usize),
    /// A clock is wrong.
    Clock(usize),
    /// Somebody sends an agent a plan that nobody signed who may.
    Forgery(usize),
    /// Somebody sends an agent the plan of another host.
    Misdelivery(usize),
    /// An ingress process is killed, and started again.
    EdgeKilled(usize),
    /// A successor takes over from an ingress process.
    EdgeTakenOver(usize),
    /// An ingress ends, and is started again much later.
    EdgeGone(usize),
    /// Somebody who has the coordinator's key sends an agent a plan that no honest coordinator would.
    Lie(usize),
}

impl Trouble {
    /// Anything.
    pub fn any(dice: &mut Dice, hosts: usize) -> Self {
        let host = dice.index(hosts);
        match dice.below(109) {
            0..9 => Self::AgentCrash(host),
            9..18 => Self::AgentDoom(host),
            18..26 => Self::CenterCrash,
            26..38 => Self::CenterDoom,
            38..46 => Self::Cut(host),
            46..50 => Self::CutUp(host),
            50..54 => Self::CutDown(host),
            54..58 => Self::Break(host),
            58..62 => Self::EngineDown(host),
            62..65 => Self::EngineHung(host),
            65..69 => Self::EngineRestart(host),
            69..77 => Self::Off(host),
            77..79 => Self::DiskLost(host),
            79..82 => Self::DiskOld(host),
            82..84 => Self::DiskFull(host),
            84..89 => Self::Killed(host),
            89..92 => Self::Flaky(host),
            92..95 => Self::NoRegistry(host),
            95..97 => Self::Clock(host),
            97..99 => Self::Forgery(host),
            99 => Self::Misdelivery(host),
            100..105 => Self::Lie(host),
            _ => Self::CenterOld,
        }
    }
}

impl World {
    /// Something breaks.
    pub async fn breaks(&mut self, trouble: Trouble) {
        self.context.say(|| format!("breaks: {trouble:?}"));
        match trouble {
            Trouble::CenterCrash if self.context.is_calm => return,
            Trouble::CenterCrash => return self.center.die(&mut self.context).await,
            Trouble::CenterDoom => {
                let writes = 1 + i64::try_from(self.context.dice.below(8)).unwrap_or(0);
                return self.center.doom(Death { writes, stored: self.context.dice.chance(50) });
            }
            Trouble::CenterOld => return self.set_back().await,
            Trouble::Misdelivery(host) => return self.misdeliver(host),
            Trouble::Lie(host) => return self.lie(host),
            _ => {}
        }
        self.breaks_on_host(trouble);
        let dice = &mut self.context.dice;
        let lasts = match trouble {
            Trouble::Cut(_) | Trouble::CutUp(_) | Trouble::CutDown(_) | Trouble::Off(_) => {
                if dice.chance(40) { dice.seconds(1, 25) } else { dice.seconds(25, 300) }
            }
            Trouble::EngineDown(_) | Trouble::EngineHung(_) | Trouble::NoRegistry(_) => dice.seconds(2, 150),
            Trouble::EngineRestart(_) => dice.seconds(1, 20),
            Trouble::DiskFull(_) | Trouble::Flaky(_) | Trouble::Clock(_) => dice.seconds(5, 90),
            Trouble::EdgeGone(_) => dice.seconds(20, 200),
            _ => return,
        };
        self.context.queue.push(self.context.now + lasts, Event::Heal(trouble));
    }

    fn breaks_on_host(&mut self, trouble: Trouble) {
        let (context, Some(index)) = (&mut self.context, host_of(trouble)) else { return };
        let host = &mut self.hosts[index];
        match trouble {
            Trouble::AgentCrash(_) => host.crash(context),
            Trouble::AgentDoom(_) => {
                host.doom = Some(Doom { writes: context.dice.below(6), written: context.dice.chance(50) });
            }
            Trouble::Cut(_) => (host.cut_up, host.cut_down) = (true, true),
            Trouble::CutUp(_) => host.cut_up = true,
            Trouble::CutDown(_) => host.cut_down = true,
            Trouble::Break(_) => {
                let stream =
                    host.agent.as_ref().and_then(|agent| agent.link.as_ref()).map(|link| link.stream);
                stream.into_iter().for_each(|s| context.queue.push(context.now, Event::Silent(index, s)));
            }
            Trouble::EngineDown(_) | Trouble::EngineHung(_) | Trouble::EngineRestart(_) => {
                let hung = matches!(trouble, Trouble::EngineHung(_));
                host.engine.standing = if hung { Reachability::Hung } else { Reachability::Down };
                if matches!(trouble, Trouble::EngineRestart(_)) {
                    host.engine.end_all(host.clock(context.now));
                }
                // Its stream of events ends, and everything is looked at.
                host.wake(context, Duration::from_millis(250));
            }
            Trouble::Off(_) => {
                // Shut down, or without power: then nobody says goodbye.
                let link =
                    host.agent.as_mut().filter(|_| context.dice.chance(50)).and_then(|a| a.link.take());
                link.into_iter().for_each(|link| network::goes_silent(context, index, link.stream));
                host.die(context);
                host.is_on = false;
                host.edge.processes.clear();
                host.engine.end_all(host.clock(context.now));
                host.engine.requests.clear();
            }
            Trouble::DiskLost(_) => {
                (host.disk.state, host.disk.lease) = (None, None);
                host.forget(context);
                host.crash(context);
            }
            Trouble::DiskOld(_) => {
                if let Some(copy) = host.copy.take() {
                    host.disk = copy;
                    host.is_restored = true;
                    host.forget(context);
                    host.crash(context);
                    if host.holds_a_lie() {
                        host.is_deceived = true;
                        liar::is_found_out(context, index);
                    }
                }
            }
            Trouble::DiskFull(_) => host.is_full = true,
            Trouble::Killed(_) => kill(host, context),
            Trouble::Flaky(_) => host.is_flaky = true,
            Trouble::NoRegistry(_) => host.no_registry = true,
            Trouble::Clock(_) => {
                let far = i64::try_from(context.dice.below(240_000)).unwrap_or(0);
                host.ahead = far - 120_000;
                host.clock_was_set(context);
                host.wake(context, Duration::ZERO);
            }
            Trouble::Forgery(_) => forge(host, context),
            Trouble::EdgeKilled(_) => {
                host.edge_dies(context);
                let back = context.now + context.traffic.millis(100, 9000);
                context.queue.push(back, Event::EdgeStarts(index));
            }
            Trouble::EdgeTakenOver(_) => host.edge_is_taken_over(context),
            Trouble::EdgeGone(_) => host.edge_dies(context),
            Trouble::CenterCrash
            | Trouble::CenterDoom
            | Trouble::CenterOld
            | Trouble::Misdelivery(_)
            | Trouble::Lie(_) => {}
        }
    }

    /// Something is whole again.
    pub fn heals(&mut self, trouble: Trouble) {
        let (context, Some(index)) = (&mut self.context, host_of(trouble)) else { return };
        context.say(|| format!("heals: {trouble:?}"));
        let host = &mut self.hosts[index];
        match trouble {
            Trouble::Cut(_) | Trouble::CutUp(_) | Trouble::CutDown(_) => {
                (host.cut_up, host.cut_down) = (false, false);
            }
            Trouble::EngineDown(_) | Trouble::EngineHung(_) | Trouble::EngineRestart(_)
                if host.is_on && host.engine.standing != Reachability::Up =>
            {
                host.engine.standing = Reachability::Up;
                host.hindered_at = Some(context.now);
                let revived = host.engine.to_revive();
                revived.iter().for_each(|id| host.run(context, id));
                host.wake(context, Duration::from_secs(1));
            }
            Trouble::Off(_) => context.queue.push(context.now, Event::Boot(index)),
            Trouble::DiskFull(_) if host.is_full => {
                host.hindered_at = Some(context.now);
                host.is_full = false;
            }
            Trouble::Flaky(_) if host.is_flaky => {
                host.hindered_at = Some(context.now);
                host.is_flaky = false;
            }
            Trouble::EdgeGone(_) => host.edge_starts(context),
            Trouble::NoRegistry(_) => host.no_registry = false,
            Trouble::Clock(_) if host.ahead != 0 => {
                host.ahead = 0;
                host.clock_was_set(context);
                host.wake(context, Duration::ZERO);
            }
            _ => {}
        }
    }

    /// A machine comes up: its engine first, with what it starts by itself, the agent later.
    pub fn boots(&mut self, index: usize) {
        let (context, host) = (&mut self.context, &mut self.hosts[index]);
        if host.is_on {
            return;
        }
        host.is_on = true;
        host.boots += 1;
        host.engine.standing = Reachability::Up;
        host.interrupted_before = host.clock(context.now);
        let revived = host.engine.to_revive();
        revived.iter().for_each(|id| host.run(context, id));
        let starts = context.now + context.dice.millis(500, 20_000);
        context.queue.push(starts, Event::AgentStarts(index));
        if host.edge.is_installed {
            let starts = context.now + context.traffic.millis(500, 10_000);
            context.queue.push(starts, Event::EdgeStarts(index));
        }
    }

    /// Nothing breaks any more, and everything that was broken is whole again.
    pub fn calm(&mut self) {
        self.context.is_calm = true;
        self.center.doom(Death { writes: i64::MAX, stored: false });
        for index in 0..self.hosts.len() {
            self.hosts[index].doom = None;
            for trouble in [
                Trouble::Cut(index),
                Trouble::EngineDown(index),
                Trouble::DiskFull(index),
                Trouble::Flaky(index),
                Trouble::NoRegistry(index),
                Trouble::EdgeGone(index),
                Trouble::Clock(index),
                Trouble::Off(index),
            ] {
                self.heals(trouble);
            }
        }
    }

    /// Another host's plan comes to a host, on its own stream.
    fn misdeliver(&mut self, index: usize) {
        let other = (index + 1) % self.hosts.len();
        let mark = self.hosts[other].disk.state.as_ref().and_then(|state| state.plan.as_ref());
        let Some(envelope) = mark.map(|mark| mark.envelope.clone()) else { return };
        let Some(link) = self.hosts[index].agent.as_ref().and_then(|agent| agent.link.as_ref()) else {
            return;
        };
        let (stream, plan) = (link.stream, Bytes::from(envelope.into_bytes()));
        network::slip_in(&self.hosts[index], &mut self.context, stream, plan);
    }
}

/// A host's newest plan again, with a higher number, by a key that nobody knows.
fn forge(host: &crate::host::Host, context: &mut crate::context::Context) {
    let Some(mark) = host.disk.state.as_ref().and_then(|state| state.plan.as_ref()) else { return };
    let Some(link) = host.agent.as_ref().and_then(|agent| agent.link.as_ref()) else { return };
    let Ok(parsed) = Envelope::parse(mark.envelope.as_bytes(), PayloadType::Plan.max_len()) else { return };
    let Ok(mut plan) = serde_json::from_slice::<serde_json::Value>(parsed.payload_bytes()) else { return };
    plan["seq"] = serde_json::json!(mark.seq + 1);
    plan["slots"] = serde_json::json!([]);
    let payload = serde_json::to_vec(&plan).expect("a plan is JSON");
    let forged = Envelope::sign(PayloadType::Plan, payload, &[&keys().stranger]).to_bytes();
    network::slip_in(host, context, link.stream, forged.into());
}

/// A process that serves ends, as if somebody had killed it.
fn kill(host: &mut crate::host::Host, context: &mut crate::context::Context) {
    let up = host.engine.processes.values();
    let up: Vec<(String, u64)> = up
        .filter(|process| matches!(process.container.state, ContainerState::Running { .. }))
        .map(|process| (process.container.id.clone(), process.run))
        .collect();
    if up.is_empty() {
        return;
    }
    let (id, run) = context.dice.pick(&up).clone();
    host.live(context, &id, run, crate::event::Life::Exits(137, false));
}

const fn host_of(trouble: Trouble) -> Option<usize> {
    use Trouble as T;
    match trouble {
        T::CenterCrash | T::CenterDoom | T::CenterOld => None,
        T::AgentCrash(host)
        | T::AgentDoom(host)
        | T::Cut(host)
        | T::CutUp(host)
        | T::CutDown(host)
        | T::Break(host)
        | T::EngineDown(host)
        | T::EngineHung(host)
        | T::EngineRestart(host)
        | T::Off(host)
        | T::DiskLost(host)
        | T::DiskOld(host)
        | T::DiskFull(host)
        | T::Killed(host)
        | T::Flaky(host)
        | T::NoRegistry(host)
        | T::Clock(host)
        | T::Forgery(host)
        | T::Misdelivery(host)
        | T::EdgeKilled(host)
        | T::EdgeTakenOver(host)
        | T::EdgeGone(host)
        | T::Lie(host) => Some(host),
    }
}
