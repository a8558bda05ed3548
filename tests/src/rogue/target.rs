//! A host under attack: its agent is a release build that joined the rogue's fleet and runs one honest service.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_certs::trust::TrustDocument;
use windlass_core::observation::{Observation, Refusal, SlotStatus};
use windlass_testkit::keys::seal_trust;

use super::keys::Keys;
use super::papers::{Draft, Sealed, slot};
use super::registry::{Liar, Pinned};
use super::scene::{self, Scene};
use super::server::{Rogue, within};
use crate::fleet::{environment, path, program};
use crate::host::Host;
use crate::lab::Lab;
use crate::process::{Process, words};
use crate::{wait, watch};

const SOON: Duration = Duration::from_secs(10);
const SETTLED: Duration = Duration::from_secs(30);
/// The one service that must never notice anything.
pub const WEB: &str = "production/web/0";

/// The host, and everybody around it.
#[derive(Debug)]
pub struct Target {
    /// The agent.
    pub agent: Process,
    /// The coordinator that lies.
    pub rogue: Rogue,
    /// The registry that lies.
    pub liar: Liar,
    /// Every key.
    pub keys: Arc<Keys>,
    /// The host.
    pub host: Host,
    /// An image that the host has: it runs.
    pub image: Pinned,
    /// An image that the host does not have.
    pub fresh: Pinned,
    /// Slots of the plan in force.
    pub slots: Vec<Value>,
    /// Number of the plan in force.
    pub seq: u64,
    /// The plan in force.
    pub last: Vec<u8>,
    /// The scenario's folder.
    pub folder: PathBuf,
    /// The lab.
    pub lab: Lab,
}

impl Target {
    /// Starts a host with the lab's policy and `policy` in front of it, joins it to a rogue whose trust document is
    /// changed by `edit`, and waits until its honest service serves.
    #[track_caller]
    pub fn start(name: &str, policy: &str, edit: impl FnOnce(&Keys, &Pinned, &mut TrustDocument)) -> Self {
        Self::start_in(Lab::enter(), name, policy, edit)
    }

    /// The same, in a lab that was entered before.
    #[track_caller]
    pub fn start_in(
        lab: Lab,
        name: &str,
        policy: &str,
        edit: impl FnOnce(&Keys, &Pinned, &mut TrustDocument),
    ) -> Self {
        let folder = lab.scratch(name);
        let host = lab.hosts(1).remove(0);
        let keys = Arc::new(Keys::generate());
        let rogue = Rogue::start(&lab.gateway(), keys.clone());
        let liar = Liar::start(&lab.gateway(), &lab.registry());
        let (image, fresh) =
            (Pinned::of(&lab.registry(), "web", "v1"), Pinned::of(&lab.registry(), "web", "v2"));
        let mut trust = keys.trust(&rogue.address());
        edit(&keys, &fresh, &mut trust);
        let trust = seal_trust(&trust, &[&keys.root]);
        let pin = Envelope::parse(&trust, PayloadType::Trust.max_len()).expect("an envelope").digest();
        let token = rogue.token(&keys, &host.name, pin);
        rogue.script(|script| script.trust = vec![trust]);
        let registries = format!("[\"{}/web\", \"{}\"]", lab.registry(), liar.address());
        let text = format!("{policy}\nregistries = {registries}\ninsecure_registries = {registries}\n");
        fs::write(folder.join("policy.toml"), text).expect("the scenario's folder can be written");
        let command = |words: Vec<std::ffi::OsString>| {
            let data = ["--data".into(), folder.join("agent").into()];
            let policy = ["--policy".into(), folder.join("policy.toml").into()];
            let program = [program("windlass-agent")];
            host.on(program.into_iter().chain(words).chain(data).chain(policy).collect())
        };
        let join =
            words(["join", "--server", &rogue.address(), "--token", &token, "--address", &host.address]);
        let log = folder.join("join.log");
        let mut join = Process::start("join", command(join), environment(&folder), &log);
        let ended = wait::until("the host has joined", SOON, || join.ended().ok_or_else(|| join.output()));
        assert!(ended.success(), "{}", join.output());
        let run = command(words(["run", "--engine", &host.engine.url(), "--log", "json"]));
        let agent = Process::start("agent", run, environment(&folder), &folder.join("agent.log"));
        let (slots, last) = (Vec::new(), Vec::new());
        let mut target =
            Self { agent, rogue, liar, keys, host, image, fresh, slots, seq: 0, last, folder, lab };
        let web = Draft::release("production/web", 7, &target.image);
        target.install(WEB, &web);
        target
    }

    /// Puts an honest release into a slot and waits until it serves for good.
    #[track_caller]
    pub fn install(&mut self, name: &str, release: &Draft) {
        let sealed = self.publish(release);
        self.slots.retain(|slot| slot["slot"] != name);
        self.slots.push(slot(name, &sealed.digest));
        self.honest().expect("an honest plan is taken");
        self.settled(name).expect("and carried out");
        let kept = || {
            let scene = Scene::of(&self.host.engine).map_err(|error| format!("{error:#}"))?;
            let ids = scene.containers.values().map(|(id, _)| id);
            let policies: Vec<(bool, Value)> = ids
                .filter_map(|id| self.host.engine.inspect(id).ok())
                .map(|seen| (self.has_bind(&seen), seen["HostConfig"]["RestartPolicy"]["Name"].clone()))
                .collect();
            // An agent starts a container with a bind again by itself.
            let kept = |bound: bool| if bound { "no" } else { "unless-stopped" };
            let all = policies.iter().all(|(bound, policy)| policy == kept(*bound));
            if all { Ok(()) } else { Err(format!("{policies:?}")) }
        };
        within(SOON, kept).expect("what proved itself survives its agent");
    }

