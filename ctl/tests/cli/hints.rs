//! Hints that lead on, and answers that a person at night can act on.

use serde_json::json;

use crate::coordinator::{Coordinator, ROLLOUT, Script, Watch, registry, view};
use crate::rollouts::run;
use crate::{Desk, stderr};

#[test]
fn a_server_without_a_port_is_refused_with_its_form() {
    let desk = Desk::with_fleet();
    for (server, like) in [
        ("deploy.example.com", "like `deploy.example.com:7443`"),
        ("http://deploy.example.com:7443/", "like `deploy.example.com:7443`"),
        ("a b", "write it HOST:PORT"),
    ] {
        let output = desk.run(&["status", "--server", server]);
        assert_eq!(output.status.code(), Some(2), "{server}");
        let text = stderr(&output);
        assert!(text.contains("write it HOST:PORT") && text.contains(like), "{server}: {text}");
    }
}

#[test]
fn a_diff_of_one_release_says_that_two_are_compared() {
    let desk = Desk::with_fleet();
    let screen = desk.screen(&["release", "diff", "web", "r2"]);
    assert!(screen.contains("two releases are compared, and `web r2` names one"), "{screen}");
    assert!(
        screen.contains("hint: like `windlass release diff web r1 r2`") && screen.ends_with("exit 2"),
        "{screen}"
    );
}

#[test]
fn a_context_of_an_unknown_fleet_says_so_first() {
    let desk = Desk::with_fleet();
    let screen = desk.screen(&["context", "add", "other", "--fleet", "nofleet"]);
    assert!(!screen.contains("no coordinator is named") && screen.contains("nofleet"), "{screen}");
}

#[test]
fn words_of_other_systems_lead_to_ours() {
    let desk = Desk::new();
    #[rustfmt::skip]
    let table: [(&[&str], &str); 20] = [
        (&["doctor"],                           "`windlass-agent doctor` checks a host"),
        (&["delete", "web"],                    "`windlass rm SERVICE`"),
        (&["secret"],                           "sealed secrets come later"),
        (&["apply", "-f", "web.yaml"],          "`windlass deploy FILE`"),
        (&["get", "pods"],                      "`windlass status [SERVICE]`"),
        (&["-e", "staging", "exec", "web"],     "`docker exec`"),
        (&["node", "drain", "web-1"],           "`windlass host ls`"),
        (&["rollout", "undo", "web"],           "`windlass rollback SERVICE`"),
        (&["rollout", "list"],                  "`windlass rollout ls`"),
        (&["host", "describe", "web-1"],        "`windlass host show`"),
        (&["host", "add", "web-1"],             "`windlass host token HOST`"),
        (&["context", "delete", "prod"],        "`windlass context rm NAME`"),
        (&["completions", "pwsh"],              "`windlass completions powershell`"),
        (&["top", "pods"],                      "`windlass top instances`"),
        (&["status", "--namespace", "prod"],    "`-e NAME` (`--env NAME`)"),
        (&["status", "--json"],                 "`-o json`"),
        (&["logs", "web", "-n", "50"],          "`--tail 50`"),
        (&["deploy", "web.yaml", "--image=b"],  "`--set image=REGISTRY/NAME:TAG`"),
        (&["deploy", "web.yaml", "-d"],         "`--detach` does not follow"),
        (&["rollback", "web", "--to-revision", "5"], "`--to r5`"),
    ];
    for (args, hint) in table {
        let screen = desk.screen(args);
        assert!(screen.contains(hint), "{screen}");
        assert_eq!(screen.matches("tip: ").count(), 1, "one way: {screen}");
        assert!(screen.ends_with("exit 2"), "{screen}");
        let error = desk.error(&[args, &["-o", "json"]].concat());
        assert!(error["hint"].as_str().unwrap().contains(hint), "{error}");
    }
}

#[test]
fn a_word_that_only_sounds_alike_is_not_suggested() {
    let desk = Desk::new();
    for args in
        [&["completions", "tcsh"][..], &["frobnicate"], &["rollout", "wash"], &["status", "--pretend"]]
    {
        let screen = desk.screen(args);
        assert!(!screen.contains("tip: ") && screen.ends_with("exit 2"), "{screen}");
    }
    for (args, near) in [
        (&["statsu"][..], "'status'"),
        (&["rollout", "wach"], "'watch'"),
        (&["deploy", "--supersed"], "'--supersede'"),
        (&["completions", "bsh"], "'bash'"),
    ] {
        let screen = desk.screen(args);
        assert!(screen.contains("tip: ") && screen.contains(near), "{screen}");
    }
}

