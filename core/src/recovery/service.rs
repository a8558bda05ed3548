//! One service, put together from what its hosts hold.

use std::borrow::Cow;

use crate::digest::Digest;
use crate::id::{HostId, RolloutId, ServiceId};
use crate::plan::{Phase, PlanSlot};
use crate::release::Scale;
use crate::rollout::KEEP_OLD;
use crate::service::{Mode, ReleaseRef, Service, Slots};
use crate::slot::{self, Slot, Transition};
use crate::time::Timestamp;

use super::model::{COUNTER_GAP, Merged, Others, SLOT_GAP, Shown, Stored};
use super::rollouts::Course;
use super::{exclusive, rollouts};

/// The word of a host's plan about one slot.
pub(super) struct Word<'a> {
    pub(super) host: &'a HostId,
    pub(super) issued_at: Timestamp,
    pub(super) part: Cow<'a, PlanSlot>,
}

pub(super) fn merge<'a>(
    stored: Stored<'a>,
    shown: &'a Shown<'_>,
    id: &ServiceId,
    mut words: Vec<Word<'a>>,
    new_id: &mut impl FnMut() -> RolloutId,
    now: Timestamp,
    merged: &mut Merged,
) {
    static NONE: Slots = Slots::new();
    let old = stored.slots.get(id).unwrap_or(&NONE);
    let known = stored.services.get(id);
    let mut service = known.cloned().unwrap_or_else(|| Service::new(id.clone()));
    let mut slots = taken_over(old, shown, &words, now);
    service.last_counter = service.last_counter.max(shown.counters.get(id).copied().unwrap_or(0));
    if &slots != old {
        let active = service.rollout.as_ref().and_then(|active| stored.rollouts.get(active));
        let course = match active.filter(|_| shown.others == Others::GoneOn) {
            Some(active) if active.is_to_good() => Some(Course::At(active.to)),
            Some(active) => Some(Course::Trying(active.to)),
            None => {
                words.extend(stored_words(old, shown));
                words.sort_by_key(|word| word.issued_at);
                remember_good(&mut service, shown, &words);
                let course = course(shown, &words);
                set_mode(&mut service, &words);
                merged.rollouts.extend(rollouts::conclude(&mut service, active, course, new_id, now));
                course
            }
        };
        let to = course.map(Course::release);
        // A set that stands beside a whole other one was never to change.
        let stays = to.filter(|to| is_whole(&service, shown, to, &slots)).map(|to| to.digest);
        let changing = slots.values_mut().filter(|slot| stays.is_none_or(|to| slot.release() == to));
        match course {
            Some(Course::At(to)) => {
                service.current = Some(to);
                changing.for_each(|slot| bring_to(slot, to.digest, None, true));
                slots
                    .values_mut()
                    .filter(|slot| slot.release() != to.digest)
                    .for_each(|slot| retire(slot, now));
            }
            Some(Course::Trying(to)) => {
                service.current = Some(to);
                let fallback = service.last_good().map(|from| from.digest);
                changing.for_each(|slot| bring_to(slot, to.digest, fallback, false));
            }
            None if slots.is_empty() => service.current = None,
            None => {}
        }
        let counted = slots.values().filter(|slot| stays.is_none_or(|to| slot.release() == to));
        count(&mut service, shown, known.is_none(), &slots, counted);
        let most = known.map_or(service.replicas, |known| known.replicas);
        exclusive::hold_back(&mut slots, shown, most);
    }
    if shown.others == Others::Unheard {
        service.last_counter += COUNTER_GAP;
        service.next_index += SLOT_GAP;
    }
    if known != Some(&service) {
        merged.services.insert(id.clone(), service);
    }
    let gone = old.keys().filter(|slot| !slots.contains_key(slot)).map(|slot| (slot.clone(), None));
    merged.slots.extend(gone);
    let changed = slots.into_iter().filter(|(slot, assignment)| old.get(slot) != Some(assignment));
    merged.slots.extend(changed.map(|(slot, assignment)| (slot, Some(assignment))));
}

/// The slots as the hosts that were heard have them; those of other hosts as stored.
fn taken_over(old: &Slots, shown: &Shown<'_>, words: &[Word<'_>], now: Timestamp) -> Slots {
    let mut slots = old.clone();
    slots.retain(|_, slot| !shown.plans.contains_key(slot.host()));
    for Word { host, part, .. } in words {
        let before = old.get(&part.slot).filter(|slot| slot.host() == *host);
        let same = before.filter(|before| before.plan() == **part).cloned();
        let adopt = || {
            let (host, part) = ((*host).clone(), Box::new(part.clone().into_owned()));
            slot::apply(before, &Transition::Adopt { host, part, until: now + KEEP_OLD }).ok()
        };
        if let Some(slot) = same.or_else(adopt) {
            slots.insert(part.slot.clone(), slot);
        }
    }
    slots
}

