//! A second operator, on a machine of their own: no private key travels.

use std::time::Duration;

use windlass_certs::ca::{CertificateAuthority, Leaf};
use windlass_certs::identity::{Grant, Identity, PeerIdentity};
use windlass_tests::Lab;

use crate::desk::Desk;

#[test]
fn operator_joins_works_within_the_role_and_is_revoked() {
    let desk = Desk::new();
    let (alice, bob) = (desk.person("alice"), desk.person("bob"));
    let boss = alice.run(&["operator", "invite", "bob", "--role", "boss", "--everywhere"]).expect_code(2);
    assert!(
        boss.stderr.contains("unknown role \"boss\"; one of viewer, deployer, approver, admin"),
        "{boss}"
    );
    let unsaid = alice.run(&["operator", "add", "bob", "--role", "deployer"]);
    assert_eq!(unsaid.code, 2, "where a role counts must be said: {}", unsaid.stderr);
    let made =
        alice.ok(&["operator", "add", "bob", "--role", "deployer", "-e", "staging", "-o", "json"]).json();
    assert_eq!(made["grant"], "deployer/staging");
    let invited = alice.ok(&["operator", "ls", "-o", "json"]).json();
    assert_eq!((&invited[1]["name"], &invited[1]["state"]), (&"bob".into(), &"invited".into()), "{invited}");
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

    let typo = alice.run(&["operator", "revoke", "bbo", "--yes"]).expect_code(1);
    assert!(typo.stderr.contains("there is no operator `bbo`"), "{typo}");
    assert_eq!(
        alice.ok(&["operator", "ls", "-o", "json"]).json().as_array().unwrap().len(),
        2,
        "no row is left"
    );
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

/// The revoke key is an operator's: with it, and without a coordinator's leave, certificates count no more.
#[test]
fn a_certificate_is_revoked_by_a_signed_list() {
    let mut desk = Desk::new();
    let (alice, bob) = (desk.person("alice"), desk.person("bob"));
    let invited = alice.ok(&["operator", "invite", "bob", "--role", "viewer", "--everywhere", "-o", "json"]);
    bob.ok(&["operator", "join", invited.json()["token"].as_str().unwrap()]);
    bob.ok(&["status"]);
    assert!(alice.ok(&["trust", "revoked"]).stdout.contains("nothing is revoked"));
    let file = desk.path("bob/home/fleets/demo/operator.pem").display().to_string();
    let serial = PeerIdentity::from_pem(&std::fs::read_to_string(&file).unwrap()).unwrap().serial.to_string();

    // Not by another key, not by nonsense, not a coordinator's name, not without a yes, and not by those who may not.
    let keys = desk.path("alice/home/fleets/demo");
    let key = |name: &str| keys.join(name).display().to_string();
    for (words, told) in [
        (vec!["--yes", "trust", "revoke", &serial, "--key", &key("root.key")], "does not let the key"),
        (vec!["--yes", "trust", "revoke", &serial, "--key", &key("none.key")], "there is no revoke key here"),
        (vec!["--yes", "trust", "revoke", "bob"], "names no certificate and no member"),
        (vec!["--yes", "trust", "revoke", &key("root.key")], "holds no certificate of a member"),
        (vec!["--yes", "trust", "revoke", "coordinator/main"], "not revoked by its name"),
        (vec!["trust", "revoke", &serial], "Revoke"),
    ] {
        let refused = alice.run(&words);
        assert!(refused.code == 1 && refused.stderr.contains(told), "{words:?}: {refused}");
    }
    let theirs = desk.path("theirs.json").display().to_string();
    alice.ok(&["--yes", "trust", "revoke", "host/web-9", "--out", &theirs]);
    assert_eq!(bob.run(&["trust", "publish", &theirs]).code, 1, "he is no admin");
    let mut bent: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&theirs).unwrap()).unwrap();
    bent["signatures"] = serde_json::json!([]);
    let unsigned = desk.path("unsigned.json");
    std::fs::write(&unsigned, bent.to_string()).unwrap();
    assert_eq!(alice.run(&["trust", "publish", &unsigned.display().to_string()]).code, 1);
    bob.ok(&["status"]);

    let made = alice.ok(&["--yes", "trust", "revoke", &file, "-o", "json"]).json();
    assert_eq!((&made["state"], &made["version"]), (&"published".into(), &1.into()), "{made}");
    assert_eq!(made["certificates"], serde_json::json!([serial]));
    let out = bob.run(&["status"]);
    assert_eq!(out.code, 1, "{}", out.stdout);
    let shown = alice.ok(&["trust", "show"]).stdout;
    assert!(shown.contains("revoked certificate") && shown.contains(&serial), "{shown}");
    let again = alice.ok(&["--yes", "trust", "revoke", &serial, "-o", "json"]).json();
    assert_eq!((&again["state"], &again["version"]), (&"unchanged".into(), &1.into()), "{again}");
    // The list that was written down before is not newer, and the next one goes on from the newest.
    let stale = alice.run(&["trust", "publish", &theirs]);
    assert!(stale.code == 1 && stale.stderr.contains("is not newer"), "{stale}");
    let next = alice.ok(&["--yes", "trust", "revoke", "operator/bob", "host/web-9", "-o", "json"]).json();
    assert_eq!((&next["version"], next["members"].as_array().unwrap().len()), (&2.into(), 2), "{next}");
    assert_eq!(next["certificates"], serde_json::json!([serial]), "what was revoked stays revoked");

    // After a restart, and in the log.
    desk.stop();
    desk.start();
    assert_eq!(bob.run(&["status"]).code, 1);
    let listed = alice.ok(&["trust", "revoked", "-o", "json"]).json();
    assert_eq!(listed["version"], 2, "{listed}");
    assert_eq!(alice.ok(&["trust", "revoked", "--offline", "-o", "json"]).json(), listed);
    let log = alice.ok(&["audit", "ls", "-o", "json"]).stdout;
    assert!(log.contains("revocation.apply") && log.contains("operator/alice"), "{log}");
}

