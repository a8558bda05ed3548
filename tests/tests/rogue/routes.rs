//! Traffic tables of a coordinator that has the dispatch keys: what the agent refuses as a whole, and where its ingress leads
//! nobody, whatever the table says.

use std::time::Duration;

use serde_json::{Value, json};
use windlass_certs::dsse::PayloadType as Type;
use windlass_core::Digest;
use windlass_proto::pb;
use windlass_proto::pb::connect_response::Message;
use windlass_tests::fleet::{environment, program};
use windlass_tests::http;
use windlass_tests::process::{Process, words};
use windlass_tests::rogue::keys::{FLEET, now};
use windlass_tests::rogue::papers::{at, bend, bend_payload};
use windlass_tests::rogue::server::within;
use windlass_tests::rogue::{Draft, Target};

use super::conclude;

const LIMIT: Duration = Duration::from_secs(20);
/// The name that the trust document gives to production.
const NAME: &str = "shop.example.com";

/// The offers by the attack's name, and how each is refused.
type Row = (&'static str, &'static str, fn(&Target) -> Vec<u8>);

/// A table of production that leads [`NAME`] to these places.
fn table(seq: u64, endpoints: &[(&str, &str, u16)]) -> Draft {
    let release = Digest::of(b"r1").to_string();
    let endpoint = |(host, address, number): &(&str, &str, u16)| {
        json!({
            "host": host, "address": address, "port": "http", "number": number, "side": "a", "release": release,
        })
    };
    let endpoints: Vec<Value> = endpoints.iter().map(endpoint).collect();
    Draft(json!({
        "version": 1, "fleet": FLEET, "environment": "production", "epoch": 1, "seq": seq,
        "issued_at": at(now()),
        "names": [{ "host": NAME, "path": "/", "service": "web", "port": "http" }],
        "services": [{
            "service": "web", "ports": { "http": { "container": 8080 } },
            "releases": [{ "release": release, "counter": "r1" }], "endpoints": endpoints, "drain": "1s",
        }],
    }))
}

fn signed(target: &Target, change: impl FnOnce(Draft) -> Draft) -> Vec<u8> {
    change(table(2, &[])).seal(Type::Routes, &target.keys.dispatch.each_ref()).envelope
}

fn weights(draft: Draft, weights: &[Value]) -> Draft {
    let releases: Vec<Value> = (0_u8..)
        .zip(weights)
        .map(|(n, weight)| json!({ "release": Digest::of(&[n]).to_string(), "counter": "r1", "weight": weight }))
        .collect();
    draft.with("services.0.releases", releases)
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("a plan's payload type", "wrong_type", |t| table(2, &[]).seal(Type::Plan, &t.keys.dispatch.each_ref()).envelope),
    ("one of two dispatch keys", "below_threshold", |t| table(2, &[]).seal(Type::Routes, &[&t.keys.dispatch[0]]).envelope),
    ("release keys", "unknown_key", |t| table(2, &[]).seal(Type::Routes, &t.keys.people.each_ref()).envelope),
    ("one byte changed", "bad_signature", |t| bend_payload(&signed(t, |d| d), |p| p[90] ^= 1)),
    ("an unknown field of the envelope", "malformed", |t| bend(&signed(t, |d| d), |e| e["extra"] = 1.into())),
    ("another fleet", "wrong_audience", |t| signed(t, |d| d.with("fleet", "other"))),
    ("a name of another environment", "policy", |t| signed(t, |d| d.with("environment", "staging"))),
    ("a name that the trust document does not list", "policy", |t| signed(t, |d| d.with("names.0.host", "bank.example.com"))),
    ("every name", "policy", |t| signed(t, |d| d.with("names.0.host", "*.example.com"))),
    ("weights that sum to 999", "malformed", |t| signed(t, |d| weights(d, &[500.into(), 499.into()]))),
    ("weights that sum to 1001", "malformed", |t| signed(t, |d| weights(d, &[500.into(), 501.into()]))),
    ("a weight of 65535", "malformed", |t| signed(t, |d| weights(d, &[65_535.into(), 1.into()]))),
    ("a release without a weight beside others", "malformed", |t| signed(t, |d| weights(d, &[1000.into(), Value::Null]))),
    ("a service that is not there", "malformed", |t| signed(t, |d| d.with("names.0.service", "vault"))),
    ("a port that is not there", "malformed", |t| signed(t, |d| d.with("names.0.port", "admin"))),
    ("a path that climbs", "malformed", |t| signed(t, |d| d.with("names.0.path", "/../admin"))),
    ("an endpoint by name", "malformed", |t| signed(t, |d| d.with("services.0.endpoints", json!([{ "host": "h1", "address": "evil.example.com", "port": "http", "number": 80, "side": "a", "release": Digest::of(b"r1").to_string() }])))),
    ("a probe that smuggles a header", "malformed", |t| signed(t, |d| d.with("services.0.ports.http.probe", "/ HTTP/1.1\r\nx: y"))),
    ("an unknown field", "malformed", |t| signed(t, |d| d.with("services.0.mirror", "203.0.113.9:80"))),
    ("a number that leaves no later one", "malformed", |t| signed(t, |d| d.with("seq", u64::MAX))),
    ("a number that jumps", "malformed", |t| signed(t, |d| d.with("seq", 1_u64 << 40))),
    ("number 0", "malformed", |t| signed(t, |d| d.with("seq", 0))),
    ("the number in force with other content", "equivocation", |t| signed(t, |d| d.with("seq", 1).with("services.0.drain", "9s"))),
    ("a later epoch", "wrong_epoch", |t| signed(t, |d| d.with("epoch", 2))),
    ("from the next hour", "not_yet_valid", |t| signed(t, |d| d.with("issued_at", at(now() + Duration::from_secs(3600))))),
];

