//! Checks of reports and soaks: the slots that a coordinator takes a report to be about, and the soaks that begin again.

use windlass_core::Timestamp;
use windlass_core::rollout::State;
use windlass_server::embedded::View;

use super::Checks;
use crate::host::Host;

impl Checks {
    /// A report tells of a slot only if the plan in force then says of the slot what the newest plan says.
    pub(super) fn check_confirmed(&mut self, view: &View<'_>, hosts: &[Host], now: Timestamp) {
        for (host, seq, parts) in view.confirmed(now) {
            // A host that was told another truth reports about that.
            let is_deceived = hosts.iter().any(|known| known.name == host && known.is_deceived);
            let Some(held) = self.parts.get(&(host.clone(), seq)).filter(|_| !is_deceived) else { continue };
            let other = parts.into_iter().find(|part| held.get(&part.slot) != Some(part));
            let line = other.map(|part| {
                let then = held.get(&part.slot);
                format!(
                    "{host}: a report under plan {seq} counts for {}, which has another part since: {part:?}, then {then:?}",
                    part.slot
                )
            });
            line.into_iter().for_each(|line| self.fail(line));
        }
    }

    /// Neither a plan of a neighbour nor a link that blinks makes a soak begin again.
    pub(super) fn check_soaks(&mut self, view: &View<'_>, now: Timestamp) {
        for id in view.services().keys() {
            let Some(rollout) = view.active(id) else { continue };
            if rollout.state != State::Soaking {
                // A soak that was paused begins again.
                self.soaks.remove(&rollout.id);
                continue;
            }
            let before = match rollout.soak_since {
                Some(since) => self.soaks.insert(rollout.id.clone(), since),
                None => self.soaks.remove(&rollout.id),
            };
            let begun_anew = before.filter(|before| rollout.soak_since != Some(*before));
            let watched = begun_anew.filter(|before| (view.counts_since(now)..=now).contains(before));
            if watched.is_some() && view.was_available(id, &rollout.to.digest, now) {
                let line =
                    format!("{id}: the soak of {} begins again, and nothing was wrong", rollout.to.counter);
                self.fail(line);
            }
        }
    }
}
