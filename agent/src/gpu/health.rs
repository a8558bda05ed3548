//! Health of GPUs, from one look at them: lost ones, errors, slowdowns.

use std::collections::BTreeMap;
use std::time::Duration;

use windlass_core::Timestamp;
use windlass_core::condition::{Condition, ConditionCode};
use windlass_core::host::{Gpu, GpuHealth, GpuLost, GpuStats};

use super::{DeviceError, Look, Seen};

/// An error of the driver is told for so long.
const ERRORS: Duration = Duration::from_secs(3600);
/// A GPU is slowed down if it is at so many looks one after the other, and not any more after so long without.
const SLOW: (u32, Duration) = (3, Duration::from_secs(60));
/// An instance of a GPU that has gone for so long was taken away, and is not missed any more.
const TAKEN_AWAY: Duration = Duration::from_secs(3600);
/// Errors (XID) that a program causes, not the device.
const OF_PROGRAMS: [u64; 6] = [13, 31, 32, 43, 45, 69];

/// Those that were there and are not any more. `missing` says why one is of which the look says nothing.
pub(super) fn lost(before: &Seen, look: &Look, missing: &str, now: Timestamp) -> Vec<GpuLost> {
    let is_there =
        |uuid: &String| look.gpus.iter().any(|gpu| &gpu.uuid == uuid) || look.divided.contains(uuid);
    let nameless: Vec<_> = look.broken.iter().filter(|broken| broken.uuid.is_none()).collect();
    let own = |uuid: &String| look.broken.iter().find(|broken| broken.uuid.as_ref() == Some(uuid));
    let why = |gpu: &Gpu| {
        let own = own(&gpu.uuid).or_else(|| own(gpu.parent.as_ref()?));
        own.or(nameless.first().copied()).map_or_else(|| missing.to_owned(), |broken| broken.why.clone())
    };
    let known = before.lost.iter().filter(|lost| !lost.uuid.is_empty() && !is_there(&lost.uuid));
    let was_taken_away =
        |lost: &&GpuLost| lost.uuid.starts_with("MIG-") && now.since(lost.since) > TAKEN_AWAY;
    let mut all: Vec<GpuLost> = known.filter(|lost| !was_taken_away(lost)).cloned().collect();
    for gpu in before.gpus.iter().filter(|gpu| !is_there(&gpu.uuid)) {
        let (uuid, name) = (gpu.uuid.clone(), gpu.name.clone());
        all.push(GpuLost { uuid, name, since: now, why: why(gpu), ..GpuLost::default() });
    }
    let unnamed = all.iter().filter(|lost| !lost.uuid.starts_with("MIG-") && own(&lost.uuid).is_none());
    let unnamed = unnamed.count();
    // One that was divided, or was never seen well, was not among those that can be given away.
    for broken in &look.broken {
        let Some(uuid) = broken.uuid.clone().filter(|uuid| all.iter().all(|lost| &lost.uuid != uuid)) else {
            continue;
        };
        let (name, why) = (format!("GPU number {}", broken.number), broken.why.clone());
        all.push(GpuLost { uuid, name, since: now, why, ..GpuLost::default() });
    }
    // One that was lost before anybody looked tells no name.
    for broken in nameless.iter().skip(unnamed) {
        let name = format!("GPU number {}", broken.number);
        let since = before.lost.iter().find(|lost| lost.uuid.is_empty() && lost.name == name);
        let since = since.map_or(now, |lost| lost.since);
        all.push(GpuLost { name, since, why: broken.why.clone(), ..GpuLost::default() });
    }
    all
}

/// The state that is kept from look to look.
#[derive(Debug, Default)]
pub(super) struct Health {
    known: BTreeMap<String, Known>,
}

#[derive(Debug, Default)]
struct Known {
    errors: Errors,
    /// Looks at which it was slowed down, and when it was last.
    slow: u32,
    slow_at: Option<Timestamp>,
}

/// Errors of its driver (XID).
#[derive(Debug, Clone, Copy, Default)]
struct Errors {
    count: u64,
    /// Those of them that a program causes.
    of_programs: u64,
    last: u64,
    /// The last one that no program causes.
    of_device: Option<DeviceError>,
}

