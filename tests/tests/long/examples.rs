//! The manifests of `examples/` on real engines, with sample services that answer as the real ones do: each is deployed, replaced
//! under load, and goes back where its successor does not pass what the manifest asks.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use windlass_tests::fleet::path;
use windlass_tests::{Datastores, Example, Fleet, FleetOptions, Lab, Load, Output, Process, ingress, wait};

const SOON: Duration = Duration::from_secs(60);
/// Answers of `/health`, besides status, version and uptime.
const CONNECTED: &str = "\"database\":\"connected\",\"redis\":\"connected\"";
const CUT_OFF: &str = "\"database\":\"connected\",\"redis\":\"away\"";
const ON_GPU: &str = "\"gpu\":true,\"models_loaded\":5";
const ON_CPU: &str = "\"gpu\":false,\"models_loaded\":5";

#[track_caller]
fn deploy(fleet: &Fleet, example: &Example) -> Output {
    let file = example.manifest().write(&fleet.folder, "example.yaml");
    fleet.cli.run(&["deploy", "-f", path(&file), "--timeout", "4m", "-o", "json"])
}

#[track_caller]
fn deploy_ok(fleet: &Fleet, example: &Example) {
    let end = deploy(fleet, example).expect_code(0).last();
    assert_eq!(end["outcome"], "succeeded", "{}: {end}", example.service());
}

/// Deploys one that must go back; its failures.
#[track_caller]
fn deploy_bad(fleet: &Fleet, example: &Example) -> Value {
    let end = deploy(fleet, example).expect_code(3).last();
    assert_eq!(end["outcome"], "rolled_back", "{}: {end}", example.service());
    fleet.cli.json(&["rollout", "show", example.service()])["failures"].clone()
}

/// A fleet of so many hosts with an ingress on the first, and the ingress' address.
fn fleet(name: &str, hosts: usize) -> (Fleet, Process, String) {
    fleet_with(name, hosts, None)
}

/// The same, where one host has a label of its own.
fn fleet_with(
    name: &str,
    hosts: usize,
    label: Option<(&'static str, &'static str)>,
) -> (Fleet, Process, String) {
    let options = FleetOptions { label, ..FleetOptions::default() };
    let fleet = Fleet::start_with(Lab::enter(), name, hosts, options);
    let at = format!("{}:80", fleet.hosts[0].address);
    let process = ingress::start(&fleet, &fleet.hosts[0].clone(), "ingress.log");
    (fleet, process, at)
}

/// Deploys the second release under load; none of its requests is lost.
#[track_caller]
fn replace_under_load(fleet: &Fleet, at: &str, example: &Example, request: &str) {
    ingress::wait_until_answered(at, example.host(), request, "v1");
    let load = Load::begin(at, example.host(), request, 300);
    deploy_ok(fleet, example);
    ingress::wait_until_answered(at, example.host(), request, "v2");
    let answers = load.end();
    println!("{}: {} requests", example.service(), answers.answered());
    answers.expect_none_lost();
    assert!(answers.whole.contains_key("v2"), "{answers:?}");
}

/// A platform behind a load balancer: blue/green, `/health` says what it is connected to, the way back takes a moment.
#[test]
fn the_api_of_the_examples_is_replaced_without_a_loss() {
    let (fleet, mut process, at) = fleet("api", 2);
    let image = |tag: &str| fleet.lab.image(tag);
    let api = Example::read("backend-api.yaml");
    deploy_ok(&fleet, &api.running(&image("v1"), CONNECTED));
    replace_under_load(&fleet, &at, &api.running(&image("v2"), CONNECTED), "/version");
    let load = Load::begin(&at, api.host(), "/version", 300);
    let failures = deploy_bad(&fleet, &api.running(&image("v4"), CUT_OFF));
    let asked = &failures[0]["evidence"]["reason"]["smoke_failed"]["test"];
    assert_eq!((&asked["asked"], &asked["got"]), (&json!("GET /health"), &json!("\"away\"")), "{failures}");
    let began = std::time::Instant::now();
    fleet.cli.run(&["rollback", api.service(), "--timeout", "30s"]).expect_code(0);
    println!("backend-api goes back in {:?}", began.elapsed());
    ingress::wait_until_answered(&at, api.host(), "/version", "v1");
    load.end().expect_none_lost();
    process.stop(Duration::from_secs(40));
}