/// The line after `Next…`, as the program printed it for the next person.
fn next(text: &str) -> Vec<String> {
    let after = text.split_once("\nNext").unwrap_or_else(|| panic!("no next step: {text}")).1;
    let line = after.lines().find(|line| line.starts_with("  windlass ")).unwrap_or_else(|| panic!("{text}"));
    line.split_whitespace().skip(1).map(str::to_owned).collect()
}

/// Each step is the command that the step before printed, word for word; no other program is needed.
#[test]
fn a_second_operator_deploys_after_three_commands() {
    let lab = Lab::enter(); // a deploy asks a registry for the image
    let desk = Desk::new();
    let (alice, bob) = (desk.person("alice"), desk.person("bob"));
    let registry = ["--insecure-registry", &lab.registry()].map(str::to_owned);
    let registry = registry.each_ref().map(String::as_str);
    let manifest = desk.path("web.yaml");
    let text = format!("service: web\nimage: {}\nports: {{ http: 8080 }}\n", lab.image("v1"));
    std::fs::write(&manifest, text).unwrap();
    let run = |who: &windlass_tests::Cli, words: &[String]| {
        who.ok(&words.iter().map(String::as_str).collect::<Vec<_>>())
    };

    let invited = alice.ok(&["operator", "invite", "bob", "--role", "deployer", "-e", "staging"]);
    let join = next(&format!("\n{}", invited.stderr));
    assert_eq!(join[..2], ["operator", "join"]);
    assert_eq!(join[2], invited.stdout.trim(), "the token alone on stdout");
    let joined = run(&bob, &join);
    let add = next(&joined.stdout);
    assert_eq!(add[..2], ["trust", "add-key"]);
    // Not before the root keys say so.
    let mut deploy: Vec<String> = ["deploy", "-f", "FILE", "-e", "staging"].map(str::to_owned).to_vec();
    let file = manifest.display().to_string();
    deploy[2].clone_from(&file);
    let words: Vec<&str> = deploy.iter().map(String::as_str).chain(["--detach"]).chain(registry).collect();
    let early = bob.run(&words).expect_code(1);
    assert!(early.stderr.contains("does not let these keys sign"), "{early}");
    let added = run(&alice, &add);
    assert!(added.stdout.starts_with("version 2 of the trust document is in force"), "{added}");
    let told = next(&added.stdout);
    assert_eq!(told.join(" "), "deploy -f FILE -e staging");
    bob.ok(&words);
    let shown = alice.ok(&["release", "show", "staging/web", "-o", "json"]).json();
    assert_eq!(shown["release"]["author"], "bob", "{shown:#}");

    // Twice is once; production is none of bob's; and the way back is one command too.
    let again = run(&alice, &add);
    assert!(again.stdout.starts_with("nothing to change: version 2"), "{again}");
    let ask = |who: &windlass_tests::Cli, words: &[&str]| {
        who.run(&[&["deploy", "-f", &file, "--detach"], words, &registry].concat())
    };
    let elsewhere = ask(&bob, &["-e", "production"]).expect_code(1);
    assert!(
        elsewhere.stderr.contains("does not let these keys sign") || elsewhere.stderr.contains("operator"),
        "{elsewhere}"
    );
    alice.ok(&["trust", "remove-key", &add[2]]);
    let late = ask(&bob, &["-e", "staging", "--set", "replicas=2"]).expect_code(1);
    assert!(late.stderr.contains("does not let these keys sign"), "{late}");
    ask(&alice, &["-e", "staging", "--set", "replicas=2", "--supersede"]).expect_code(0);
}

