//! The agent dies while it joins, while it renews its certificate, and while it takes a trust document.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use windlass_tests::crash::{self, Points};
use windlass_tests::fleet::{environment, path};
use windlass_tests::process::{Process, words};
use windlass_tests::{Fleet, FleetOptions, Lab, wait};

/// Passed by a join, and by the coordinator that answers it.
pub(crate) const JOIN: &[&str] = &[
    "agent.joining_key.begun",
    "agent.joining_key.written",
    "agent.joining_key.synced",
    "agent.joining_key.placed",
    "agent.joining_key.done",
    "agent.receipt_key.begun",
    "agent.receipt_key.written",
    "agent.receipt_key.synced",
    "agent.receipt_key.placed",
    "agent.receipt_key.done",
    "server.join.stored",
    "agent.identity.begun",
    "agent.identity.synced",
    "agent.identity.done",
    "agent.trust.synced",
    "agent.trust.done",
    "agent.journal.synced",
    "agent.journal.done",
    "agent.member.begun",
    "agent.member.written",
    "agent.member.synced",
    "agent.member.placed",
    "agent.member.done",
    "agent.forget_key.before",
    "agent.forget_key.after",
];

/// Passed by a renewal.
pub(crate) const RENEWAL: &[&str] = &[
    "server.renew.stored",
    "agent.identity.begun",
    "agent.identity.written",
    "agent.identity.synced",
    "agent.identity.placed",
    "agent.identity.done",
];

/// Passed when a newer trust document is taken.
pub(crate) const TRUST: &[&str] = &[
    "agent.trust.begun",
    "agent.trust.written",
    "agent.trust.synced",
    "agent.trust.placed",
    "agent.trust.done",
    "agent.journal.begun",
    "agent.journal.synced",
];

const SOON: Duration = Duration::from_secs(20);

/// A machine that is to join: there is no engine on it, which a host may be without for a while.
struct Machine {
    name: String,
    data: PathBuf,
    join: Vec<OsString>,
    run: Vec<OsString>,
    log: PathBuf,
}

impl Machine {
    fn new(fleet: &Fleet, name: String) -> Self {
        let (data, policy) = (fleet.folder.join(&name), fleet.folder.join(format!("{name}.toml")));
        let token = fleet.cli.ok(&["host", "token", &name]).stdout;
        let server = format!("{}:7443", fleet.lab.gateway());
        let registry = fleet.lab.registry();
        let common = words(["--data", path(&data), "--policy", path(&policy)]);
        let mut join = vec![crash::program("crash-agent"), "join".into()];
        join.extend(words(["--server", &server, "--token", token.trim(), "--address", "127.0.0.1"]));
        join.extend(words(["--registry", &registry]));
        join.extend(common.iter().cloned());
        let mut run = vec![crash::program("crash-agent"), "run".into()];
        run.extend(words(["--engine", &format!("unix://{}/no-engine.sock", fleet.folder.display())]));
        run.extend(common);
        let log = fleet.folder.join(format!("{name}.log"));
        Self { name, data, join, run, log }
    }

    fn start(&self, fleet: &Fleet, command: &[OsString], more: Vec<(OsString, OsString)>) -> Process {
        let environment = environment(&fleet.folder).into_iter().chain(more).collect();
        Process::start(&self.name, command.to_vec(), environment, &self.log)
    }

    /// Joins, or finds that it has joined already.
    #[track_caller]
    fn join(&self, fleet: &Fleet) {
        let mut join = self.start(fleet, &self.join, Vec::new());
        let ended = wait::until(&format!("{} has joined", self.name), SOON, || {
            join.ended().ok_or_else(|| "it goes on".to_owned())
        });
        let joined = ended.success() || join.output().contains("has joined fleet `lab` already");
        assert!(joined, "{}", join.tail(20));
    }
}

/// Waits until nothing is half done in an agent's folder. An agent that runs replaces its files all along, and each is on its way
/// for a moment; what a death left behind stays.
#[track_caller]
fn expect_finished(data: &Path, point: &str) {
    wait::until(&format!("nothing is half done after a death at {point}"), SOON, || {
        let unfinished = crash::unfinished(data);
        if unfinished.is_empty() { Ok(()) } else { Err(format!("{unfinished:?}")) }
    });
}

