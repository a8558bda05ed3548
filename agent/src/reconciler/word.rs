//! The engine's word: a container that is paused does not run, and the HEALTHCHECK of an image counts as a readiness probe
//! where the manifest has none.

use std::collections::BTreeMap;

use windlass_core::Timestamp;
use windlass_core::observation::{Cause, NotReady};
use windlass_core::reconcile::{Container, ContainerState, Health};
use windlass_core::release;

/// Since when each container is what the engine says of it. The engine itself does not say.
#[derive(Debug, Default)]
pub(super) struct Words(BTreeMap<String, Word>);

#[derive(Debug)]
struct Word {
    run: Timestamp,
    ready: bool,
    cause: Option<Cause>,
    since: Timestamp,
    was_ready: bool,
    broken: bool,
}

impl Words {
    /// Takes in what was looked at: its health becomes since when it is what it is.
    pub(super) fn note(&mut self, seen: &mut Container, now: Timestamp) {
        let ContainerState::Running { started_at: run } = seen.state else {
            self.0.remove(&seen.id);
            seen.health = None;
            return;
        };
        let Some(health) = &mut seen.health else {
            self.0.remove(&seen.id);
            return;
        };
        let cause = health.why.as_ref().map(|why| why.cause);
        // One that is ready the first time that it is looked at may have been for long, and is from now on for sure.
        let begins = if health.decided { now } else { run };
        let fresh =
            || Word { run, ready: health.ready, cause, since: begins, was_ready: false, broken: false };
        let word = self.0.entry(seen.id.clone()).or_insert_with(fresh);
        if word.run != run {
            *word = fresh();
        } else if (word.ready, word.cause) != (health.ready, cause) {
            (word.ready, word.cause, word.since) = (health.ready, cause, now);
        }
        word.was_ready |= word.ready;
        word.broken |= !word.ready && health.decided;
        health.since = word.since;
        health.was_ready = word.was_ready;
        health.unbroken = !word.broken;
        if let Some(why) = &mut health.why {
            why.since = word.since;
        }
    }

    pub(super) fn forget(&mut self, id: &str) {
        self.0.remove(id);
    }

    /// Times of before do not compare with those of now.
    pub(super) fn clock_was_set(&mut self, now: Timestamp) {
        self.0.values_mut().for_each(|word| word.since = now);
    }
}

/// The health of an instance by the engine's word and by its probes. `probes` is their word, `asks` their questions.
pub(super) fn both(
    engine: Option<&Health>,
    probes: Option<Health>,
    asks: Option<&release::Health>,
) -> Option<Health> {
    let by_image =
        asks.is_none_or(|asks| asks.readiness.is_none() && asks.image != Some(release::ImageHealth::Off));
    let counts =
        |health: &&Health| by_image || health.why.as_ref().is_some_and(|why| why.cause == Cause::Paused);
    let Some(engine) = engine.filter(counts) else { return probes };
    let has_probes = asks.is_some_and(crate::probe::has_probes);
    let Some(probes) = probes else {
        // The image does not speak for probes that have not answered yet.
        let ready = engine.ready && !has_probes;
        return Some(Health { ready, decided: engine.decided && (!ready || !has_probes), ..engine.clone() });
    };
    if !engine.ready {
        return Some(Health {
            live: probes.live,
            history: [probes.history, engine.history.clone()].concat(),
            ..engine.clone()
        });
    }
    Some(Health {
        since: probes.since.max(engine.since),
        unbroken: probes.unbroken && engine.unbroken,
        decided: probes.decided && engine.decided,
        ..probes
    })
}

/// A paused container.
pub(crate) fn paused() -> Health {
    let why = Some(NotReady::paused(Timestamp::ZERO));
    Health { why, decided: true, ..said(false) }
}

/// The health that a HEALTHCHECK tells; the time is filled in later.
pub(crate) fn said(ready: bool) -> Health {
    Health {
        ready,
        since: Timestamp::ZERO,
        unbroken: true,
        was_ready: false,
        live: true,
        decided: ready,
        history: Vec::new(),
        why: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probed(ready: bool) -> Health {
        Health { since: Timestamp::from_millis(5), decided: true, ..said(ready) }
    }

    #[test]
    fn the_engines_word_counts_beside_that_of_the_probes() {
        let none = release::Health::default();
        let off = release::Health { image: Some(release::ImageHealth::Off), ..none.clone() };
        let probe: release::Probe = serde_json::from_value(serde_json::json!({
            "check": {"tcp": {"port": "http"}}, "every": "1s", "timeout": "1s", "failures": 1, "successes": 1
        }))
        .unwrap();
        let readiness = release::Health { readiness: Some(probe.clone()), ..none.clone() };
        let liveness = release::Health { liveness: Some(probe), ..none.clone() };
        #[rustfmt::skip]
        let table = [
            ("paused, no probes",                  Some(paused()),    None,               &none,      Some(false)),
            ("paused, a probe says yes",           Some(paused()),    Some(probed(true)), &readiness, Some(false)),
            ("paused, the image is not asked",     Some(paused()),    None,               &off,       Some(false)),
            ("the image says no",                  Some(said(false)), None,               &none,      Some(false)),
            ("the image says yes",                 Some(said(true)),  None,               &none,      Some(true)),
            ("the manifest has a readiness probe", Some(said(false)), Some(probed(true)), &readiness, Some(true)),
            ("the image is not asked",             Some(said(false)), None,               &off,       None),
            ("beside a liveness probe: no",        Some(said(false)), Some(probed(true)), &liveness,  Some(false)),
            ("beside a liveness probe: both",      Some(said(true)),  Some(probed(true)), &liveness,  Some(true)),
            ("a probe has not answered yet",       Some(said(true)),  None,               &liveness,  Some(false)),
            ("nothing is asked",                   None,              None,               &none,      None),
        ];
        for (case, engine, probes, asks, want) in table {
            let health = both(engine.as_ref(), probes, Some(asks));
            assert_eq!(health.map(|health| health.ready), want, "{case}");
        }
    }
}
