//! The inner networks of this host: one for each environment of which something here calls services by name. Its addresses
//! are drawn once and journaled before the engine makes it, and it goes when nothing of the environment is in it any more.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;

use super::input::{Observed, VerifiedRelease};
use super::memory::NetworkMemory;
use super::step::LaunchNetwork;
use super::turn::Turn;
use crate::id::{EnvironmentId, SlotId};
use crate::network::{self, MAX_NETWORKS};
use crate::observation::{Refusal, RefusalCode};
use crate::plan::{Phase, PlanSlot};

/// Decides which inner networks there are. `all` is every container that was seen, those of hooks too.
pub(super) fn decide(turn: &mut Turn<'_>, all: &Observed) {
    remember(turn, all);
    let wanted: Vec<&PlanSlot> = turn.wanted.values().copied().collect();
    for want in wanted.into_iter().filter(|want| want.phase != Phase::Absent) {
        let previous = want.previous.as_ref().map(|previous| previous.release);
        let named = [Some(want.release), previous, want.fallback];
        for release in named.into_iter().flatten().filter_map(|digest| turn.desired.releases.get(&digest)) {
            let uses = &release.release.spec.uses;
            if !uses.is_empty() {
                let environment = want.slot.service.environment.clone();
                turn.called.entry(environment).or_default().extend(uses.iter().cloned());
            }
        }
    }
    for environment in turn.called.keys().cloned().collect::<Vec<_>>() {
        keep(turn, all, environment);
    }
    leave(turn, all);
}

/// Remembers which instances are in which network: those that are seen, and those that are being made.
fn remember(turn: &mut Turn<'_>, all: &Observed) {
    let here: BTreeSet<&str> = all.containers.iter().map(|seen| seen.instance.as_str()).collect();
    let begins = |environment: &EnvironmentId| {
        !all.busy_tasks.is_empty() || all.busy.iter().any(|slot| &slot.service.environment == environment)
    };
    for (environment, known) in &mut turn.memory.networks {
        if !begins(environment) {
            known.instances.retain(|name, _| here.contains(name.as_str()));
        }
    }
    for seen in &all.containers {
        let Some(release) = turn.desired.releases.get(&seen.release) else { continue };
        let uses = &release.release.spec.uses;
        let environment = &seen.slot.service.environment;
        if uses.is_empty() {
            continue;
        }
        turn.called.entry(environment.clone()).or_default().extend(uses.iter().cloned());
        if let Some(known) = turn.memory.networks.get_mut(environment) {
            known.instances.entry(seen.instance.clone()).or_insert_with(|| uses.iter().cloned().collect());
        }
    }
}

/// Has a network for the environment, of addresses that nobody else here has.
fn keep(turn: &mut Turn<'_>, all: &Observed, environment: EnvironmentId) {
    // Containers are in the network that the engine has made, whatever the journal says.
    let made = all.networks.get(&environment).copied();
    let range = turn.desired.local.policy.inner_networks;
    let stays = |known: &NetworkMemory| {
        let free = !all.subnets.iter().any(|other| network::overlap(*other, known.subnet));
        !known.instances.is_empty() || (free && range.contains(&known.subnet))
    };
    let known = turn.memory.networks.get(&environment).filter(|known| stays(known));
    let subnet = made.or_else(|| known.map(|known| known.subnet)).or_else(|| free(turn, all, &environment));
    match subnet {
        Some(subnet) => {
            turn.memory.networks.entry(environment).or_insert_with(|| NetworkMemory::of(subnet)).subnet =
                subnet
        }
        None => drop(turn.memory.networks.remove(&environment)),
    }
}

fn free(turn: &Turn<'_>, all: &Observed, environment: &EnvironmentId) -> Option<Ipv4Net> {
    let others = turn.memory.networks.iter().filter(|(other, _)| *other != environment);
    let mut taken: BTreeSet<Ipv4Net> = others.map(|(_, known)| known.subnet).collect();
    if taken.len() >= MAX_NETWORKS {
        return None;
    }
    taken.extend(all.networks.values().chain(&all.subnets));
    network::draw(turn.desired.local.policy.inner_networks, &taken)
}

/// Lets networks go that nothing is in or about to be in.
fn leave(turn: &mut Turn<'_>, all: &Observed) {
    let idle = |environment: &EnvironmentId, known: Option<&NetworkMemory>| {
        !turn.called.contains_key(environment) && known.is_none_or(|known| known.instances.is_empty())
    };
    let networks = &turn.memory.networks;
    let unused: Vec<EnvironmentId> =
        all.networks.keys().filter(|name| idle(name, networks.get(*name))).cloned().collect();
    let gone: Vec<EnvironmentId> = networks
        .iter()
        .filter(|(name, known)| !all.networks.contains_key(*name) && idle(name, Some(known)))
        .map(|(name, _)| name.clone())
        .collect();
    gone.iter().for_each(|environment| drop(turn.memory.networks.remove(environment)));
    turn.unused_networks = unused;
}

/// The network of a new container, if its release calls services by name.
pub(super) fn of_launch(
    turn: &mut Turn<'_>,
    slot: &SlotId,
    instance: &str,
    release: &VerifiedRelease,
) -> Result<Option<LaunchNetwork>, Refusal> {
    let uses = &release.release.spec.uses;
    if uses.is_empty() {
        return Ok(None);
    }
    let (environment, local) = (&slot.service.environment, &turn.desired.local);
    let Some(known) = turn.memory.networks.get_mut(environment) else {
        let range = local.policy.inner_networks;
        let detail = format!(
            "inner_networks: no network of `{environment}` fits into {range}, which networks of the host or its engine \
             overlap; name another range in policy.toml"
        );
        return Err(Refusal { code: RefusalCode::NoRoom, detail });
    };
    known.instances.insert(instance.to_owned(), uses.iter().cloned().collect());
    let name = network::engine_name(&local.fleet, &local.host, environment);
    Ok(Some(LaunchNetwork { name, subnet: known.subnet }))
}