    /// Whether a container binds a folder of the host that is not the agent's.
    fn has_bind(&self, seen: &Value) -> bool {
        let agent = self.at("agent");
        let mut mounts = seen["Mounts"].as_array().into_iter().flatten();
        mounts.any(|mount| {
            mount["Type"] == "bind" && mount["Source"].as_str().is_some_and(|path| !path.starts_with(&agent))
        })
    }

    /// Signs a release with an honest key and has it ready for whoever asks.
    pub fn publish(&self, release: &Draft) -> Sealed {
        let sealed = release.seal(PayloadType::Release, &[&self.keys.people[0]]);
        self.serve(&sealed);
        sealed
    }

    /// Has an envelope ready for whoever asks for its digest.
    pub fn serve(&self, sealed: &Sealed) {
        let (digest, envelope) = (sealed.digest.to_string(), sealed.envelope.clone());
        self.rogue.script(|script| drop(script.releases.insert(digest, envelope)));
    }

    /// The next plan, with the slots in force.
    pub fn plan(&self) -> Draft {
        Draft::plan(&self.host.name, self.seq + 1, self.slots.clone())
    }

    /// Signs a plan as a coordinator does.
    pub fn seal(&self, plan: &Draft) -> Sealed {
        plan.seal(PayloadType::Plan, &self.keys.dispatch.each_ref())
    }

    /// Offers the next honest plan, which must be taken.
    ///
    /// # Errors
    /// If it is not; says what was observed instead.
    pub fn honest(&mut self) -> Result<(), String> {
        self.accept(&self.plan())
    }

    /// Offers a plan that must be taken.
    ///
    /// # Errors
    /// If it is not; says what was observed instead.
    pub fn accept(&mut self, plan: &Draft) -> Result<(), String> {
        let (sealed, seq) = (self.seal(plan), plan.0["seq"].as_u64().unwrap_or_default());
        self.rogue.offer(&sealed.envelope);
        self.rogue.observed(SOON, |seen| match &seen.plan_refusal {
            None if seen.seq == seq => Ok(()),
            refusal => Err(format!("an honest plan {seq} was not taken: at {}, {refusal:?}", seen.seq)),
        })?;
        (self.seq, self.last) = (seq, sealed.envelope);
        Ok(())
    }

    /// Offers a plan that must be refused, and waits for the refusal.
    ///
    /// # Errors
    /// If it was taken, or nothing was said.
    pub fn refused(&self, envelope: &[u8]) -> Result<Refusal, String> {
        self.rogue.offer(envelope);
        let seq = self.seq;
        self.rogue.observed(SOON, |seen| match &seen.plan_refusal {
            Some(refusal) if seen.seq == seq => Ok(refusal.clone()),
            Some(_) | None => Err(format!("it was not refused: at plan {}, was at {seq}", seen.seq)),
        })
    }

    /// Waits until a slot is as planned.
    ///
    /// # Errors
    /// If it never is.
    pub fn settled(&self, name: &str) -> Result<(), String> {
        self.rogue.observed(SETTLED, |seen| match status(seen, name) {
            Some(SlotStatus::Settled) => Ok(()),
            other => Err(format!("{name} is not as planned: {other:?}")),
        })
    }

    /// Checks the state after every attack: the agent lives, the service answers, and the engine did nothing since.
    ///
    /// # Errors
    /// If not; says what happened.
    pub fn untouched(&mut self, since: &str) -> Result<(), String> {
        if let Some(status) = self.agent.ended() {
            return Err(format!("the agent ended with {status}"));
        }
        let events = scene::events(&self.host.engine, since).map_err(|error| format!("{error:#}"))?;
        if !events.is_empty() {
            return Err(format!("the engine was told to act: {events:?}"));
        }
        self.serves()
    }

    /// The honest service answers.
    ///
    /// # Errors
    /// If not.
    pub fn serves(&self) -> Result<(), String> {
        let answers: Vec<String> =
            self.host.serving("web").iter().map(|body| watch::version_of(body)).collect();
        if answers == ["v1"] { Ok(()) } else { Err(format!("the honest service answers {answers:?}")) }
    }

    /// Lines of the agent's audit log about refusals with this code.
    pub fn audited(&self, code: &str) -> usize {
        let log = self.agent.output();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["target"] == "windlass_agent::audit" && line["code"] == code).count()
    }

    /// Kills the agent and starts it again. What was observed before no longer counts.
    pub fn restart(&mut self) {
        self.agent.kill_9();
        self.rogue.cut();
        self.agent.start_again();
    }

    /// A path of the scenario's folder, as text.
    pub fn at(&self, name: &str) -> String {
        path(&self.folder.join(name)).to_owned()
    }
}

/// The status of a slot, by its name.
pub fn status<'a>(seen: &'a Observation, name: &str) -> Option<&'a SlotStatus> {
    seen.slots.iter().find(|one| one.slot.to_string() == name).map(|one| &one.status)
}

impl Drop for Target {
    #[expect(clippy::print_stderr, reason = "the test runner captures it and shows it with the failure")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}\n--- everything else is in {}", self.agent.tail(25), self.folder.display());
        }
    }
}
