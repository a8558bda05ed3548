//! Logs of instances on real engines: whole, in order, over crashes and rollouts, and never at the cost of a host's link.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use windlass_core::Timestamp;
use windlass_testkit::now;
use windlass_tests::engine::Container;
use windlass_tests::fleet::{environment, path, program};
use windlass_tests::process::{Process, resident_kib};
use windlass_tests::{Cli, Fleet, FleetOptions, Host, Lab, Output, Service, http, wait};

const LIMIT: Duration = Duration::from_secs(60);
const BURST: usize = 10_000;
const LONG: usize = 40_000;
const CROWD: usize = 20;

fn ask(host: &Host, container: &Container, request: &str) -> String {
    let address = format!("{}:{}", host.address, container.port.unwrap());
    let answer = http::get(&address, request, LIMIT).unwrap();
    assert_eq!(answer.status, 200, "{request}: {}", answer.body);
    answer.body
}

/// The number of links of agents to the coordinator, and the coordinator's messages about the hosts.
fn links(fleet: &Fleet) -> (usize, Vec<Value>) {
    let all: String = fleet.agents.iter().map(Process::output).collect();
    assert!(!all.contains("the link to the coordinator broke"), "{all}");
    let mut told = fleet.cli.ok(&["events", "--kind", "host", "-o", "json"]).lines();
    // A heartbeat that came late is no link that broke: a busy machine may hold it up.
    told.retain(|event| !["host.suspect", "host.returned"].contains(&event["kind"].as_str().unwrap()));
    (all.matches("linked to the coordinator").count(), told)
}

/// Numbers of the lines with a mark, in the order in which they came.
fn numbers(text: &str, mark: &str) -> Vec<usize> {
    let mark = format!("  {mark} ");
    let numbers = text.lines().filter_map(|line| line.split_once(&mark)?.1.split_whitespace().next());
    numbers.map(|number| number.parse().unwrap()).collect()
}

#[track_caller]
fn expect_burst(output: &Output, mark: &str) {
    let brief = || format!("exit code {}, {}", output.code, output.stderr);
    assert_eq!(output.code, 0, "{}", brief());
    let seen = numbers(&output.stdout, mark);
    assert!(seen == (1..=BURST).collect::<Vec<_>>(), "{} lines: {}", seen.len(), brief());
}

/// The lines that a follower in `-o json` has printed so far.
fn printed(follower: &Process) -> Vec<Value> {
    let text = follower.output();
    // The last one may be half written; what is said on standard error has no instance.
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["instance"].is_string()).collect()
}

fn wait_for_printed(follower: &Process, what: &str, look: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    wait::until(&format!("the follower shows {what}"), LIMIT, || {
        let lines = printed(follower);
        if look(&lines) { Ok(lines) } else { Err(format!("{} lines; {}", lines.len(), follower.tail(5))) }
    })
}

fn has_text(lines: &[Value], text: &str) -> bool {
    lines.iter().any(|line| line["text"].as_str().is_some_and(|found| found.contains(text)))
}

fn quiet(lab_image: &str, replicas: u32) -> Service {
    Service::web(lab_image, replicas).with("env.LOG_EVERY", "1000000")
}

