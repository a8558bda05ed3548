//! A second operator, on a machine of their own: no private key travels.

use crate::desk::Desk;

#[test]
fn an_operator_joins_from_another_machine_works_within_the_role_and_is_revoked() {
    let desk = Desk::new();
    let (alice, bob) = (desk.person("alice"), desk.person("bob"));
    let unsaid = alice.run(&["operator", "add", "bob", "--role", "deployer"]);
    assert_eq!(unsaid.code, 2, "where a role counts must be said: {}", unsaid.stderr);
    let made =
        alice.ok(&["operator", "add", "bob", "--role", "deployer", "-e", "staging", "-o", "json"]).json();
    assert_eq!(made["grant"], "deployer/staging");
    let token = made["token"].as_str().unwrap();

    let join = ["operator", "join", "--server", &desk.server, "--token", token];
    let joined = bob.ok(&[&join[..], &["-o", "json"]].concat()).json();
    assert_eq!((&joined["operator"], &joined["grant"]), (&"bob".into(), &"deployer/staging".into()));
    assert!(joined["release_key"].as_str().unwrap().contains("PUBLIC KEY"), "{joined}");
    let home = desk.path("bob/home/fleets/demo");
    for file in ["operator.pem", "release.key", "trust/1.json"] {
        assert!(home.join(file).exists(), "{file}");
    }
    for file in ["root.key", "joining.key"] {
        assert!(!home.join(file).exists(), "{file}");
    }
    bob.ok(&["status"]);
    bob.ok(&["host", "ls"]);
    for refused in [
        vec!["host", "token", "web-1"],
        vec!["operator", "add", "eve", "--role", "admin", "--everywhere"],
        vec!["operator", "ls"],
        vec!["audit", "verify"],
        vec!["rollout", "ls", "production/web"],
    ] {
        let output = bob.run(&refused);
        assert_eq!(output.code, 1, "{refused:?}: {}", output.stdout);
        assert!(output.stderr.contains("this needs an operator with role"), "{refused:?}: {}", output.stderr);
    }

    // The token is spent, whoever has it; and a home with an operator says so first.
    assert!(bob.run(&join).expect_code(1).stderr.contains("already, of `bob`"));
    assert!(desk.person("eve").run(&join).expect_code(1).stderr.contains("used before, by another key"));
    let listed = alice.ok(&["operator", "ls", "-o", "json"]).json();
    let state = |name: &str| {
        let found = listed.as_array().unwrap().iter().find(|operator| operator["name"] == name);
        found.map(|operator| (operator["state"].clone(), operator["grant"].clone()))
    };
    assert_eq!(state("alice"), Some(("active".into(), "admin/*".into())));
    assert_eq!(state("bob"), Some(("active".into(), "deployer/staging".into())));

    assert_eq!(alice.run(&["operator", "revoke", "bob"]).code, 1, "not without a yes");
    alice.ok(&["operator", "revoke", "bob", "--yes"]);
    let output = bob.run(&["status"]);
    assert_eq!(output.code, 1, "{}", output.stdout);
    assert!(alice.run(&["operator", "revoke", "alice", "--yes"]).expect_code(1).stderr.contains("yourself"));
    let told = alice.ok(&["events", "--kind", "operator", "-o", "json"]).lines();
    let kinds: Vec<&str> = told.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        ["operator.added", "operator.joined", "operator.token_reused", "operator.revoked"],
        "{told:#?}"
    );
}
