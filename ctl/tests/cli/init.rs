//! `init`: what it makes, who may read it, and that it never overwrites.

use std::collections::BTreeSet;

use windlass_certs::ca::CertificateAuthority;
use windlass_certs::csr::CertifiedIdentity;
use windlass_certs::identity::Grant;
use windlass_certs::keys::SigningKey;
use windlass_core::Timestamp;

use crate::{Desk, mode, stderr};

#[test]
fn keys_are_where_they_belong_and_closed_to_others() {
    let desk = Desk::with_fleet();
    let files = [
        "home/config.toml",
        "home/fleets/demo/root.key",
        "home/fleets/demo/release.key",
        "home/fleets/demo/revoke.key",
        "home/fleets/demo/operator.pem",
        "home/fleets/demo/ca.pem",
        "home/fleets/demo/trust/1.json",
        "server/server.toml",
        "server/ca/ca.key",
        "server/keys/dispatch.key",
        "server/keys/audit.key",
        "server/trust/1.json",
    ];
    for file in files {
        assert_eq!(mode(&desk.path(file)), 0o600, "{file}");
    }
    for folder in
        ["home", "home/fleets", "home/fleets/demo", "server", "server/ca", "server/keys", "server/trust"]
    {
        assert_eq!(mode(&desk.path(folder)), 0o700, "{folder}");
    }
    // Nothing that authors content lies on the coordinator, and each key has one purpose.
    let keys = ["home/fleets/demo/root.key", "home/fleets/demo/release.key"].into_iter().chain(
        ["dispatch", "audit", "revoke"].map(|name| match name {
            "dispatch" => "server/keys/dispatch.key",
            "audit" => "server/keys/audit.key",
            _ => "home/fleets/demo/revoke.key",
        }),
    );
    let ids: BTreeSet<String> =
        keys.map(|path| SigningKey::load(&desk.path(path)).unwrap().id().to_string()).collect();
    assert_eq!(ids.len(), 5);
    for never in ["root", "release", "revoke"] {
        assert!(!desk.path(&format!("server/keys/{never}.key")).exists(), "{never}");
    }
}

#[test]
fn the_operator_is_an_admin_certified_by_the_ca() {
    let desk = Desk::with_fleet();
    let operator = CertifiedIdentity::load(&desk.path("home/fleets/demo/operator.pem")).unwrap();
    assert_eq!(operator.peer().identity.to_string(), "spiffe://demo/operator/alice");
    assert_eq!(operator.peer().grant, Some(Grant::admin()));
    let life = operator.peer().not_after.since(operator.peer().not_before);
    assert_eq!(life.as_secs(), 8 * 3600 + 300, "8 h, backdated by 5 min");
    let ca = CertificateAuthority::load(&desk.path("server/ca")).unwrap();
    assert_eq!(operator.chain().get(1), Some(ca.certificate()));
    let trust = desk.json(&["trust", "show", "--offline", "-o", "json"]);
    assert_eq!(trust["ca"][0], ca.fingerprint().to_string());
    assert_eq!(trust["version"], 1);
    assert_eq!(trust["coordinators"][0], "127.0.0.1:1");
    assert_eq!(trust["roles"]["release"][0]["environment"], "*");
    let at = |name: &str| trust[name].as_str().unwrap().parse::<Timestamp>().unwrap();
    assert_eq!(at("expires_at").since(at("created_at")).as_secs(), 365 * 24 * 3600);
}

#[test]
fn lifetimes_can_be_short_for_tests() {
    let desk = Desk::new();
    let made = desk.json(&[
        "init",
        "--fleet",
        "demo",
        "--server",
        "127.0.0.1:1",
        "--server-dir",
        "server",
        "--lifetime",
        "operator=10s",
        "--lifetime",
        "agent=20s",
        "-o",
        "json",
    ]);
    assert_eq!(made["fleet"], "demo");
    let settings = std::fs::read_to_string(desk.path("server/server.toml")).unwrap();
    assert!(settings.contains("[certificates]\noperator = \"10s\"\nagent = \"20s\""), "{settings}");
    let operator = CertifiedIdentity::load(&desk.path("home/fleets/demo/operator.pem")).unwrap();
    assert_eq!(operator.peer().not_after.since(operator.peer().not_before).as_secs(), 310);
    let refused = desk.screen(&["init", "--fleet", "x", "--server-dir", "x", "--lifetime", "root=1h"]);
    assert!(refused.contains("the role is `operator`, `agent` or `coordinator`"), "{refused}");
}

#[test]
fn nothing_is_overwritten() {
    let desk = Desk::with_fleet();
    let root = || std::fs::read(desk.path("home/fleets/demo/root.key")).unwrap();
    let before = root();
    insta::assert_snapshot!(
        desk.screen(&["init", "--fleet", "demo", "--server", "127.0.0.1:1", "--server-dir", "other"]),
        @"
    $ windlass init --fleet demo --server 127.0.0.1:1 --server-dir other
    error: there is a context `demo` already, of fleet `demo`

    hint: if it is the fleet that you mean, go on with it: `windlass status --context demo`; for another one choose --fleet and --context
    exit 1
    "
    );
    insta::assert_snapshot!(
        desk.screen(&["init", "--fleet", "second", "--server", "127.0.0.1:1", "--server-dir", "server"]),
        @"
    $ windlass init --fleet second --server 127.0.0.1:1 --server-dir server
    error: there is a fleet already: `server` exists

    hint: `init` never overwrites keys: choose other names, or move `server` away; a fleet whose keys are in the home folder gets its context back with `windlass context add`
    exit 1
    "
    );
    assert_eq!(root(), before);
    assert!(!desk.path("other").exists() && !desk.path("home/fleets/second").exists());
    let left: Vec<_> =
        std::fs::read_dir(desk.root.path()).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(left.len(), 2, "no temporary folder is left: {left:?}");
}

#[test]
fn the_server_address_is_asked_for_and_checked() {
    let desk = Desk::new();
    insta::assert_snapshot!(desk.screen(&["init", "--fleet", "demo", "--server-dir", "server"]), @"
    $ windlass init --fleet demo --server-dir server
    error: `init` needs --server HOST:PORT

    hint: it is where agents and operators will reach the coordinator, like 127.0.0.1:7443
    exit 2
    ");
    let output = desk.run(&["init", "--fleet", "demo", "--server", "example.com", "--server-dir", "server"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("write it HOST:PORT, like `example.com:7443`"));
    assert!(!desk.path("server").exists());
}

#[test]
fn two_fleets_are_two_contexts() {
    let desk = Desk::with_fleet();
    let args =
        ["init", "--fleet", "prod", "--server", "10.0.0.1:7443", "--server-dir", "prod", "-e", "production"];
    assert!(desk.run(&args).status.success());
    let list = desk.json(&["context", "ls", "-o", "json"]);
    assert_eq!(list[0]["name"], "demo");
    assert_eq!((&list[1]["current"], &list[1]["environment"]), (&true.into(), &"production".into()));
    assert!(desk.run(&["context", "use", "demo"]).status.success());
    assert_eq!(desk.json(&["context", "ls", "-o", "json"])[0]["current"], true);
    insta::assert_snapshot!(desk.screen(&["context", "use", "demi"]), @"
    $ windlass context use demi
    error: there is no context `demi`

    hint: there are: demo, prod; `windlass context ls` shows their fleets
    exit 1
    ");
}
