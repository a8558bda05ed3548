//! Step 14: what a registry may not pass off for the image that was signed.

use std::time::Duration;

use windlass_certs::dsse::PayloadType;
use windlass_core::observation::{SlotStatus, TroubleCode};
use windlass_tests::rogue::papers::slot;
use windlass_tests::rogue::scene::Scene;
use windlass_tests::rogue::target::status;
use windlass_tests::rogue::{Draft, Lie, Pinned, Target};

use super::{check, conclude};

const LIMIT: Duration = Duration::from_secs(20);
/// The refusal of each.
pub(super) const CODE: &str = "wrong_image";

#[rustfmt::skip]
const ROWS: [(&str, Lie, &str); 5] = [
    ("another manifest under the digest", Lie::Manifest, "production/manifest"),
    ("another configuration than the manifest names", Lie::Config, "production/config"),
    ("a layer with one bit changed", Lie::Layer, "production/layer"),
    ("a layer without an end", Lie::Endless, "production/endless"),
    ("an image for another processor", Lie::Platform, "production/platform"),
];

#[test]
fn an_image_that_is_not_the_one_signed_is_never_started() {
    let mut target = Target::start("rogue-images", "", |_, _, _| {});
    let before = Scene::of(&target.host.engine).unwrap();
    let mut wrong = Vec::new();
    let mut plan = target.plan();
    let mut slots = plan.0["slots"].as_array_mut().unwrap().clone();
    for (_, lie, service) in ROWS {
        let draft = Draft::release(service, 1, target.liar.image(lie));
        let sealed = draft.seal(PayloadType::Release, &[&target.keys.people[0]]);
        target.serve(&sealed);
        slots.push(slot(&format!("{service}/0"), &sealed.digest));
    }
    let all = Draft::plan(&target.host.name, target.seq + 1, slots.clone());
    target.accept(&all).unwrap();
    judge(&mut target, "at first", &before, &mut wrong);

    // An image that was pulled and found wrong is still wrong when it lies there: for the next plan, and the next agent.
    let again = Draft::plan(&target.host.name, target.seq + 1, slots);
    target.accept(&again).unwrap();
    judge(&mut target, "with the next plan", &before, &mut wrong);
    target.restart();
    judge(&mut target, "after a restart", &before, &mut wrong);
    if let Err(error) = target.honest().and_then(|()| target.serves()) {
        wrong.push(format!("at last: {error}"));
    }
    conclude(3 * ROWS.len(), &wrong);
}

/// The bytes of the honest image under a repository that does not have them: a host with `verify_origin` asks the registry,
/// however many images it has.
#[test]
fn an_image_of_another_repository_does_not_start() {
    let mut target = Target::start("rogue-origin", "verify_origin = true", |_, _, _| {});
    let nowhere =
        Pinned { repository: format!("{}/web/nowhere", target.lab.registry()), ..target.image.clone() };
    let sealed = target.publish(&Draft::release("production/elsewhere", 1, &nowhere));
    let mut slots = target.slots.clone();
    slots.push(slot("production/elsewhere/0", &sealed.digest));
    target.accept(&Draft::plan(&target.host.name, target.seq + 1, slots)).unwrap();
    let asked = target.rogue.observed(LIMIT, |seen| {
        let slot = seen.slots.iter().find(|slot| slot.slot.to_string() == "production/elsewhere/0");
        match slot.and_then(|slot| slot.trouble.as_ref()) {
            Some(trouble) if trouble.code == TroubleCode::PullFailed => Ok(()),
            other => Err(format!("the registry was not asked: {other:?}, {slot:?}")),
        }
    });
    asked.unwrap();
    assert!(target.host.engine.running("elsewhere").unwrap().is_empty());
    // An image that came from where it was signed to be runs, also after a restart.
    target.restart();
    target.honest().and_then(|()| target.serves()).unwrap();
}

/// Every slot is refused, and none of them has a container.
fn judge(target: &mut Target, when: &str, before: &Scene, wrong: &mut Vec<String>) {
    for (name, _, service) in ROWS {
        let refused = target.rogue.observed(LIMIT, |seen| match status(seen, &format!("{service}/0")) {
            Some(SlotStatus::Refused(refusal)) => Ok(refusal.clone()),
            other => Err(format!("it was not refused: {other:?}")),
        });
        let refused = refused.and_then(|refusal| check(&refusal, CODE, ""));
        wrong.extend(refused.err().map(|error| format!("{name}, {when}: {error}")));
    }
    let now = Scene::of(&target.host.engine).unwrap();
    if now.containers != before.containers {
        wrong.push(format!("{when}: containers are {:?}", now.containers));
    }
    wrong.extend(target.serves().err().map(|error| format!("{when}: {error}")));
}