#[test]
fn logs_are_whole_however_they_are_read_and_cut_no_host() {
    let fleet = Fleet::start_with(Lab::enter(), "logs-whole", 1, FleetOptions::default());
    let host = fleet.hosts[0].clone();
    fleet.deploy_ok(&quiet(&fleet.lab.image("v1"), 2), "r1");
    let running = host.engine.running("web").unwrap();
    let (chatty, wordy) = (&running[0], &running[1]);
    let viewer = viewer(&fleet);
    let before = links(&fleet);
    let memory = (resident_kib(fleet.server.pid()).unwrap(), resident_kib(fleet.agents[0].pid()).unwrap());

    let mut follower =
        fleet.cli.start_into(&["logs", "web", "-f", "-o", "json"], &fleet.folder.join("f.log"));
    wait_for_printed(&follower, "both instances", |lines| lines.len() >= 2);
    ask(&host, chatty, "/lines?mark=before&count=1");
    wait_for_printed(&follower, "a new line", |lines| has_text(lines, "before 1"));
    follower.signal("STOP");

    ask(&host, chatty, &format!("/lines?mark=burst&count={BURST}"));
    ask(&host, wordy, &format!("/lines?mark=long&count=1&bytes={LONG}"));
    let tail = BURST.to_string();
    for (n, reader) in [&fleet.cli, &viewer].into_iter().cycle().take(10).enumerate() {
        let output = reader.run(&["logs", "web", "--tail", &tail]);
        expect_burst(&output, "burst");
        let longest = output.stdout.lines().filter_map(|line| line.split_once("  ")).map(|line| line.1.len());
        assert_eq!(longest.max(), Some(LONG), "run {n}");
        fleet.wait_for_host("h1", "connected");
    }
    // Readers that go away after one line.
    let bash = Cli::new("bash".into(), environment(&fleet.folder));
    let windlass = program("windlass");
    for _ in 0..5 {
        let script = "set -o pipefail; \"$0\" logs web --tail 10000 | head -1";
        let output = bash.ok(&["-c", script, path(Path::new(&windlass))]);
        assert_eq!(output.stdout.lines().count(), 1, "{output}");
    }
    // More readers at once than a host serves, which is 16 with the follower: those that are refused lines say so.
    let crowd: Vec<_> = (0..CROWD).map(|_| fleet.cli.start(&["logs", "web", "--tail", &tail])).collect();
    let ended: Vec<Output> = crowd.into_iter().map(|reader| reader.wait()).collect();
    let (whole, partial): (Vec<_>, Vec<_>) = ended.iter().partition(|output| output.code == 0);
    println!("{CROWD} readers at once: {} whole, {} refused", whole.len(), partial.len());
    assert!(whole.len() >= 15, "{}", partial[0].stderr);
    whole.iter().for_each(|output| expect_burst(output, "burst"));
    for output in partial {
        assert!(output.code == 1 && output.stderr.contains("lines of h1 are missing"), "{}", output.stderr);
    }

    // A pause so long that the coordinator gave this reader up; it takes the log up again where it was.
    let write = |mark: &str| {
        for _ in 0..4 {
            ask(&host, chatty, &format!("/lines?mark={mark}&count={BURST}&bytes=200"));
        }
    };
    write("pause");
    expect_burst(&fleet.cli.run(&["logs", "web", "--tail", "all", "--grep", "burst "]), "burst");
    let _ = links(&fleet);
    follower.signal("CONT");
    ask(&host, chatty, "/lines?mark=after&count=1");
    let lines = wait_for_printed(&follower, "the last line", |lines| has_text(lines, "after 1"));
    let again = follower.output().matches("lost the coordinator").count();
    let (shown, dropped) = counted(&lines, &["burst ", "pause "]);
    println!("long pause: {shown} lines shown, {dropped} dropped, lost the coordinator {again} times");
    assert_eq!((shown, dropped), (5 * BURST as u64, 0), "the engine keeps them all");

    // Paused for as long as it takes to write a lot, and with others that are paused, too: nothing is lost, and nobody
    // holds it in memory.
    let others: Vec<_> = (0..6)
        .map(|n| {
            let file = fleet.folder.join(format!("other-{n}.log"));
            let other = fleet.cli.start_into(&["logs", "web", "-f", "-o", "json"], &file);
            wait_for_printed(&other, "a line", |lines| !lines.is_empty());
            other.signal("STOP");
            other
        })
        .collect();
    follower.signal("STOP");
    write("flood");
    let grown = |pid: u32, before: u64| resident_kib(pid).unwrap().saturating_sub(before) >> 10;
    let held = (grown(fleet.server.pid(), memory.0), grown(fleet.agents[0].pid(), memory.1));
    println!(
        "with 7 paused readers: the coordinator has grown by {} MiB, the agent by {} MiB",
        held.0, held.1
    );
    assert!(held.0 < 64 && held.1 < 64, "{held:?} MiB");
    follower.signal("CONT");
    ask(&host, chatty, "/lines?mark=end&count=1");
    let lines = wait_for_printed(&follower, "the end", |lines| has_text(lines, "end 1"));
    let (shown, dropped) = counted(&lines, &["burst ", "pause ", "flood "]);
    println!("short pause: {shown} lines shown, {dropped} dropped");
    assert_eq!((shown, dropped), (9 * BURST as u64, 0));
    others.into_iter().for_each(|mut other| other.kill_9());
    follower.kill_9();
    fleet.wait_for_host("h1", "connected");
    assert_eq!(links(&fleet), before, "no host lost its link");
}

/// The number of lines with these marks that came, and of those that are said to be missing.
fn counted(lines: &[Value], marks: &[&str]) -> (u64, u64) {
    let is_meant = |line: &&Value| {
        line["note"].is_null() && marks.iter().any(|mark| line["text"].as_str().unwrap().starts_with(mark))
    };
    let shown = lines.iter().filter(is_meant).count();
    let dropped = lines.iter().filter(|line| line["note"] == "dropped");
    (shown as u64, dropped.map(|line| line["dropped"].as_u64().unwrap()).sum())
}

/// Somebody who may only look.
fn viewer(fleet: &Fleet) -> Cli {
    let invited = ["operator", "add", "vera", "--role", "viewer", "--everywhere"];
    let token = fleet.cli.json(&invited)["token"].as_str().unwrap().to_owned();
    let folder = fleet.folder.join("vera");
    std::fs::create_dir_all(&folder).unwrap();
    let viewer = Cli::new(program("windlass"), environment(&folder));
    let server = format!("{}:7443", fleet.lab.gateway());
    viewer.ok(&["operator", "join", "--server", &server, "--token", &token]);
    viewer
}

