//! One plan with every bad slot of a table in it, beside an honest new one: each bad slot is refused by itself, the
//! rest of the plan applies.

use std::time::Duration;

use serde_json::{Value, json};
use windlass_certs::dsse::PayloadType;
use windlass_core::Digest;
use windlass_core::observation::SlotStatus;
use windlass_tests::rogue::papers::slot;
use windlass_tests::rogue::scene::{self, Scene};
use windlass_tests::rogue::server::within;
use windlass_tests::rogue::target::status;
use windlass_tests::rogue::{Draft, Sealed, Target};

use super::check;

/// The content of a slot and its refusal, by the attack's name.
pub(super) type Row = (&'static str, &'static str, &'static str, fn(&Target, &str) -> Bad);

const LIMIT: Duration = Duration::from_secs(30);

/// A slot of the plan, and what the coordinator answers when asked for the release it names.
pub(super) struct Bad {
    slot: Value,
    answer: Option<Vec<u8>>,
}

impl Bad {
    /// A release that is what it says, signed by somebody who may; it is the host that does not want it.
    pub(super) fn honest(target: &Target, release: &Draft) -> Self {
        Self::sealed(&release.seal(PayloadType::Release, &[&target.keys.people[0]]), release)
    }

    /// A release as somebody sealed it, in its own slot.
    pub(super) fn sealed(sealed: &Sealed, release: &Draft) -> Self {
        let text = |key: &str| release.0[key].as_str().unwrap().to_owned();
        let name = format!("{}/{}/0", text("environment"), text("service"));
        Self { slot: slot(&name, &sealed.digest), answer: Some(sealed.envelope.clone()) }
    }

    /// The same slot, but this is what the coordinator answers.
    pub(super) fn answered(mut self, answer: Option<Vec<u8>>) -> Self {
        self.answer = answer;
        self
    }

    /// Changes the plan's slot.
    pub(super) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.slot[key] = value.into();
        self
    }

    fn name(&self) -> &str {
        self.slot["slot"].as_str().unwrap()
    }
}

/// A small release that is fine but for what a row changes: its image is not on the host.
pub(super) fn release(target: &Target, service: &str) -> Draft {
    Draft::release(service, 7, &target.fresh)
}

/// Runs a table; answers what went wrong.
pub(super) fn run(target: &mut Target, rows: &[Row]) -> Vec<String> {
    let before = Scene::of(&target.host.engine).unwrap();
    let since = scene::moment();
    let bad: Vec<Bad> = rows
        .iter()
        .enumerate()
        .map(|(n, (.., forge))| forge(target, &format!("production/evil{n}")))
        .collect();
    for one in &bad {
        let digest: Digest = one.slot["release"].as_str().unwrap().parse().unwrap();
        if let Some(envelope) = one.answer.clone() {
            target.serve(&Sealed { envelope, digest });
        }
    }
    let rest = target.publish(&Draft::release("production/rest", 1, &target.image));
    let mut plan = target.plan();
    let slots = plan.0["slots"].as_array_mut().unwrap();
    slots.push(slot("production/rest/0", &rest.digest));
    slots.extend(bad.iter().map(|one| one.slot.clone()));
    let plan = Draft::plan(&target.host.name, target.seq + 1, slots.clone());

    let mut wrong = Vec::new();
    let mut note = |what: &str, result: Result<(), String>| {
        wrong.extend(result.err().map(|error| format!("{what}: {error}")));
    };
    note("the plan", target.accept(&plan));
    for ((name, code, detail, _), one) in rows.iter().zip(&bad) {
        let refused = target.rogue.observed(LIMIT, |seen| match status(seen, one.name()) {
            Some(SlotStatus::Refused(refusal)) => Ok(refusal.clone()),
            other => Err(format!("it was not refused: {other:?}")),
        });
        note(name, refused.and_then(|refusal| check(&refusal, code, detail)));
    }
    note("the rest of the plan", target.settled("production/rest/0"));
    note("the honest service", target.serves());
    note("the engine", only_the_rest(target, &before, &since));
    // A refused slot leaves nothing behind, and the next honest plan is as good as any.
    note("the next plan", target.honest());
    let gone = || {
        let now = Scene::of(&target.host.engine).map_err(|error| error.to_string())?;
        if now == before { Ok(()) } else { Err(format!("{now:?} is not {before:?}")) }
    };
    note("what is left", within(LIMIT, gone));
    note("the honest service at last", target.serves());
    wrong
}

/// Containers of the honest new slot were made, and nothing else; nothing was pulled.
fn only_the_rest(target: &Target, before: &Scene, since: &str) -> Result<(), String> {
    let now = Scene::of(&target.host.engine).map_err(|error| error.to_string())?;
    let strange: Vec<&String> =
        now.containers.keys().filter(|name| !before.containers.contains_key(*name)).collect();
    if strange.len() != 1 || !strange[0].contains(".production.rest.") {
        return Err(format!("new containers: {strange:?}"));
    }
    if now.images != before.images {
        return Err(format!("images are {:?}, were {:?}", now.images, before.images));
    }
    let events = scene::events(&target.host.engine, since).map_err(|error| error.to_string())?;
    let made = events.iter().any(|event| event.starts_with("container start") && event.contains(".rest."));
    let odd: Vec<&String> = events
        .iter()
        .filter(|event| !event.contains(".production.rest.") && !event.starts_with("network connect"))
        .collect();
    if made && odd.is_empty() { Ok(()) } else { Err(format!("the engine did: {odd:?}")) }
}

/// A probe that nobody needs: for releases whose ports are the attack.
pub(super) fn without_health(release: Draft) -> Draft {
    release.with("spec.health", json!({}))
}