/// The store's knowledge of other hosts, which is a word as well where the fleet has gone on.
fn stored_words<'a>(old: &'a Slots, shown: &'a Shown<'_>) -> impl Iterator<Item = Word<'a>> {
    let others = if shown.others == Others::GoneOn { Some(old.values()) } else { None };
    others.into_iter().flatten().filter_map(|slot| {
        let issued_at = *shown.since.get(slot.host())?;
        Some(Word { host: slot.host(), issued_at, part: Cow::Owned(slot.plan()) })
    })
}

/// Remembers the good releases: a release that plans call good was good, and a fallback is nothing else. The newest word comes
/// last.
fn remember_good(service: &mut Service, shown: &Shown<'_>, words: &[Word<'_>]) {
    for Word { part, .. } in words {
        let good = Some(part.release).filter(|_| part.good);
        let names = [part.fallback, good].into_iter().flatten();
        names.filter_map(|digest| reference(shown, &digest)).for_each(|name| service.mark_good(name));
    }
}

/// The newest plans decide; among plans of one moment, what is on trial: a person then looks.
fn course(shown: &Shown<'_>, words: &[Word<'_>]) -> Option<Course> {
    let newest = words.last()?.issued_at;
    let newest = || words.iter().filter(move |word| word.issued_at == newest);
    let pick = |word: &Word<'_>| reference(shown, &word.part.release);
    let trying = newest().filter(|word| !word.part.good).filter_map(pick).max_by_key(|name| name.counter);
    let at = || newest().filter_map(pick).max_by_key(|name| name.counter);
    trying.map(Course::Trying).or_else(|| at().map(Course::At))
}

/// A service whose slots all stand still was stopped, one that runs somewhere was not.
fn set_mode(service: &mut Service, words: &[Word<'_>]) {
    let Some(newest) = words.last().map(|word| word.issued_at) else { return };
    let mut newest = words.iter().filter(|word| word.issued_at == newest);
    let stands_still = newest.all(|word| word.part.good && word.part.phase == Phase::Standby);
    service.mode = if stands_still { Mode::Stopped } else { Mode::Running };
    service.leaving.clear();
}

pub(super) fn reference(shown: &Shown<'_>, digest: &Digest) -> Option<ReleaseRef> {
    shown.releases.get(digest).map(|release| ReleaseRef::of(release, *digest))
}

/// Gives a slot that another word left behind its part, as the rollout of `to` would have.
fn bring_to(slot: &mut Slot, release: Digest, fallback: Option<Digest>, good: bool) {
    if let Ok(brought) = slot::apply(Some(slot), &Transition::BringTo { release, good, fallback }) {
        *slot = brought;
    }
}

/// Whether the release has as many slots as the service is to have: where its strategy starts a second set, any others are the
/// first one, on other hosts.
fn is_whole(service: &Service, shown: &Shown<'_>, to: &ReleaseRef, slots: &Slots) -> bool {
    let Some(release) = shown.releases.get(&to.digest).filter(|release| release.spec.runs_beside()) else {
        return false;
    };
    let wanted = service.replicas_for(release).filter(|_| service.replicas > 0);
    let at = slots.values().filter(|slot| slot.release() == to.digest).count();
    wanted.is_some_and(|wanted| at >= wanted as usize)
}

/// The set that another one has replaced goes as soon as that serves.
fn retire(slot: &mut Slot, now: Timestamp) {
    if let Ok(kept) = slot::apply(Some(slot), &Transition::Retain { until: now }) {
        *slot = kept;
    }
}

/// The desired number of instances, by those that count, and the next index.
fn count<'a>(
    service: &mut Service,
    shown: &Shown<'_>,
    is_new: bool,
    slots: &Slots,
    counted: impl Iterator<Item = &'a Slot>,
) {
    let last = slots.keys().map(|slot| slot.index + 1).max().unwrap_or(0);
    service.next_index = service.next_index.max(last);
    let restarts = slots.values().map(|slot| slot.target().generation).max().unwrap_or(0);
    service.generation = service.generation.max(restarts);
    let release = service.current.and_then(|current| shown.releases.get(&current.digest));
    let Some(Scale::Replicas { min, max }) = release.map(|release| release.spec.scale) else { return };
    let single = counted.filter(|slot| slot.stands_in_for().is_none() && !slot.is_kept()).count();
    let single = u32::try_from(single).unwrap_or(u32::MAX);
    let wanted = match shown.others {
        Others::GoneOn if !is_new => service.replicas,
        Others::Unheard if !is_new => service.replicas.max(single),
        Others::None | Others::Unheard | Others::GoneOn => single,
    };
    service.replicas = wanted.clamp(min, max);
}
