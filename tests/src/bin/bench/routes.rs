//! A thousand services of ten endpoints each: how long a change takes from a coordinator through an agent to the ingress beside
//! it, what the ingress needs for such a table, and whether it passes on as many requests as with a table of one service. Both
//! programs are released ones; a coordinator made for tests signs the tables.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use windlass_certs::dsse::PayloadType;
use windlass_core::Digest;
use windlass_proto::pb;
use windlass_proto::pb::connect_response::Message;
use windlass_tests::fleet::{environment, program};
use windlass_tests::http;
use windlass_tests::process::{Process, words};
use windlass_tests::rogue::keys::{FLEET, now};
use windlass_tests::rogue::papers::at;
use windlass_tests::rogue::{Draft, Target};

use super::figures::{resident_mb, row, seconds};

/// Fewer by `SERVICES=100`, for a try.
const SERVICES: usize = 1000;
const ENDPOINTS: usize = 10;
const CHANGES: u64 = 15;
const LIMIT: Duration = Duration::from_secs(30);
/// The service that changes, and is asked.
const NAME: &str = "svc-0.lab";
const WRK_SECONDS: u32 = 8;

pub(crate) fn run() -> Result<()> {
    let target = Target::start("bench-routes", "endpoint_networks = [\"10.0.0.0/8\"]", |_, _, _| {});
    let ports: Vec<u16> =
        (0..ENDPOINTS).map(|_| serve(&target.lab.gateway())).collect::<Result<Vec<u16>>>()?;
    let listen = format!("{}:80", target.host.address);
    let command = words([program("windlass-agent"), "ingress".into(), "--data".into()]);
    let data = std::iter::once(target.folder.join("agent").into_os_string());
    let command = target.host.on(command.into_iter().chain(data).chain(words(["--http", &listen])).collect());
    let mut ingress =
        Process::start("ingress", command, environment(&target.folder), &target.folder.join("ingress.log"));
    let mut bench = Bench { target: &target, listen, ports, seq: 0 };

    let services = std::env::var("SERVICES").map_or(Ok(SERVICES), |text| text.parse())?;
    let few = bench.changes(1)?;
    let (rate, memory) = (bench.rate()?, resident_mb(ingress.pid())?);
    let many = bench.changes(services)?;
    let after = bench.rate()?;
    let what = format!("{services} services of {ENDPOINTS} endpoints");
    row(
        &format!("{what}: the coordinator sends a change → a request goes by it"),
        &seconds(&many),
        &format!("one service: {}", seconds(&few)),
    );
    row("the same: size of a table", &format!("{:.1} MB", bench.table(services, 0).len() as f64 / 1e6), "");
    row(
        "the same: memory of the ingress",
        &format!("{:.1} MB", resident_mb(ingress.pid())?),
        &format!("one service: {memory:.1} MB"),
    );
    row(
        "the same: requests per second, keep-alive, wrk -t1 -c64",
        &format!("{after:.0}"),
        &format!("one service: {rate:.0}; ratio {:.2}", after / rate),
    );
    ingress.stop(LIMIT);
    Ok(())
}

struct Bench<'t> {
    target: &'t Target,
    listen: String,
    ports: Vec<u16>,
    seq: u64,
}

impl Bench<'_> {
    /// The table of so many services, in which the one that changes has the endpoint `which`.
    fn table(&self, services: usize, which: usize) -> Vec<u8> {
        let gateway = self.target.lab.gateway();
        let service = |n: usize| {
            let release = Digest::of(format!("svc-{n}").as_bytes()).to_string();
            let ports = if n == 0 { &self.ports[which..=which] } else { &self.ports[..] };
            let endpoint = |port: &u16| json!({ "host": "h9", "address": gateway, "port": "http", "number": port, "side": "a", "release": release });
            let endpoints: Vec<Value> = ports.iter().map(endpoint).collect();
            json!({
                "service": format!("svc-{n}"), "ports": { "http": { "container": 8080 } }, "drain": "1s",
                "releases": [{ "release": release, "counter": "r1" }], "endpoints": endpoints,
            })
        };
        let name = |n: usize| json!({ "host": format!("svc-{n}.lab"), "path": "/", "service": format!("svc-{n}"), "port": "http" });
        let draft = Draft(json!({
            "version": 1, "fleet": FLEET, "environment": "production", "epoch": 1, "seq": self.seq, "issued_at": at(now()),
            "names": (0..services).map(name).collect::<Vec<_>>(), "services": (0..services).map(service).collect::<Vec<_>>(),
        }));
        draft.seal(PayloadType::Routes, &self.target.keys.dispatch.each_ref()).envelope
    }

    /// Seconds from the sending of each of some tables to the first answer by it.
    fn changes(&mut self, services: usize) -> Result<Vec<f64>> {
        let mut took = Vec::new();
        for change in 0..=CHANGES {
            self.seq += 1;
            let which = usize::from(change % 2 == 1);
            let wanted = self.ports[which].to_string();
            let table = self.table(services, which);
            let sent_at = Instant::now();
            self.target.rogue.say(Message::Routes(pb::RoutesOffer { envelope: table.into() }));
            loop {
                let answer = http::get_of(&self.listen, NAME, "/", Duration::from_secs(5));
                if answer.as_ref().is_ok_and(|answer| answer.status == 200 && answer.body == wanted) {
                    break;
                }
                ensure!(sent_at.elapsed() < LIMIT, "the table did not come in force: {answer:?}");
                std::thread::sleep(Duration::from_millis(1));
            }
            took.push(sent_at.elapsed().as_secs_f64());
        }
        took.remove(0); // the first brings all services, and waits until the ingress is up
        Ok(took)
    }

    /// Requests per second.
    fn rate(&self) -> Result<f64> {
        let url = format!("http://{}/", self.listen);
        let done = Command::new("wrk")
            .args(["-t1", "-c64", &format!("-d{WRK_SECONDS}s"), "-H", &format!("Host: {NAME}"), &url])
            .output()
            .context("wrk")?;
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        ensure!(!said.contains("Non-2xx") && !said.contains("Socket errors"), "{said}");
        let rate = said.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
        rate.and_then(|rate| rate.trim().parse().ok()).with_context(|| format!("wrk said: {said}"))
    }
}

/// An endpoint that answers with its port, as long as this program runs.
fn serve(address: &str) -> Result<u16> {
    let listener = TcpListener::bind((address, 0))?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || drop(answer(stream, port)));
        }
    });
    Ok(port)
}

fn answer(stream: TcpStream, port: u16) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let body = port.to_string();
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if line == "\r\n" {
            stream.get_mut().write_all(answer.as_bytes())?;
        }
    }
}