/// The traffic in steps, and then a canary with its gates and triggers.
#[test]
fn the_backend_of_the_examples_moves_in_steps_and_as_canary() {
    let (fleet, mut process, at) = fleet("backend", 2);
    let image = |tag: &str| fleet.lab.image(tag);
    let backend = Example::read("backend.yaml");
    deploy_ok(&fleet, &backend.running(&image("v1"), ""));
    replace_under_load(&fleet, &at, &backend.running(&image("v2"), ""), "/api/version");
    let canary = Example::read("backend-canary.yaml");
    let load = Load::begin(&at, canary.host(), "/api/version", 600);
    deploy_ok(&fleet, &canary.running(&image("v4"), ""));
    load.end().expect_none_lost();
    let load = Load::begin(&at, canary.host(), "/api/version", 600);
    let bad = canary.running(&image("v1"), "").set_env("FAIL_PERCENT", "30");
    let failures = deploy_bad(&fleet, &bad);
    println!("a canary of which 30 % fails: {failures}");
    ingress::wait_until_answered(&at, canary.host(), "/api/version", "v4");
    let answers = load.end();
    assert!(answers.failed > 0 && answers.failed * 20 < answers.answered(), "one 500 is enough: {answers:?}");
    process.stop(Duration::from_secs(40));
}

/// No root, nothing to write to, and every instance has to be healthy.
#[test]
fn the_portfolio_of_the_examples_runs_without_rights() {
    let (fleet, mut process, at) = fleet("portfolio", 3);
    let image = |tag: &str| fleet.lab.image(tag);
    let portfolio = Example::read("portfolio-api.yaml");
    deploy_ok(&fleet, &portfolio.running(&image("v1"), ""));
    replace_under_load(&fleet, &at, &portfolio.running(&image("v2"), ""), "/version");
    deploy_bad(&fleet, &portfolio.running(&image("v3"), ""));
    ingress::wait_until_answered(&at, portfolio.host(), "/version", "v2");
    process.stop(Duration::from_secs(40));
}