impl Errors {
    fn add(&mut self, code: u64, now: Timestamp) {
        (self.count, self.last) = (self.count.saturating_add(1), code);
        if OF_PROGRAMS.contains(&code) {
            self.of_programs = self.of_programs.saturating_add(1);
        } else {
            self.of_device = Some(DeviceError { xid: code, at: now });
        }
    }
}

impl Health {
    /// Takes a look in, and answers how everything does; the errors of those that are `lost` stand there.
    pub(super) fn stats(&mut self, look: &Look, lost: &mut [GpuLost], now: Timestamp) -> Vec<GpuStats> {
        for xid in &look.xids {
            self.known.entry(xid.uuid.clone()).or_default().errors.add(xid.code, now);
        }
        // An error that comes with the loss of its GPU counts when that one is back, too.
        self.known.retain(|uuid, _| {
            let is_there = look.gpus.iter().any(|gpu| &gpu.uuid == uuid) || look.divided.contains(uuid);
            is_there || lost.iter().any(|lost| &lost.uuid == uuid)
        });
        for lost in lost {
            if let Some(known) = self.known.get(&lost.uuid) {
                let Errors { count, of_programs, last, .. } = known.errors;
                (lost.xid_count, lost.xid_of_programs, lost.xid) = (count, of_programs, last);
            }
        }
        let mut all = look.stats.clone();
        for stats in &mut all {
            let parent =
                look.gpus.iter().find(|gpu| gpu.uuid == stats.uuid).and_then(|gpu| gpu.parent.as_ref());
            let of_parent = parent.and_then(|parent| self.known.get(parent)).map(|known| known.errors);
            let known = self.known.entry(stats.uuid.clone()).or_default();
            // The driver reports an error of a GPU that is divided for the whole.
            let errors = of_parent.unwrap_or(known.errors);
            known.errors.of_device = errors.of_device;
            (stats.xid_count, stats.xid_of_programs, stats.xid) =
                (errors.count, errors.of_programs, errors.last);
            if stats.is_slowed() {
                known.slow = known.slow.saturating_add(1);
                known.slow_at = Some(now);
            } else if known.slow < SLOW.0 || known.slow_at.is_none_or(|at| now.since(at) > SLOW.1) {
                known.slow = 0;
            }
        }
        all
    }

    /// The devices with their health, by what `conditions` says of them.
    pub(super) fn judged(gpus: &[Gpu], stats: &[GpuStats], conditions: &[Condition]) -> Vec<Gpu> {
        let judge = |gpu: &Gpu| {
            let mine = |stats: &&GpuStats| stats.uuid == gpu.uuid || gpu.parent.as_ref() == Some(&stats.uuid);
            let is_bad = |stats: &GpuStats| stats.pages_pending || stats.remap_failed;
            let has_errors = |found: &Condition| {
                found.code == ConditionCode::GpuErrors && found.device.as_ref() == Some(&gpu.uuid)
            };
            if stats.iter().filter(mine).any(is_bad) {
                GpuHealth::Defective
            } else if conditions.iter().any(has_errors) {
                GpuHealth::Errors
            } else {
                GpuHealth::Well
            }
        };
        gpus.iter().map(|gpu| Gpu { health: judge(gpu), ..gpu.clone() }).collect()
    }

    /// The last errors of devices that no program causes, and when each came: what a later agent begins with.
    pub(super) fn of_devices(&self) -> BTreeMap<String, DeviceError> {
        let known = self.known.iter();
        known.filter_map(|(uuid, known)| Some((uuid.clone(), known.errors.of_device?))).collect()
    }

    /// The health that an agent begins with which is told these.
    pub(super) fn begun(errors: BTreeMap<String, DeviceError>) -> Self {
        let known = errors.into_iter().map(|(uuid, of_device)| {
            let errors = Errors { of_device: Some(of_device), ..Errors::default() };
            (uuid, Known { errors, ..Known::default() })
        });
        Self { known: known.collect() }
    }