#[test]
fn rollouts_are_listed_of_the_environment_that_was_named() {
    let mut staging = view("succeeded", true);
    staging["environment"] = json!("staging");
    let script = || Script { rollouts: json!([view("succeeded", true), staging]), ..Script::default() };
    let (code, stdout, _, _) = run(script(), &["rollout", "ls", "-e", "staging", "-o", "json"]);
    let views: Vec<serde_json::Value> = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, views.len()), (0, 1));
    assert_eq!(views[0]["environment"], "staging");
    let (code, _, stderr, _) = run(script(), &["rollout", "ls", "-e", "stagign"]);
    assert_eq!((code, stderr.trim()), (0, "no rollouts in stagign; 2 in other environments"));
}

#[test]
fn a_deploy_to_a_new_environment_says_that_it_makes_one() {
    let status = json!([{
        "service": "web", "environment": "staging", "release": "r1", "image": "web:1", "good": "r1", "rollout": null,
        "state": "steady", "replicas": 1, "waiting": [], "wanted": 1, "available": 1, "healthy": 1, "serving": {},
        "instances": [],
    }]);
    let script = || Script {
        status: status.clone(),
        watches: [Watch::Views(vec![view("succeeded", true)])].into(),
        ..Script::default()
    };
    let (code, _, stderr, _) = run(script(), &["deploy", "web.yaml", "-e", "stagign"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stderr.contains("warning: the fleet has no environment stagign yet")
            && stderr.contains("it has staging"),
        "{stderr}"
    );
    let (_, _, stderr, _) = run(script(), &["deploy", "web.yaml", "-e", "staging"]);
    assert!(!stderr.contains("warning:"), "{stderr}");
}

#[test]
fn an_abort_looks_before_it_asks() {
    let (code, _, stderr, coordinator) = run(Script::default(), &["rollout", "abort", ROLLOUT]);
    assert_eq!(code, 1);
    let asked = "Abort rollout 0193ab00-0000-7000-8000-000000000001 of default/web";
    assert!(stderr.contains(asked), "{stderr}");
    assert_eq!(coordinator.script.lock().unwrap().asked, [ROLLOUT]);
}

#[test]
fn a_refused_step_of_a_rollout_names_where_to_look() {
    let (code, _, stderr, _) = run(Script::default(), &["rollout", "resume", ROLLOUT]);
    assert_eq!(code, 1);
    let want = format!("hint: `windlass rollout show {ROLLOUT}` says where it is");
    assert!(stderr.contains(&want), "{stderr}");
    let (_, _, stderr, _) = run(Script::default(), &["rollout", "pause", ROLLOUT]);
    assert!(!stderr.contains("rollout show"), "who may not is told nothing of the state: {stderr}");
}

#[test]
fn files_that_are_no_documents_of_ours_lead_on() {
    let desk = Desk::with_fleet();
    desk.write("ok.yaml", "service: web\nimage: a:1\n");
    let other = Desk::with_fleet();
    let other_ca = other.path("server/ca").display().to_string();
    let table: [(&[&str], &str); 5] = [
        (&["trust", "publish", "ok.yaml"], "is neither a trust document nor a revocation list"),
        (&["deploy", "--release", "ok.yaml"], "windlass deploy -f ok.yaml"),
        (&["deploy", "--plan", "nofile"], "is the path right?"),
        (&["operator", "recover", "--ca", &other_ca], "the trust document does not name the CA in `"),
        (&["operator", "recover", "--ca", "nofolder"], "there is no folder `nofolder` of the CA"),
    ];
    for (args, want) in table {
        let screen = desk.screen(args);
        assert!(screen.contains(want) && screen.contains("hint: "), "{screen}");
    }
    let screen = desk.screen(&["context", "use", "nowhere"]);
    assert!(screen.contains("there are: demo; `windlass context ls`"), "{screen}");
}

#[test]
fn an_image_that_moves_says_what_it_is_pinned_to() {
    let desk = Desk::with_fleet();
    let script =
        Script { watches: [Watch::Views(vec![view("succeeded", true)])].into(), ..Script::default() };
    let coordinator = Coordinator::start(&desk, script);
    let registry = registry();
    for (tag, moves) in [("", true), (":latest", true), (":1", false)] {
        desk.write("web.yaml", &format!("service: web\nimage: {registry}/web{tag}\nports: {{ http: 80 }}\n"));
        let said = stderr(&desk.run(&["deploy", "web.yaml", "--server", &coordinator.address]));
        let words = format!("warning: `{registry}/web{tag}` names no fixed version");
        assert_eq!(said.contains(&words), moves, "{said}");
        assert_eq!(said.contains("this release is pinned to sha256:"), moves, "{said}");
        assert_eq!(said.matches("warning: ").count(), usize::from(moves), "one line: {said}");
    }
}