#[test]
fn logs_follow_a_service_over_a_crash_and_a_rollout() {
    let fleet = Fleet::start_with(Lab::enter(), "logs-follow", 2, FleetOptions::default());
    let web = |tag: &str| quiet(&fleet.lab.image(tag), 2).with("env.LOG_EVERY_MS", "100");
    fleet.deploy_ok(&web("v1"), "r1");
    let host = &fleet.hosts[0];
    let crashing = host.engine.running("web").unwrap().remove(0);
    let instance = crashing.label("instance").to_owned();
    let before = links(&fleet);
    let read = |arguments: &[&str]| {
        let lines = fleet.cli.ok(&[&["logs", "web", "-o", "json"], arguments].concat()).lines();
        lines.into_iter().filter(|line| line["note"].is_null()).collect::<Vec<_>>()
    };

    let follow = ["logs", "web", "-f", "--tail", "all", "-o", "json"];
    let mut follower = fleet.cli.start_into(&follow, &fleet.folder.join("f.log"));
    wait_for_printed(&follower, "both hosts", |lines| {
        ["h1", "h2"].iter().all(|name| lines.iter().any(|line| line["host"] == *name))
    });
    let address = format!("{}:{}", host.address, crashing.port.unwrap());
    drop(http::get(&address, "/exit?code=7", LIMIT)); // it ends without an answer
    let starts = |lines: &[Value]| {
        let starts = |line: &&Value| line["text"].as_str().unwrap().starts_with("web: version v1 starts");
        lines.iter().filter(|line| line["host"] == "h1").filter(starts).count()
    };
    let lines = wait_for_printed(&follower, "the run after the crash", |lines| starts(lines) == 2);
    assert!(has_text(&lines, "asked to exit with code 7"), "{lines:#?}");
    assert!(lines.iter().any(|line| line["note"] == "ended" && line["host"] == "h1"), "{lines:#?}");

    let previous = read(&["--previous", "--tail", "all"]);
    assert_eq!(previous.last().unwrap()["text"], "web: fatal: asked to exit with code 7", "{previous:#?}");
    assert_eq!(starts(&previous), 1);
    let only = read(&["--instance", &instance, "--tail", "5"]);
    assert!(only.len() == 5 && only.iter().all(|line| line["instance"] == *instance), "{only:#?}");
    let since = (now() - Duration::from_secs(2), read(&["--since", "2s"]));
    assert!(!since.1.is_empty() && since.1.iter().all(|line| at(line) >= since.0), "{since:#?}");
    let found = read(&["--grep", " starts as "]);
    assert!(found.len() >= 2 && found.iter().all(|line| has_text(std::slice::from_ref(line), " starts as ")));
    let all = read(&["--tail", "all"]);
    assert!(all.is_sorted_by_key(at), "merged by time");
    assert!(["h1", "h2"].iter().all(|name| all.iter().any(|line| line["host"] == *name)), "{all:#?}");

    fleet.deploy_ok(&web("v2"), "r2");
    let lines = wait_for_printed(&follower, "both new instances", |lines| {
        let new = |name: &str| {
            let of = |line: &&Value| line["host"] == name;
            let lines: Vec<Value> = lines.iter().filter(of).cloned().collect();
            has_text(&lines, "version v2 starts") && lines.iter().any(|line| line["note"] == "started")
        };
        new("h1") && new("h2")
    });
    let new = read(&["--release", "r2", "--tail", "all"]);
    assert!(has_text(&new, "version v2 starts") && !has_text(&new, "version v1 starts"), "{new:#?}");
    follower.kill_9();
    expect_every_beat(&lines);
    assert_eq!(links(&fleet), before, "no host lost its link");
}

fn at(line: &Value) -> Timestamp {
    line["at"].as_str().unwrap().parse().unwrap()
}

/// Each run counts its beats from one: none is missing, and none came twice.
#[track_caller]
fn expect_every_beat(lines: &[Value]) {
    let mut beats: BTreeMap<&str, u64> = BTreeMap::new();
    for line in lines {
        let (instance, text) = (line["instance"].as_str().unwrap(), line["text"].as_str().unwrap());
        if text.contains(" starts as ") {
            beats.insert(instance, 0);
        }
        let beat = text.strip_prefix("web: beat ").and_then(|rest| rest.split(',').next());
        if let Some(beat) = beat {
            let last = beats.entry(instance).or_default();
            *last += 1;
            assert_eq!(*last, beat.parse::<u64>().unwrap(), "{instance}: {line}");
        }
    }
    assert!(beats.len() >= 4, "{beats:?}");
}