    /// Findings for a person.
    pub(super) fn conditions(&self, lost: &[GpuLost], stats: &[GpuStats], now: Timestamp) -> Vec<Condition> {
        let lost = lost.iter().map(|lost| {
            let xid = (lost.xid > 0).then(|| format!("; its last error was XID {}", lost.xid));
            let xid = xid.unwrap_or_default();
            let message = format!("{}{} is lost: {}{xid}", name(&lost.uuid), lost.name, lost.why);
            // One without a UUID is told apart by its place.
            let device = if lost.uuid.is_empty() { &lost.name } else { &lost.uuid };
            Condition::of_device(ConditionCode::GpuLost, device, message)
        });
        let mut all: Vec<Condition> = lost.collect();
        for stats in stats {
            let known = self.known.get(&stats.uuid);
            let driver =
                known.and_then(|known| known.errors.of_device).filter(|error| now.since(error.at) < ERRORS);
            let errors = [
                driver.map(|DeviceError { xid, at }| format!("reported the error XID {xid} at {at}")),
                (stats.ecc_uncorrected > 0)
                    .then(|| format!("has {} memory errors that were not corrected", stats.ecc_uncorrected)),
                stats
                    .pages_pending
                    .then(|| "has bad memory pages, which a restart takes out of use".to_owned()),
                stats.remap_failed.then(|| {
                    "has a bad row of memory that no other one can stand in for: the card is to be replaced".to_owned()
                }),
            ];
            let errors: Vec<String> = errors.into_iter().flatten().collect();
            if !errors.is_empty() {
                let message = format!("{}{}", name(&stats.uuid), errors.join(", and "));
                all.push(Condition::of_device(ConditionCode::GpuErrors, &stats.uuid, message));
            }
            if known.is_some_and(|known| known.slow >= SLOW.0) {
                let message = format!("{}is slowed down by heat or a lack of power", name(&stats.uuid));
                all.push(Condition::of_device(ConditionCode::GpuThrottled, &stats.uuid, message));
            }
        }
        all
    }
}

fn name(uuid: &str) -> String {
    if uuid.is_empty() { String::new() } else { format!("{uuid} ") }
}