fn offer(target: &Target, envelope: Vec<u8>) {
    target.rogue.say(Message::Routes(pb::RoutesOffer { envelope: envelope.into() }));
}

/// Lines of the agent's audit log about tables that were refused.
fn refusals(target: &Target) -> Vec<String> {
    let log = target.agent.output();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let of_tables =
        lines.filter(|line| line["target"] == "windlass_agent::audit" && line["what"] == "routes");
    of_tables.map(|line| line["code"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_table_that_lies_is_refused_or_leads_nowhere() {
    let mut target = Target::start("rogue-routes", "endpoint_networks = [\"10.0.0.0/8\"]", |_, _, trust| {
        trust.hosts.insert("production".parse().unwrap(), vec![NAME.to_owned()]);
        trust.hosts.insert("staging".parse().unwrap(), vec!["test.example.com".to_owned()]);
    });
    let (host, address) = (target.host.name.clone(), target.host.address.clone());
    let port = target.host.engine.running("web").unwrap()[0].port.unwrap();
    let web = (host.as_str(), address.as_str(), port);
    let honest = |target: &Target, seq: u64, more: &[(&str, &str, u16)]| {
        let draft = table(seq, &[&[web], more].concat());
        offer(target, draft.seal(Type::Routes, &target.keys.dispatch.each_ref()).envelope);
    };
    let listen = format!("{address}:80");
    let command = words([program("windlass-agent"), "ingress".into(), "--data".into()]);
    let more = words(["--http", &listen, "--metrics", "127.0.0.1:9580"]);
    let data = std::iter::once(target.folder.join("agent").into_os_string());
    let command = target.host.on(command.into_iter().chain(data).chain(more).collect());
    let log = target.folder.join("ingress.log");
    let ingress = Process::start("ingress", command, environment(&target.folder), &log);
    let asked = |count: usize| -> Result<(), String> {
        for _ in 0..count {
            let answer = http::get_of(&listen, NAME, "/version", Duration::from_secs(5));
            let answer = answer.map_err(|error| format!("{error:#}"))?;
            if answer.status != 200 || !answer.body.contains("v1") {
                return Err(format!("{answer:?}"));
            }
        }
        Ok(())
    };
    honest(&target, 1, &[]);
    within(LIMIT, || asked(1)).unwrap_or_else(|error| panic!("{error}\n{}", ingress.tail(20)));

    let mut wrong = Vec::new();
    for (name, code, forge) in ROWS {
        let before = refusals(&target).len();
        offer(&target, forge(&target));
        let refused = within(LIMIT, || {
            refusals(&target).get(before).cloned().ok_or_else(|| "it was not refused".to_owned())
        });
        match refused {
            Ok(got) if got == *code => {}
            other => wrong.push(format!("{name}: {other:?}, expected {code}")),
        }
        wrong.extend(asked(3).err().map(|error| format!("{name}: the honest table: {error}")));
    }

    // Endpoints that no host can be at, beside the honest one: nobody is led there.
    let far = ("h9", "203.0.113.9", 80);
    let places = [
        ("h9", "127.0.0.1", port),
        ("h9", "::1", 2375),
        (host.as_str(), "127.0.0.1", 9580),
        ("h9", "169.254.169.254", 80),
        ("h9", "::ffff:169.254.169.254", 80),
        ("h9", "0.0.0.0", port),
        ("h9", "255.255.255.255", 80),
        (host.as_str(), "10.9.9.9", 80),
        far,
    ];
    honest(&target, 2, &places);
    let told = |wanted: usize| {
        let log = ingress.output();
        let count = log
            .lines()
            .filter(|line| {
                line.contains("no address of a host")
                    || line.contains("is this machine")
                    || line.contains("not the address")
                    || line.contains("endpoint_networks")
            })
            .count();
        if count >= wanted {
            Ok(())
        } else {
            Err(format!("{count} endpoints are told of: {}", ingress.tail(20)))
        }
    };
    wrong.extend(within(LIMIT, || told(8)).err());
    wrong.extend(asked(40).err().map(|error| format!("with endpoints that lie: {error}")));
    // After a restart of the agent, and of nothing else, all is as before.
    target.restart();
    wrong.extend(target.honest().err());
    honest(&target, 3, &places);
    wrong.extend(within(LIMIT, || asked(40)).err());
    wrong.extend(target.serves().err());
    conclude(ROWS.len() + 3, &wrong);
}