fn fleet(name: &str, settings: &str) -> (Fleet, Points) {
    let options =
        FleetOptions { crash_points: true, settings: settings.to_owned(), ..FleetOptions::default() };
    let fleet = Fleet::start_with(Lab::enter(), name, 0, options);
    let points = Points::of(&fleet.folder);
    (fleet, points)
}

#[test]
fn join_death_at_any_step_is_repeated_with_the_same_token() {
    let (mut fleet, points) = fleet("crash-join", "");
    let mut machines = Vec::new();
    for (n, point) in JOIN.iter().enumerate() {
        let machine = Machine::new(&fleet, format!("j{n}"));
        if point.starts_with("server.") {
            points.arm(&mut fleet.server, point);
            fleet.wait_for_server();
            let mut join = machine.start(&fleet, &machine.join, Vec::new());
            points.expect_death(&mut fleet.server, point);
            let ended = wait::until("the join has ended", SOON, || join.ended().ok_or_else(String::new));
            assert!(!ended.success(), "nobody answered: {}", join.tail(5));
            fleet.server.start_again();
            fleet.wait_for_server();
        } else {
            let mut join = machine.start(&fleet, &machine.join, points.environment(point));
            points.expect_death(&mut join, point);
        }
        machine.join(&fleet);
        machines.push(machine);
    }
    let agents: Vec<_> =
        machines.iter().map(|machine| machine.start(&fleet, &machine.run, Vec::new())).collect();
    for (machine, point) in machines.iter().zip(JOIN) {
        fleet.wait_for_host(&machine.name, "connected");
        assert!(!machine.data.join("joining.key").exists(), "a key is left after a death at {point}");
        expect_finished(&machine.data, point);
        assert_eq!(crash::journal(&machine.data)["trust"]["version"], 1);
    }
    drop(agents);
    assert_eq!(fleet.cli.json(&["host", "ls"]).as_array().unwrap().len(), JOIN.len());
    assert_eq!(fleet.cli.json(&["audit", "verify"])["sound"], true);
}

#[test]
fn agent_death_in_renewal_or_trust_update_is_no_clone() {
    let (mut fleet, points) = fleet("crash-renew", "[certificates]\nagent = \"4s\"\n");
    let machine = Machine::new(&fleet, "h".to_owned());
    machine.join(&fleet);
    let mut agent = machine.start(&fleet, &machine.run, points.environment(""));
    for point in RENEWAL {
        let before = std::fs::read(machine.data.join("identity.pem")).unwrap();
        if point.starts_with("server.") {
            fleet.wait_for_host("h", "connected");
            points.arm(&mut fleet.server, point);
            points.expect_death(&mut fleet.server, point);
            fleet.server.start_again();
            fleet.wait_for_server();
        } else {
            points.arm(&mut agent, point);
            points.expect_death(&mut agent, point);
            agent.start_again();
        }
        // It is renewed all the same, and the coordinator takes the new one.
        wait::until_true(&format!("the certificate is renewed after a death at {point}"), SOON, || {
            std::fs::read(machine.data.join("identity.pem")).is_ok_and(|now| now != before)
        });
        fleet.wait_for_host("h", "connected");
        expect_finished(&machine.data, point);
    }
    for (version, point) in (2..).zip(TRUST) {
        // It may die as soon as it connects: the journal is written then, too.
        points.arm(&mut agent, point);
        let mut next: Value = fleet.cli.json(&["trust", "show"]);
        next["version"] = version.into();
        let (draft, signed) =
            (fleet.folder.join("next.json"), fleet.folder.join(format!("trust-{version}.json")));
        std::fs::write(&draft, next.to_string()).unwrap();
        fleet.cli.ok(&["trust", "sign", path(&draft), "--out", path(&signed)]);
        fleet.cli.ok(&["trust", "publish", path(&signed)]);
        points.expect_death(&mut agent, point);
        agent.start_again();
        wait::until(&format!("version {version} is taken after a death at {point}"), SOON, || {
            let journal = crash::journal(&machine.data);
            if journal["trust"]["version"] == version { Ok(()) } else { Err(journal["trust"].to_string()) }
        });
        expect_finished(&machine.data, point);
    }
    fleet.wait_for_host("h", "connected");
    drop(agent);
    assert_eq!(fleet.cli.json(&["audit", "verify"])["sound"], true);
}