#[cfg(test)]
mod tests {
    use super::super::{Broken, Xid};
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(second * 1000)
    }

    fn gpu(uuid: &str) -> Gpu {
        Gpu { uuid: uuid.to_owned(), name: "L4".to_owned(), ..Gpu::default() }
    }

    fn look(gpus: &[&str], nameless: u32) -> Look {
        let broken = |number| Broken { number, uuid: None, why: "it has fallen off the bus".to_owned() };
        let gpus: Vec<Gpu> = gpus.iter().map(|uuid| gpu(uuid)).collect();
        let stats = gpus.iter().map(|gpu| GpuStats { uuid: gpu.uuid.clone(), ..GpuStats::default() });
        Look { stats: stats.collect(), broken: (0..nameless).map(broken).collect(), gpus, ..Look::default() }
    }

    /// Looks one after the other: the lost ones after each, with when they were.
    fn after(looks: Vec<Look>) -> Vec<Vec<(String, i64)>> {
        let mut seen = Seen::default();
        let mut all = Vec::new();
        for (second, look) in looks.into_iter().enumerate() {
            let second = i64::try_from(second).unwrap();
            let lost = lost(&seen, &look, "missing", at(second));
            all.push(lost.iter().map(|lost| (lost.uuid.clone(), lost.since.as_millis() / 1000)).collect());
            seen = Seen { gpus: look.gpus, lost, ..Seen::default() };
        }
        all
    }

    #[test]
    fn what_was_there_and_is_not_any_more_is_lost() {
        let none = Vec::new;
        let a = |since| vec![("a".to_owned(), since)];
        let well = || look(&["a", "b"], 0);
        assert_eq!(
            after(vec![well(), look(&["b"], 1), look(&["b"], 1), well()]),
            [none(), a(1), a(1), none()]
        );
        assert_eq!(after(vec![well(), look(&["b"], 0)]), [none(), a(1)], "even if nothing is said of it");
        let nameless = vec![(String::new(), 0)];
        assert_eq!(
            after(vec![look(&["b"], 1), look(&["b"], 1)]),
            [nameless.clone(), nameless],
            "lost before"
        );
        let divided = Look { divided: vec!["a".to_owned()], ..look(&["b", "MIG-1"], 0) };
        let back = look(&["a", "b"], 0);
        let mig = vec![("MIG-1".to_owned(), 2)];
        assert_eq!(after(vec![well(), divided, back]), [none(), none(), mig], "divided is not lost");
    }

    #[test]
    fn one_that_is_known_by_its_place_is_lost_under_its_name() {
        let broken = |number, uuid: Option<&str>| Broken {
            number,
            uuid: uuid.map(str::to_owned),
            why: format!("why {number}"),
        };
        let words = |seen: &Seen, look: &Look| {
            let lost = lost(seen, look, "missing", at(1));
            lost.into_iter().map(|lost| (lost.uuid, lost.name, lost.why)).collect::<Vec<_>>()
        };
        let told = |all: &[[&str; 3]]| {
            let told = all
                .iter()
                .map(|[uuid, name, why]| ((*uuid).to_owned(), (*name).to_owned(), (*why).to_owned()));
            told.collect::<Vec<_>>()
        };
        let seen = Seen { gpus: vec![gpu("a"), gpu("b")], ..Seen::default() };
        let look = |broken| Look { broken, ..look(&["b"], 0) };
        assert_eq!(
            words(&seen, &look(vec![broken(0, Some("a")), broken(2, None)])),
            told(&[["a", "L4", "why 0"], ["", "GPU number 2", "why 2"]]),
            "one that nobody has seen is another one"
        );
        let part = Gpu { parent: Some("c".to_owned()), ..gpu("MIG-1") };
        let divided = Seen { gpus: vec![gpu("b"), part], ..Seen::default() };
        assert_eq!(
            words(&divided, &look(vec![broken(1, Some("c"))])),
            told(&[["MIG-1", "L4", "why 1"], ["c", "GPU number 1", "why 1"]])
        );
    }

    #[test]
    fn errors_and_heat_are_told_and_what_programs_cause_is_not() {
        let mut health = Health::default();
        let mut of_programs = 0;
        let mut codes = |xid: Option<u64>, change: fn(&mut GpuStats), second: i64| {
            let xids = xid.map(|code| Xid { uuid: "a".to_owned(), code });
            let mut look = Look { xids: xids.into_iter().collect(), ..look(&["a"], 0) };
            look.stats.iter_mut().for_each(change);
            let stats = health.stats(&look, &mut [], at(second));
            let found = health.conditions(&[], &stats, at(second));
            of_programs = stats[0].xid_of_programs;
            (found.iter().map(|found| found.code.as_str()).collect::<Vec<_>>(), stats[0].xid_count)
        };
        let well = |_: &mut GpuStats| {};
        let hot = |stats: &mut GpuStats| stats.throttled = vec!["thermal".to_owned()];
        assert_eq!(codes(None, well, 0), (vec![], 0));
        assert_eq!(codes(Some(31), well, 1), (vec![], 1), "a program's page fault");
        assert_eq!(codes(Some(79), well, 2), (vec!["gpu_errors"], 2));
        assert_eq!(codes(None, well, 3601), (vec!["gpu_errors"], 2));
        assert_eq!(codes(None, well, 3602), (vec![], 2), "an hour later");
        assert_eq!(codes(None, |s| s.ecc_uncorrected = 1, 3603), (vec!["gpu_errors"], 2));
        assert_eq!(codes(None, |s| s.remap_failed = true, 3603), (vec!["gpu_errors"], 2));
        assert_eq!(codes(None, |s| s.pages_pending = true, 3603), (vec!["gpu_errors"], 2));
        assert_eq!(
            codes(None, |s| (s.remapped_rows, s.retired_pages) = (3, 2), 3603),
            (vec![], 2),
            "others stand in"
        );
        assert_eq!(codes(None, |s| s.throttled = vec!["power_cap".to_owned()], 3604), (vec![], 2));
        assert_eq!([codes(None, hot, 3605).0, codes(None, well, 3606).0], [vec![], vec![]] as [Vec<&str>; 2]);
        let three = [3610, 3615, 3620].map(|second| codes(None, hot, second).0);
        assert_eq!(three, [vec![], vec![], vec!["gpu_throttled"]]);
        assert_eq!(codes(None, well, 3680).0, ["gpu_throttled"], "not at the first look without");
        assert_eq!(codes(None, well, 3681).0, [""; 0]);
        assert_eq!(of_programs, 1, "of the two errors");
    }

    #[test]
    fn an_agent_that_starts_again_tells_errors_for_their_hour() {
        let mut health = Health::default();
        let xids = vec![Xid { uuid: "a".to_owned(), code: 79 }, Xid { uuid: "b".to_owned(), code: 31 }];
        health.stats(&Look { xids, ..look(&["a", "b"], 0) }, &mut [], at(1));
        let written = serde_json::to_string(&health.of_devices()).unwrap();
        let mut later = Health::begun(serde_json::from_str(&written).unwrap());
        let mut told = |second: i64| {
            let stats = later.stats(&look(&["a", "b"], 0), &mut [], at(second));
            let found = later.conditions(&[], &stats, at(second));
            found.iter().map(|found| (found.code, found.device.clone().unwrap())).collect::<Vec<_>>()
        };
        assert_eq!(told(3600), [(ConditionCode::GpuErrors, "a".to_owned())]);
        assert_eq!(told(3601), [], "an hour later");
    }

    #[test]
    fn the_health_of_a_device_is_what_its_conditions_say() {
        let judged = |change: fn(&mut GpuStats)| {
            let mut look = look(&["a", "b"], 0);
            change(&mut look.stats[0]);
            let found = Health::default().conditions(&[], &look.stats, at(1));
            Health::judged(&look.gpus, &look.stats, &found)
                .into_iter()
                .map(|gpu| gpu.health)
                .collect::<Vec<_>>()
        };
        use GpuHealth::{Defective, Errors, Well};
        assert_eq!(judged(|_| {}), [Well, Well]);
        assert_eq!(judged(|stats| stats.ecc_uncorrected = 1), [Errors, Well]);
        assert_eq!(judged(|stats| stats.pages_pending = true), [Defective, Well]);
        assert_eq!(judged(|stats| stats.remap_failed = true), [Defective, Well]);
    }

    #[test]
    fn an_error_that_comes_with_the_loss_counts() {
        let mut health = Health::default();
        let mut seen = Seen { gpus: vec![gpu("a"), gpu("b")], ..Seen::default() };
        let mut step = |look: &Look, second: i64| {
            let mut lost = lost(&seen, look, "missing", at(second));
            let stats = health.stats(look, &mut lost, at(second));
            let conditions = health.conditions(&lost, &stats, at(second));
            seen = Seen { gpus: look.gpus.clone(), lost: lost.clone(), ..Seen::default() };
            (lost, stats, conditions)
        };
        let xids = vec![Xid { uuid: "a".to_owned(), code: 79 }];
        let (gone, _, conditions) = step(&Look { xids, ..look(&["b"], 0) }, 1);
        assert_eq!((gone[0].xid_count, gone[0].xid), (1, 79));
        assert_eq!(conditions[0].message, "a L4 is lost: missing; its last error was XID 79");
        assert_eq!(step(&look(&["b"], 0), 2).0[0].xid_count, 1);
        let (gone, stats, conditions) = step(&look(&["a", "b"], 0), 3);
        assert!(gone.is_empty());
        assert_eq!(stats.iter().map(|of| (of.xid_count, of.xid)).collect::<Vec<_>>(), [(1, 79), (0, 0)]);
        let codes: Vec<_> = conditions.iter().map(|found| found.code).collect();
        assert_eq!(codes, [ConditionCode::GpuErrors]);
    }

    #[test]
    fn an_error_of_a_divided_gpu_is_told_for_its_parts() {
        let mut health = Health::default();
        let mut look = look(&["MIG-1", "b"], 0);
        look.gpus[0].parent = Some("a".to_owned());
        look.divided = vec!["a".to_owned()];
        look.xids = vec![Xid { uuid: "a".to_owned(), code: 79 }];
        let stats = health.stats(&look, &mut [], at(1));
        assert_eq!(
            stats.iter().map(|stats| (stats.xid_count, stats.xid)).collect::<Vec<_>>(),
            [(1, 79), (0, 0)]
        );
        let found = health.conditions(&[], &stats, at(1));
        assert_eq!(found.iter().map(|found| found.code).collect::<Vec<_>>(), [ConditionCode::GpuErrors]);
    }
}
