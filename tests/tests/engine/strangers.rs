//! Containers that say they are ours, and people who tidy up an engine.

use std::time::Duration;

use serde_json::{Value, json};
use windlass_tests::engine::Engine;
use windlass_tests::{Fleet, FleetOptions, Lab, Service, http, wait};

/// When the container began to run, and whether it still does.
fn run_of(engine: &Engine, id: &str) -> (Value, Value) {
    let state = engine.inspect(id).unwrap()["State"].clone();
    (state["StartedAt"].clone(), state["Status"].clone())
}

fn create(engine: &Engine, image: &str, extra: &Value) -> String {
    let mut body = json!({ "Image": image, "Cmd": ["another", "command"], "Env": ["VERSION=evil"] });
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    let created = engine.ask("POST", "/containers/create", &body.to_string()).unwrap();
    created["Id"].as_str().unwrap().to_owned()
}

fn has(view: &Value, code: &str, count: usize) -> bool {
    let all = view["conditions"].as_array().into_iter().flatten();
    all.filter(|condition| condition["code"] == code).count() == count
}

#[test]
fn copies_with_our_labels_are_told_of_and_take_nothing() {
    let mut fleet = Fleet::start("strangers", 1);
    fleet.deploy_ok(&Service::web(&fleet.lab.image("v1"), 1), "r1");
    let engine = fleet.hosts[0].engine.clone();
    let signed = fleet.hosts[0].running_ids("web").remove(0);
    let before = run_of(&engine, &signed);
    assert_eq!(before.1, "running");
    let see = |fleet: &Fleet, when: &str, count: usize| {
        let view = fleet.wait_for_view("h1", when, Duration::from_secs(40), |view| {
            has(view, "strange_container", count) && view["state"] == "connected"
        });
        assert_eq!(run_of(&engine, &signed), before, "{when}: the signed container was touched: {view}");
        wait::until(&format!("one instance counts, {when}"), Duration::from_secs(30), || {
            let status = fleet.status();
            let instances = status["instances"].as_array().unwrap();
            let is_alone = instances.len() == 1 && instances[0]["state"] == "healthy";
            if is_alone && instances[0]["container"] == signed.as_str() {
                Ok(())
            } else {
                Err(status.to_string())
            }
        });
        assert_eq!(run_of(&engine, &signed), before, "{when}: the signed container was touched");
        view
    };

    // `docker commit`, `docker create` of the copy with another command, and `docker run` of it.
    let commit = format!("/commit?container={signed}&repo=copy&tag=latest");
    engine.ask("POST", &commit, "{}").unwrap();
    let created = create(&engine, "copy:latest", &json!({}));
    let view = see(&fleet, "that a copy was created", 1);
    assert_eq!(view["conditions"][0]["slot"], "default/web/0", "{view}");
    let runs = create(&engine, "copy:latest", &json!({}));
    engine.ask("POST", &format!("/containers/{runs}/start"), "").unwrap();
    see(&fleet, "that a copy was started", 2);

    // The very image with the labels of the instance, and nothing else of it.
    let labels = engine.inspect(&signed).unwrap()["Config"]["Labels"].clone();
    let image = engine.inspect(&signed).unwrap()["Image"].as_str().unwrap().to_owned();
    let labelled = create(&engine, &image, &json!({ "Labels": labels }));
    see(&fleet, "that labels were copied", 3);
    let copies = [created, runs, labelled];
    let of_copies = |copies: &[String]| copies.iter().map(|id| run_of(&engine, id)).collect::<Vec<_>>();
    let untouched = of_copies(&copies);

    fleet.agents[0].kill_9();
    fleet.agents[0].start_again();
    see(&fleet, "the same after a restart of the agent", 3);
    let renamed = format!("/containers/{signed}/rename?name=renamed-by-a-person");
    engine.ask("POST", &renamed, "").unwrap();

    // Without a journal, what is as its release says is taken in, and nothing else.
    fleet.agents[0].kill_9();
    std::fs::remove_dir_all(fleet.data_of(&fleet.hosts[0])).unwrap();
    fleet.wait_for_host("h1", "lost");
    fleet.join_again(&fleet.hosts[0]);
    fleet.agents[0].start_again();
    see(&fleet, "the same after the journal was lost", 3);

    fleet.deploy_ok(&Service::web(&fleet.lab.image("v2"), 1), "r2");
    assert_eq!(of_copies(&copies), untouched, "nobody touched the copies");
    for id in &copies {
        engine.remove(id).unwrap();
    }
    fleet.wait_until_serving("v2", 1, Duration::from_secs(15));
    fleet.wait_for_view("h1", "no condition", Duration::from_secs(40), |view| {
        has(view, "strange_container", 0)
    });
}

#[test]
fn what_a_rollback_needs_survives_a_prune_during_the_soak() {
    let lab = Lab::enter();
    let registry = format!("{}:5004", lab.gateway());
    lab.script("registry.sh", &["up", "--port", "5004"]);
    lab.script("images.sh", &["--registry", &registry, "--only", "v1,v2"]);
    let options = FleetOptions { registries: vec![registry.clone()], ..FleetOptions::default() };
    let fleet = Fleet::start_with(lab, "prune", 1, options);
    let engine = fleet.hosts[0].engine.clone();
    let image = |tag: &str| format!("{registry}/web:{tag}");
    // Nobody but the agent names the image: it was pulled by digest.
    fleet.deploy_ok(&Service::web(&image("v1"), 1), "r1");
    fleet.deploy_detached(&Service::web(&image("v2"), 1).with("soak", "5m"));
    let port = fleet.wait_for_release(&fleet.hosts[0], "r2");
    wait::until("the old instance rests", Duration::from_secs(30), || {
        let running = fleet.hosts[0].running_ids("web");
        if running.len() == 1 { Ok(()) } else { Err(format!("{running:?}")) }
    });
    fleet.lab.script("registry.sh", &["stop", "--port", "5004"]);
    // `docker system prune -f`
    engine.ask("POST", "/containers/prune", "").unwrap();
    engine.ask("POST", "/images/prune?filters=%7B%22dangling%22%3A%5B%22true%22%5D%7D", "").unwrap();
    fleet.wait_for_view("h1", "that the standby has gone", Duration::from_secs(30), |view| {
        has(view, "standby_missing", 1)
    });
    let address = format!("{}:{port}", fleet.hosts[0].address);
    drop(http::get(&address, "/exit?code=1", Duration::from_secs(5))); // it hangs up
    fleet.wait_for_outcome("rolled_back");
    fleet.wait_until_serving("v1", 1, Duration::from_secs(20));
    fleet.lab.script("registry.sh", &["down", "--port", "5004"]);
}
