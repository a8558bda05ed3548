//! Services that call each other by name, through the ingress of their host.

use std::time::Duration;

use serde_json::Value;
use windlass_tests::{Fleet, Host, Load, Service, http, ingress, wait};

const CALL: &str = "/call?url=http://api:8080/version";
const LIMIT: Duration = Duration::from_secs(60);

/// The address of an environment's instance of `web` on a host.
fn web_of(host: &Host, environment: &str) -> String {
    wait::until("web runs", LIMIT, || {
        let running = host.engine.running("web").map_err(|error| format!("{error:#}"))?;
        let mut ports = running.iter().filter(|seen| seen.label("environment") == environment);
        let port = ports.find_map(|seen| seen.port).ok_or_else(|| format!("{running:?}"))?;
        Ok(format!("{}:{port}", host.address))
    })
}

/// Waits until a call from inside of an instance of `web` is answered so.
#[track_caller]
fn until_called(web: &str, url: &str, status: u16, body: &str) {
    wait::until(&format!("{url} from {web} is answered by {status} {body}"), LIMIT, || {
        let answer = http::get(web, url, Duration::from_secs(12)).map_err(|error| format!("{error:#}"))?;
        let is_it = answer.status == status && answer.body.contains(body);
        if is_it { Ok(()) } else { Err(format!("{answer:?}")) }
    });
}

/// Inner networks of a host's engine, by name, with their gateways.
fn networks(host: &Host) -> Vec<(String, String)> {
    let all = host.engine.ask("GET", "/networks", "").unwrap();
    let ours = |network: &Value| {
        let name = network["Name"].as_str()?.to_owned();
        let gateway = network["IPAM"]["Config"][0]["Gateway"].as_str()?.to_owned();
        name.starts_with("windlass.").then_some((name, gateway))
    };
    all.as_array().into_iter().flatten().filter_map(ours).collect()
}

/// A file and a name of its own for each, as a fleet has one for `web` only.
fn deploy(fleet: &Fleet, service: &Service, name: &str) -> windlass_tests::Output {
    let file = service.write(&fleet.folder, name);
    let file = windlass_tests::fleet::path(&file).to_owned();
    fleet.cli.run(&["deploy", "-f", &file, "--timeout", "2m", "-o", "json"])
}

#[test]
fn services_call_each_other_by_name() {
    let mut fleet = Fleet::start("uses", 2);
    let edge = fleet.hosts[0].clone();
    let service = |name: &str, tag: &str, environment: &str| {
        let service = Service::web(&fleet.lab.image(tag), 1).with("service", name).with("soak", "1s");
        service.with("environment", environment)
    };
    let web = |environment: &str| service("web", "v1", environment).with("uses", vec!["api"]);
    let api = |tag: &str, environment: &str| service("api", tag, environment).with("replicas", 2);

    // No host has an ingress: no place, and the words say what to do.
    let refused = deploy(&fleet, &web("production"), "web.yaml").expect_code(1);
    assert!(refused.stdout.contains("no ingress: `uses` needs one on the host"), "{refused}");
    // TCP is not balanced.
    let tcp = serde_json::json!({ "tcp": { "container": 8080, "protocol": "tcp" } });
    let db = service("db", "v1", "production").with("ports", tcp);
    let db = db.with("health", serde_json::json!({ "startup": { "tcp": "tcp", "every": "500ms" } }));
    deploy(&fleet, &db, "db.yaml").expect_code(0);
    let calls_db = web("production").with("uses", vec!["db"]);
    let refused = deploy(&fleet, &calls_db, "web.yaml");
    assert!(refused.code != 0 && refused.stderr.contains("TCP is not balanced"), "{refused}");

    // A service may come later: until then nothing answers at its name.
    let mut proxy = ingress::start(&fleet, &edge, "ingress-1.log");
    let deployed = wait::until("the ingress counts", LIMIT, || {
        let deployed = deploy(&fleet, &web("production"), "web.yaml");
        if deployed.code == 0 { Ok(deployed) } else { Err(deployed.to_string()) }
    });
    assert!(deployed.stderr.contains("there is no service `api` in `production` yet"), "{deployed}");
    let web_1 = web_of(&edge, "production");
    until_called(&web_1, CALL, 502, "");
    deploy(&fleet, &api("v1", "production"), "api.yaml").expect_code(0);
    until_called(&web_1, CALL, 200, "v1");

    // A rolling update of what is called, an agent that dies under it, another ingress: no call is lost.
    let load = Load::begin(&web_1, "web", CALL, 100);
    deploy(&fleet, &api("v2", "production"), "api.yaml").expect_code(0);
    until_called(&web_1, CALL, 200, "v2");
    fleet.agents[0].kill_9();
    let mut successor = ingress::start(&fleet, &edge, "ingress-2.log");
    wait::until("the first ingress has ended", LIMIT, || {
        proxy.ended().map(drop).ok_or_else(|| proxy.tail(5))
    });
    let before = load.answered();
    wait::until("calls go on", LIMIT, || {
        if load.answered() > before + 200 { Ok(()) } else { Err(String::new()) }
    });
    fleet.agents[0].start_again();
    fleet.wait_for_host(&edge.name, "connected");
    let blue_green = serde_json::json!({ "blue_green": { "steps": ["50%", "100%"], "watch": "2s", "keep_old": "1s", "min_ready": "1s" } });
    deploy(&fleet, &api("v1", "production").with("strategy", blue_green), "api.yaml").expect_code(0);
    until_called(&web_1, CALL, 200, "v1");
    let answers = load.end();
    println!("{} calls in {:?}: {:?}", answers.answered(), answers.took, answers.whole);
    answers.expect_none_lost();
    assert_eq!(answers.whole.keys().collect::<Vec<_>>(), ["v1", "v2"]);

    // Another environment has services of the same names, and reaches nothing of this one.
    deploy(&fleet, &api("v2", "staging"), "api.yaml").expect_code(0);
    deploy(&fleet, &web("staging"), "web.yaml").expect_code(0);
    let web_2 = web_of(&edge, "staging");
    until_called(&web_2, CALL, 200, "v2");
    until_called(&web_1, CALL, 200, "v1");
    let mut inner = networks(&edge);
    inner.sort();
    let names: Vec<&str> = inner.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["windlass.lab.h1.production", "windlass.lab.h1.staging"]);
    let gateway = &inner[0].1;
    until_called(
        &web_1,
        &format!("/call?url=http://{gateway}:8080/version"),
        404,
        "no service here has this name",
    );
    until_called(&web_2, &format!("/call?url=http://{gateway}:8080/version"), 502, "");

    // An engine that restarts keeps the network; it goes with the last container that is in it.
    fleet.lab.script("host.sh", &["engine-kill", &edge.name]);
    fleet.lab.script("host.sh", &["engine-start", &edge.name]);
    until_called(&web_of(&edge, "production"), CALL, 200, "v1");
    fleet.cli.run(&["rm", "web", "-e", "staging", "--yes"]).expect_code(0);
    wait::until("the network of staging has gone", Duration::from_secs(90), || {
        let left = networks(&edge);
        if left.len() == 1 { Ok(()) } else { Err(format!("{left:?}")) }
    });
    until_called(&web_of(&edge, "production"), CALL, 200, "v1");
    successor.stop(Duration::from_secs(40));
}