#[test]
fn the_workers_of_the_examples_ask_before_they_run() {
    let (fleet, mut process, at) = fleet_with("workers", 3, Some(("h3", "role=data")));
    let image = |tag: &str| fleet.lab.image(tag);
    let stores = Datastores::start(&fleet);
    let registry = fleet.lab.registry();
    let feed = format!("http://{registry}/v2/");
    let addresses: [(&str, &str); 4] =
        [("postgres", &stores.postgres), ("redis", &stores.redis), ("tcp", &registry), ("http", &feed)];

    let runner = Example::read("strategy-runner.yaml").asking(&addresses);
    deploy_ok(&fleet, &runner.running(&image("v1"), ""));
    replace_under_load(&fleet, &at, &runner.running(&image("v2"), ""), "/version");
    // The database's address answers, and it is no database.
    let wrong = runner.clone().asking(&[("postgres", &registry), ("redis", &registry)]);
    let output = deploy(&fleet, &wrong.running(&image("v4"), ""));
    assert!([1, 3].contains(&output.code), "{output}");
    let refused = fleet.cli.json(&["rollout", "show", runner.service()])["failures"][0]["refused"].clone();
    let detail = refused["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("database (postgres ") && detail.contains("cache (redis "), "{refused}");
    ingress::wait_until_answered(&at, runner.host(), "/version", "v2");

    let backend = Example::read("trading-backend.yaml").asking(&addresses);
    deploy_ok(&fleet, &backend.running(&image("v1"), CONNECTED));
    let failures = deploy_bad(&fleet, &backend.running(&image("v2"), CUT_OFF));
    assert!(failures.to_string().contains("/redis"), "{failures}");

    // One at a time, and a minute later it must still be in step: the sync of the second ends before that.
    let data = Example::read("data-service.yaml");
    deploy_ok(&fleet, &data.running(&image("v1"), ""));
    let late = data.running(&image("v2"), "").set_env("UNREADY_AFTER_MS", "4000");
    let failures = deploy_bad(&fleet, &late);
    println!("data-service goes back: {failures}");
    process.stop(Duration::from_secs(40));
}

#[test]
fn the_model_of_the_examples_is_promoted_on_its_gpu() {
    let lab = Lab::enter();
    let doubles = lab.scratch("model-doubles");
    let library = doubles.join("libnvidia-ml.so.1");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("gpu/fake_nvml.c");
    let built =
        Command::new("gcc").args(["-std=c11", "-shared", "-fPIC", "-o"]).args([&library, &source]).status();
    assert!(built.unwrap().success(), "gcc builds the double");
    let state = doubles.join("gpus.state");
    let gpu = |n: u32| format!("gpu uuid=GPU-{n} name=NVIDIA-A100 total=40960 reserved=500\n");
    fs::write(&state, format!("driver 550.90.07\n{}{}", gpu(1), gpu(2))).unwrap();
    let models = doubles.join("models");
    fs::create_dir_all(&models).unwrap();
    for model in ["bert.bin", "gpt.onnx", "tokenizer.json"] {
        fs::write(models.join(model), "weights").unwrap();
    }
    let host = lab.host_with_gpus(1, &state, &doubles);
    let policy = format!("mounts = [\"{}\"]\n", models.display());
    let options = FleetOptions {
        more_hosts: vec![host.clone()],
        policy,
        label: Some(("h1", "gpu=a100")),
        ..FleetOptions::default()
    };
    let mut fleet = Fleet::start_with(lab, "model", 0, options);
    fleet.agents[0].set("WINDLASS_NVML", library);
    fleet.agents[0].set("FAKE_NVML_STATE", state);
    fleet.agents[0].start_again();
    fleet.wait_for_view(&host.name, "two GPUs", SOON, |view| {
        view["gpus"].as_array().is_some_and(|all| all.len() == 2)
    });
    let at = format!("{}:80", host.address);
    let mut process = ingress::start(&fleet, &host, "ingress.log");

    let model =
        Example::read("ml-engine.yaml").mounting("models", path(&models)).set_env("API_KEY", "smoke-test");
    let image = |tag: &str| fleet.lab.image(tag);
    deploy_ok(&fleet, &model.running(&image("v1"), ON_GPU));
    ingress::wait_until_answered(&at, model.host(), "/predictions", "v1");
    let load = Load::begin(&at, model.host(), "/predictions", 200);
    deploy_ok(&fleet, &model.running(&image("v2"), ON_GPU));
    load.end().expect_none_lost();
    let hooks = fleet.cli.json(&["rollout", "show", model.service()])["hooks"].clone();
    assert_eq!(
        (&hooks[0]["hook"], &hooks[0]["outcome"]),
        (&json!("test-prediction"), &json!("succeeded")),
        "{hooks}"
    );
    assert!(hooks[0]["log"][0].as_str().is_some_and(|line| line.contains("GPU-")), "{hooks}");

    // One that fell back to the CPU gets no request; one that fails a tenth of them is taken back.
    let failures = deploy_bad(&fleet, &model.running(&image("v4"), ON_CPU));
    assert!(failures.to_string().contains("/gpu"), "{failures}");
    let load = Load::begin(&at, model.host(), "/predictions", 200);
    deploy_bad(&fleet, &model.running(&image("v1"), ON_GPU).set_env("FAIL_PERCENT", "30"));
    let answers = load.end();
    assert!(answers.failed * 10 < answers.answered(), "a third of a tenth: {answers:?}");

    // A model that is missing on the host is named, and nothing was touched.
    fs::remove_file(models.join("gpt.onnx")).unwrap();
    let output = deploy(&fleet, &model.running(&image("v4"), ON_GPU).set_env("N", "2"));
    assert!([1, 3].contains(&output.code), "{output}");
    let refused = fleet.cli.json(&["rollout", "show", model.service()])["failures"].to_string();
    assert!(refused.contains("gpt.onnx") && refused.contains("check_failed"), "{refused}");
    wait::until_true("the second release serves", SOON, || {
        ingress::answers(&at, model.host(), "/predictions").is_ok_and(|body| body.contains("v2"))
    });
    process.stop(Duration::from_secs(40));
}
