//! An ingress beside the agent of a host.

use std::time::Duration;

use crate::fleet::{environment, program};
use crate::process::{Process, words};
use crate::{Fleet, Host, http, wait};

/// The name under which sample services are reached.
pub const NAME: &str = "web.lab";

/// Starts an ingress beside the agent of a host; it listens on port 80 there.
pub fn start(fleet: &Fleet, host: &Host, log: &str) -> Process {
    let command = words([program("windlass-agent"), "ingress".into(), "--data".into()]);
    let listen = format!("{}:80", host.address);
    let more = words(["--http", &listen, "--metrics", "127.0.0.1:9580"]);
    let data = std::iter::once(fleet.data_of(host).into_os_string());
    let command = host.on(command.into_iter().chain(data).chain(more).collect());
    Process::start("windlass-agent ingress", command, environment(&fleet.folder), &fleet.folder.join(log))
}

/// Waits until the name is answered by `version`, whatever else answers.
pub fn wait_until_routed(at: &str, version: &str) {
    wait::until("the name is answered", Duration::from_secs(30), || {
        let answer = http::get_of(at, NAME, "/version", Duration::from_secs(5))
            .map_err(|error| format!("{error:#}"))?;
        if answer.status == 200 && answer.body.contains(version) {
            Ok(())
        } else {
            Err(format!("{answer:?}"))
        }
    });
}
