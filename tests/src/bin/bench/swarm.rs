//! The peer: a service of Docker Swarm, through the engine's API. Its health check is the image's own program,
//! which asks `GET /health` as our probe does.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use windlass_tests::Host;

/// A service of ten, and how to change it.
pub(crate) struct Swarm<'a> {
    host: &'a Host,
    id: String,
    /// Its instances are found by name in a network of their own.
    named: bool,
}

/// The network of a service that is found by name.
const NETWORK: &str = "peers";
/// The name of the network's service.
pub(crate) const NAME: &str = "peer";

fn spec(image: &str, named: bool) -> Value {
    let mut spec = plain_spec(image);
    if named {
        spec["EndpointSpec"] = json!({ "Mode": "dnsrr" });
        spec["TaskTemplate"]["Networks"] = json!([{ "Target": NETWORK }]);
    }
    spec
}

fn plain_spec(image: &str) -> Value {
    let step = || json!({ "Parallelism": 1, "Order": "start-first", "Monitor": 0, "FailureAction": "pause" });
    json!({
        "Name": NAME,
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": image,
                "Init": true,
                "Healthcheck": {
                    "Test": ["CMD", "/web", "probe"],
                    "Interval": 500_000_000, "Timeout": 1_000_000_000, "Retries": 10,
                },
                "StopGracePeriod": 2_000_000_000_u64,
            },
            "Resources": { "Limits": { "MemoryBytes": 32 << 20, "NanoCPUs": 100_000_000 } },
            "RestartPolicy": { "Condition": "any" },
        },
        "Mode": { "Replicated": { "Replicas": 10 } },
        "UpdateConfig": step(),
        "RollbackConfig": step(),
    })
}

impl<'a> Swarm<'a> {
    /// Makes the engine a swarm of one and starts the service.
    pub(crate) fn start(host: &'a Host, image: &str) -> Result<Self> {
        Self::start_as(host, image, false)
    }

    /// The same with a network in which the engine's name server knows the instances. Answers with the process id of a container
    /// in it as well, to ask from.
    pub(crate) fn start_named(host: &'a Host, image: &str) -> Result<(Self, u64)> {
        let swarm = Self::start_as(host, image, true)?;
        let body = json!({ "Image": image, "HostConfig": { "NetworkMode": NETWORK } });
        let made = host.engine.ask("POST", "/containers/create", &body.to_string())?;
        let id = made["Id"].as_str().context("no id")?;
        host.engine.ask("POST", &format!("/containers/{id}/start"), "")?;
        let pid = host.engine.inspect(id)?["State"]["Pid"].as_u64().context("it has no process")?;
        Ok((swarm, pid))
    }

    fn start_as(host: &'a Host, image: &str, named: bool) -> Result<Self> {
        let init = json!({ "ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": host.address });
        host.engine.ask("POST", "/swarm/init", &init.to_string())?;
        if named {
            let network = json!({ "Name": NETWORK, "Driver": "overlay", "Attachable": true });
            host.engine.ask("POST", "/networks/create", &network.to_string())?;
        }
        let made = host.engine.ask("POST", "/services/create", &spec(image, named).to_string())?;
        let swarm = Self { host, id: made["ID"].as_str().context("no id")?.to_owned(), named };
        swarm.wait(|running| running == 10, image)?;
        Ok(swarm)
    }

    /// Ends the service and the swarm. Its ten start a program twice a second each for their health: a good part of two
    /// processors, which what is measured beside them would lack.
    pub(crate) fn leave(self) -> Result<()> {
        self.host.engine.ask("POST", "/swarm/leave?force=true", "")?;
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.host.engine.ask("GET", "/containers/json", "")? != json!([]) {
            ensure!(Instant::now() < deadline, "the peer's containers did not end");
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Seconds of `docker service update --image`.
    pub(crate) fn update(&self, image: &str) -> Result<f64> {
        let started_at = Instant::now();
        let version = self.service()?["Version"]["Index"].clone();
        self.change(&format!("version={version}"), &spec(image, self.named))?;
        self.settle(image)?;
        Ok(started_at.elapsed().as_secs_f64())
    }

    /// Seconds of `docker service rollback`, which brings `image` back.
    pub(crate) fn rollback(&self, image: &str) -> Result<f64> {
        let started_at = Instant::now();
        let service = self.service()?;
        self.change(&format!("version={}&rollback=previous", service["Version"]["Index"]), &service["Spec"])?;
        self.settle(image)?;
        Ok(started_at.elapsed().as_secs_f64())
    }

    fn change(&self, query: &str, spec: &Value) -> Result<()> {
        let path = format!("/services/{}/update?{query}", self.id);
        self.host.engine.ask("POST", &path, &spec.to_string()).map(|_| ())
    }

    fn service(&self) -> Result<Value> {
        self.host.engine.ask("GET", &format!("/services/{}", self.id), "")
    }

    fn settle(&self, image: &str) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(240);
        loop {
            let service = self.service()?;
            let state = service["UpdateStatus"]["State"].as_str().unwrap_or_default().to_owned();
            if matches!(state.as_str(), "completed" | "rollback_completed") {
                return self.wait(|running| running == 10, image);
            }
            ensure!(!state.contains("paused"), "the peer's update stopped: {}", service["UpdateStatus"]);
            ensure!(Instant::now() < deadline, "the peer's update did not end: {}", service["UpdateStatus"]);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn wait(&self, enough: impl Fn(usize) -> bool, image: &str) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let tasks = self.host.engine.ask("GET", "/tasks", "")?;
            let running = tasks.as_array().into_iter().flatten().filter(|task| {
                let found = task["Spec"]["ContainerSpec"]["Image"].as_str().unwrap_or_default();
                task["Status"]["State"] == "running" && task["DesiredState"] == "running" && found == image
            });
            if enough(running.count()) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "the peer's tasks did not start");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
