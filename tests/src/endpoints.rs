//! Instances that are asked for their version without asking anybody for them first: for when the engine does not answer.

use std::time::Duration;

use crate::host::Host;
use crate::http;
use crate::watch::version_of;

/// The addresses of instances when they were looked up.
#[derive(Debug)]
pub struct Endpoints {
    addresses: Vec<String>,
}

impl Endpoints {
    /// Of everything that runs of a service on a host now.
    #[track_caller]
    pub fn of(host: &Host, service: &str) -> Self {
        let running = host.engine.running(service).expect("the engine answers");
        let ports = running.iter().filter_map(|container| container.port);
        let addresses: Vec<String> = ports.map(|port| format!("{}:{port}", host.address)).collect();
        assert!(!addresses.is_empty(), "nothing of {service} runs on {}", host.name);
        Self { addresses }
    }

    /// Asks each of them for something; the answers are nobody's.
    pub fn ask(&self, path: &str) {
        self.addresses.iter().for_each(|address| drop(http::get(address, path, Duration::from_secs(2))));
    }

    /// The versions that they say now; one that does not answer says why.
    pub fn versions(&self) -> Vec<String> {
        let ask = |address: &String| match http::get(address, "/version", Duration::from_secs(5)) {
            Ok(answer) => version_of(&answer.body),
            Err(error) => format!("{address}: {error:#}"),
        };
        let mut all: Vec<String> = self.addresses.iter().map(ask).collect();
        all.sort();
        all
    }
}
