//! A service whose requests are led by ingresses: how long they drain, and what is asked of a release before it gets more of them.

use serde_json::{Value, json};
use windlass_core::Digest;

use super::{Profile, Shape};
use crate::dice::Dice;

/// The questions to a release in each of its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// Exits of its instances.
    Crashes,
    /// The share of failed requests, as ingresses count them.
    Errors,
    /// Somebody who judges by himself.
    Judge,
}

/// The traffic of a service in a world with ingresses.
#[derive(Debug, Clone, Copy)]
pub struct Lane {
    /// Makes the releases that answer wrongly others in each world.
    salt: u64,
    drain: &'static str,
    asked: Asked,
    /// A person lets a step begin.
    approve: bool,
    /// Failed requests bring the release before back, for so long after the rollout.
    trigger: Option<&'static str>,
}

/// Thousandths of the requests that fail, where a release answers wrongly.
const WRONG: u64 = 400;

impl Profile {
    /// Leads requests to the service.
    pub fn lead(&mut self, dice: &mut Dice, with_ingress: bool) {
        if dice.chance(60)
            && !matches!(self.shape, Shape::Exclusive | Shape::FixedPort | Shape::BlueGreenApart)
        {
            self.shape = *dice.pick(&[Shape::BlueGreen, Shape::Canary, Shape::Canary]);
        }
        // Without an ingress nobody counts.
        let asked: &[Asked] = if with_ingress {
            &[Asked::Crashes, Asked::Errors, Asked::Errors, Asked::Judge]
        } else {
            &[Asked::Judge]
        };
        self.lane = Some(Lane {
            salt: dice.roll(),
            drain: dice.pick::<&str>(&["10s", "20s", "45s"]),
            asked: *dice.pick(asked),
            approve: dice.chance(30),
            trigger: dice.chance(40).then(|| *dice.pick(&["10s", "40s"])).filter(|_| with_ingress),
        });
    }

    /// Thousandths of the requests that a release with this image fails.
    pub(super) fn errors(&self, image: &Digest) -> u64 {
        let Some(lane) = &self.lane else { return 0 };
        let number =
            image.as_bytes().iter().fold(lane.salt, |sum, byte| sum.rotate_left(5) ^ u64::from(*byte));
        if Dice::new(number).chance(35) { WRONG } else { 0 }
    }

    /// Adds to a specification what its lane says.
    pub(super) fn add_lane(&self, spec: &mut Value) {
        let Some(lane) = &self.lane else { return };
        spec["traffic"] = json!({ "drain_timeout": lane.drain });
        let moves = matches!(self.shape, Shape::BlueGreen | Shape::BlueGreenApart | Shape::Canary);
        if let Some(watch) = lane.trigger.filter(|_| moves) {
            spec["rollback_on"]["error_rate"] = json!({ "max": 200, "min_requests": 10, "within": "10s" });
            spec["rollback_on"]["for"] = json!(watch);
        }
        match self.shape {
            Shape::BlueGreen | Shape::BlueGreenApart if lane.approve => {
                spec["strategy"]["blue_green"]["approve"] = json!(true);
            }
            Shape::Canary => {
                if lane.approve {
                    spec["strategy"]["canary"]["steps"][0]["approve"] = json!(true);
                }
                let ask = match lane.asked {
                    Asked::Crashes => return,
                    Asked::Errors => {
                        json!({ "error_rate": { "max": 200, "min_requests": 5, "baseline": true } })
                    }
                    Asked::Judge => json!({ "http": { "url": "http://judge.sim/verdict", "timeout": "5s" } }),
                };
                let gate = json!({ "ask": ask, "window": "10s", "passes": 1, "fails": 1, "from_step": 1 });
                spec["gates"]["asked"] = gate;
            }
            _ => {}
        }
    }
}
