//! An ingress beside the agent of a host.

use std::time::Duration;

use crate::fleet::{environment, program};
use crate::process::{Process, words};
use crate::{Fleet, Host, http, wait};

/// The name under which sample services are reached.
pub const NAME: &str = "web.lab";

/// Starts an ingress beside the agent of a host; it listens on port 80 there.
pub fn start(fleet: &Fleet, host: &Host, log: &str) -> Process {
    start_with(fleet, host, log, &[])
}

/// The same with more arguments.
pub fn start_with(fleet: &Fleet, host: &Host, log: &str, arguments: &[&str]) -> Process {
    let command = words([program("windlass-agent"), "ingress".into(), "--data".into()]);
    let listen = format!("{}:80", host.address);
    let more = words(["--http", &listen, "--metrics", "127.0.0.1:9580"]);
    let data = std::iter::once(fleet.data_of(host).into_os_string());
    let all = command.into_iter().chain(data).chain(more).chain(words(arguments));
    let command = host.on(all.collect());
    Process::start("windlass-agent ingress", command, environment(&fleet.folder), &fleet.folder.join(log))
}

/// Waits until the name is answered by `version`, whatever else answers.
pub fn wait_until_routed(at: &str, version: &str) {
    wait_until_answered(at, NAME, "/version", version);
}

/// The same of another name and path.
pub fn wait_until_answered(at: &str, name: &str, path: &str, version: &str) {
    wait::until(&format!("{name}{path} is answered by {version}"), Duration::from_secs(30), || {
        let body = answers(at, name, path)?;
        if body.contains(version) { Ok(()) } else { Err(body) }
    });
}

/// The body of the answer to a request, or why there is none with status 200.
pub fn answers(at: &str, name: &str, path: &str) -> Result<String, String> {
    let answer =
        http::get_of(at, name, path, Duration::from_secs(5)).map_err(|error| format!("{error:#}"))?;
    if answer.status == 200 { Ok(answer.body) } else { Err(format!("{answer:?}")) }
}

/// The sum of a metric of the ingress on a host, over the lines that have all of these labels.
pub fn metric(host: &Host, name: &str, labels: &[&str]) -> f64 {
    let text = host.run(&["curl", "--silent", "--fail", "--max-time", "5", "http://127.0.0.1:9580/metrics"]);
    let lines = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
    let lines = lines.filter(|line| labels.iter().all(|label| line.contains(label)));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}
