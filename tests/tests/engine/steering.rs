//! The contract with scripts: exit codes, refusals, questions.

use std::time::Duration;

use windlass_tests::{Fleet, Service, wait};

#[test]
fn second_deploy_is_refused_unless_it_supersedes() {
    let fleet = Fleet::start("two", 2);
    let web = |tag| Service::web(&fleet.lab.image(tag), 2).with("soak", "20s");
    let write = |tag| web(tag).write(&fleet.folder, &format!("{tag}.yaml")).display().to_string();
    let first = fleet.cli.start(&["deploy", "-f", &write("v1"), "--timeout", "2m", "-o", "json"]);
    wait::until_true("the first rollout is under way", Duration::from_secs(20), || {
        fleet.cli.run(&["rollout", "show", "web", "-o", "json"]).code == 0
    });

    let second =
        fleet.cli.run(&["deploy", "-f", &write("v2"), "--timeout", "2m", "-o", "json"]).expect_code(1);
    assert!(second.error()["hint"].as_str().unwrap_or_default().contains("--supersede"), "{second}");

    let quick = Service::web(&fleet.lab.image("v4"), 2).write(&fleet.folder, "v4.yaml").display().to_string();
    let third = ["deploy", "-f", &quick, "--timeout", "2m", "--supersede", "-o", "json"];
    let third = fleet.cli.run(&third).expect_code(0).last();
    assert_eq!(third["outcome"], "succeeded", "{third}");
    let first = first.wait().expect_code(6).last();
    assert_eq!(first["outcome"], "superseded", "{first}");
    fleet.wait_until_serving("v4", 2, Duration::from_secs(10));
}

#[test]
fn plan_pause_abort_and_timeout_have_documented_exit_codes() {
    let fleet = Fleet::start("codes", 2);
    let web = |tag| Service::web(&fleet.lab.image(tag), 4);
    let write = |service: Service, name: &str| service.write(&fleet.folder, name).display().to_string();
    let (v1, v2) = (write(web("v1"), "v1.yaml"), write(web("v2").with("soak", "30s"), "v2.yaml"));
    fleet.cli.run(&["plan", "-f", &v1]).expect_code(10);
    fleet.deploy_ok(&web("v1"), "r1");
    fleet.cli.run(&["plan", "-f", &v1]).expect_code(0);
    fleet.cli.run(&["plan", "-f", &v2]).expect_code(10);
    fleet.cli.run(&["deploy", "--no-such-flag"]).expect_code(2);

    let deploy = fleet.cli.start(&["deploy", "-f", &v2, "--timeout", "2m", "-o", "json"]);
    wait::until_true("the rollout is under way", Duration::from_secs(20), || {
        fleet.rollout()["release"] == "r2"
    });
    fleet.cli.run(&["rollout", "watch", "web", "--timeout", "1s", "-o", "json"]).expect_code(5);
    fleet.cli.ok(&["rollout", "pause", "web"]);
    let paused = deploy.wait().expect_code(4).last();
    assert_eq!(paused["outcome"], "paused", "{paused}");

    let question = fleet.cli.run(&["rollout", "abort", "web", "-o", "json"]);
    assert_eq!(question.code, 1, "without a terminal, a question is an error: {question}");
    assert!(question.error()["hint"].as_str().unwrap_or_default().contains("--yes"), "{question}");
    assert_eq!(fleet.rollout()["state"], "paused", "nothing was done");

    fleet.cli.ok(&["rollout", "abort", "web", "--yes"]);
    let end =
        fleet.cli.run(&["rollout", "watch", "web", "--timeout", "1m", "-o", "json"]).expect_code(3).last();
    assert_eq!(end["outcome"], "aborted", "{end}");
    fleet.wait_until_serving("v1", 4, Duration::from_secs(10));
}