#[test]
fn the_only_operator_comes_back_after_a_long_holiday() {
    let desk = Desk::new();
    let alice = desk.person("alice");
    let file = desk.path("alice/home/fleets/demo/operator.pem");
    let ca = CertificateAuthority::load(&desk.data().join("ca")).unwrap();
    // Made so that it ended 31 days ago.
    let now = windlass_testkit::now();
    let identity = Identity::operator("demo".parse().unwrap(), &"alice".parse().unwrap());
    let leaf = Leaf::operator(identity, Grant::admin(), 9);
    let over = ca.issue_new(&leaf, now - leaf.validity - Duration::from_secs(31 * 24 * 3600)).unwrap();
    over.save(&file).unwrap();
    let refused = alice.run(&["host", "ls"]).expect_code(1);
    assert!(refused.stderr.contains("expired too long ago"), "{refused}");
    assert!(refused.stderr.contains("windlass operator recover"), "{refused}");

    let folder = desk.data().join("ca").display().to_string();
    let root = desk.path("alice/home/fleets/demo/root.key");
    let away = desk.path("root.key");
    std::fs::rename(&root, &away).unwrap();
    let without = alice.run(&["operator", "recover", "--ca", &folder]).expect_code(1);
    assert!(without.stderr.contains("there is no root key here"), "{without}");
    let release = desk.path("alice/home/fleets/demo/release.key").display().to_string();
    let wrong = alice.run(&["operator", "recover", "--ca", &folder, "--key", &release]).expect_code(1);
    assert!(wrong.stderr.contains("is no root key"), "{wrong}");
    CertificateAuthority::generate("demo".parse().unwrap(), now).unwrap().save(&desk.path("theirs")).unwrap();
    let (theirs, away) = (desk.path("theirs").display().to_string(), away.display().to_string());
    let other = alice.run(&["operator", "recover", "--ca", &theirs, "--key", &away]).expect_code(1);
    assert!(other.stderr.contains("does not name the CA"), "{other}");
    let back = alice.ok(&["operator", "recover", "--ca", &folder, "--key", &away]);
    let next: Vec<String> = next(&back.stdout);
    alice.ok(&next.iter().map(String::as_str).collect::<Vec<_>>());
    alice.ok(&["host", "token", "web-1"]);
    alice.ok(&["operator", "recover", "--ca", &folder, "--key", &away]);
    alice.ok(&["host", "ls"]);
}
