use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use proptest::prelude::*;
use windlass_core::Size;
use windlass_core::host::{Limit, Users};

use super::*;

fn parse(text: &str) -> Result<Policy, PolicyError> {
    file::parse(Path::new("policy.toml"), text)
}

#[test]
fn every_key_of_the_documentation() {
    let text = r#"
        registries = ["Registry.example.com/team/", "127.0.0.1:5000"]
        insecure_registries = ["10.0.0.5:5000"]
        labels = { role = "app" }
        environments = ["production"]
        host_ports = [80, 443]
        port_range = "20000-29999"
        mounts = ["/srv"]
        capabilities = ["cap_net_bind_service", "BLOCK_SUSPEND2"]
        gpus = "all"
        gpu_reserve = "2GiB"
        users = "non-root"
        exec = false
        max_memory = "90%"
        max_image = "20GiB"
        behind_nat = true
    "#;
    let policy = parse(text).unwrap();
    assert_eq!(policy.host.registries, ["registry.example.com/team", "127.0.0.1:5000"]);
    assert_eq!(policy.labels.unwrap()["role"], "app");
    assert_eq!(policy.host.users, Users::NonRoot);
    assert_eq!(policy.host.insecure_registries, ["10.0.0.5:5000"]);
    assert_eq!(policy.host.environments.unwrap(), ["production".parse().unwrap()].into());
    assert_eq!(policy.host.host_ports, [80, 443].into());
    assert_eq!(policy.host.mounts, ["/srv"]);
    assert_eq!(policy.host.capabilities, ["BLOCK_SUSPEND2", "NET_BIND_SERVICE"].map(str::to_owned).into());
    assert_eq!(policy.host.max_memory, Limit::Percent(90));
    assert_eq!(policy.host.gpu_reserve, Size::from_bytes(2 << 30));
    assert_eq!((policy.host.gpus, policy.host.port_range), (None, (20_000, 29_999)));
    let short = parse("registries = []\nmax_memory = \"8GiB\"\ngpus = 2").unwrap();
    assert_eq!(short.host.max_memory, Limit::Bytes(Size::from_bytes(8 << 30)));
    assert_eq!(short.host.gpus, Some(2));
    assert!(short.host.mounts.is_empty() && short.labels.is_none());
    assert!(policy.behind_nat && !short.behind_nat);
}

#[test]
fn nonsense_is_refused_with_its_key() {
    #[rustfmt::skip]
    let table = [
        ("", "registries"), ("registries = []\nregistry = []", "unknown field"),
        ("registries = [\"https://x.y\"]", "registries"), ("registries = [\"team/web\"]", "registries"),
        ("registries = []\nregistries = []", "duplicate key"),
        ("registries = []\nenvironments = []", "environments"), ("registries = []\nenvironments = [\"A\"]", "environments"),
        ("registries = []\nhost_ports = [0]", "host_ports"), ("registries = []\nhost_ports = [70000]", "host_ports"),
        ("registries = []\nport_range = \"9-5\"", "port_range"), ("registries = []\nport_range = \"80-99\"", "port_range"),
        ("registries = []\nport_range = \"30000-20000\"", "port_range"),
        ("registries = []\nmounts = [\"/\"]", "mounts"), ("registries = []\nmounts = [\"srv\"]", "mounts"),
        ("registries = []\nmounts = [\"/srv/..\"]", "mounts"), ("registries = []\ncapabilities = [\"ALL\"]", "capabilities"),
        ("registries = []\ncapabilities = [\"SYS ADMIN\"]", "capabilities"), ("registries = []\ncapabilities = [\"CAP_\"]", "capabilities"),
        ("registries = []\nlabels = { role = \"a b\" }", "labels"), ("registries = []\nlabels = { \"\" = \"a\" }", "labels"),
        ("registries = []\ngpus = \"some\"", "gpus"), ("registries = []\nusers = \"root\"", "users"),
        ("registries = []\nmax_memory = \"0%\"", "max_memory"), ("registries = []\nmax_memory = \"101%\"", "max_memory"),
        ("registries = []\nmax_image = \"20\"", "max_image"), ("registries = []\nlabels = { \"a b\" = \"c\" }", "labels"),
        ("registries = []\nlabels = { \"windlass.host\" = \"c\" }", "labels"),
    ];
    for (text, want) in table {
        let error = parse(text).unwrap_err();
        let shown = windlass_process::report::chain(&error);
        assert!(shown.contains(want), "{text:?} gave {shown}");
    }
}

#[test]
fn what_is_longer_than_any_policy_is_refused() {
    let list = |key: &str, one: &str, count: usize| {
        let all = vec![format!("\"{one}\""); count].join(",");
        let first = if key == "registries" { "" } else { "registries = []\n" };
        parse(&format!("{first}{key} = [{all}]"))
    };
    for (key, one) in [("registries", "a.example.com"), ("mounts", "/srv"), ("capabilities", "SYS_TIME")] {
        assert!(list(key, one, 256).is_ok(), "{key}");
        assert!(list(key, one, 257).unwrap_err().to_string().contains("256"), "{key}");
    }
    let name =
        |length: usize| parse(&format!("registries = []\ncapabilities = [\"{}\"]", "X".repeat(length)));
    assert!(name(64).is_ok() && name(65).is_err());
    let labels = |count: usize| {
        let all: Vec<String> = (0..count).map(|n| format!("l{n} = \"\"")).collect();
        parse(&format!("registries = []\nlabels = {{ {} }}", all.join(", ")))
    };
    assert_eq!(labels(64).unwrap().labels.unwrap().len(), 64);
    assert!(labels(65).unwrap_err().to_string().contains("more than 64"));
    // The file itself: as long as it may be, and a byte more.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("policy.toml");
    let padded = |length: usize| {
        let text = "registries = [\"a.example.com\"]\n";
        fs::write(&path, format!("{text}{}", " ".repeat(length - text.len()))).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        load(&path)
    };
    assert_eq!(padded(65_536).unwrap().host.registries, ["a.example.com"]);
    assert!(matches!(padded(65_537), Err(PolicyError::Read { .. })));
}

#[test]
fn owner_and_mode_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("policy.toml");
    let missing = load(&path).unwrap_err();
    assert!(missing.hint().unwrap().contains("registries = "), "{missing}");
    fs::write(&path, "registries = []").unwrap();
    #[rustfmt::skip]
    let table = [(0o644, true), (0o600, true), (0o400, true), (0o664, false), (0o646, false), (0o755, false), (0o4644, false)];
    for (mode, want) in table {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(load(&path).is_ok(), want, "{mode:o}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    if std::os::unix::fs::chown(&path, Some(12345), None).is_ok() {
        assert!(matches!(load(&path), Err(PolicyError::Owner { owner: 12345, .. })));
    }
}

#[test]
fn the_starter_file_is_valid_and_never_overwrites() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("etc/policy.toml");
    assert!(matches!(write_starter(&path, &[], &[]), Err(StarterError::NoRegistry(_))));
    assert!(write_starter(&path, &["127.0.0.1:5000".to_owned()], &[]).unwrap());
    let host = load(&path).unwrap().host;
    assert_eq!(host.registries, ["127.0.0.1:5000"]);
    let usual = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"].map(str::to_owned);
    assert_eq!(host.capabilities, usual.into(), "what images need that change their user");
    assert!(!write_starter(&path, &["other.example.com".to_owned()], &[]).unwrap());
    assert_eq!(load(&path).unwrap().host.registries, ["127.0.0.1:5000"]);
    let other = dir.path().join("insecure.toml");
    let plain = ["10.0.0.1:5000".to_owned()];
    assert!(write_starter(&other, &plain, &plain).unwrap());
    assert_eq!(load(&other).unwrap().host.insecure_registries, plain);
    // Every commented key is a key: uncommenting all of them must parse.
    let all: String = starter::text(&["a.example.com".to_owned()], &[])
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.contains(" = ") => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    parse(&all).unwrap();
}

#[test]
fn links_are_followed_before_a_path_is_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let at = |name: &str| root.join(name).to_str().unwrap().to_owned();
    for folder in ["srv/app", "agent", "other"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    symlink(root.join("other"), root.join("srv/out")).unwrap();
    symlink("/etc", root.join("srv/etc")).unwrap();
    symlink(root.join("agent"), root.join("srv/agent")).unwrap();
    symlink(root.join("srv/app"), root.join("srv/in")).unwrap();
    symlink(root.join("nowhere"), root.join("srv/dangling")).unwrap();
    symlink(root.join("srv"), root.join("alias")).unwrap();
    let mounts = Mounts { allowed: vec![at("srv"), at("alias")], own: vec![at("agent")] };
    #[rustfmt::skip]
    let table = [
        ("srv/app", Some("srv/app")), ("srv/in", Some("srv/app")), ("srv/new/deep", None),
        ("alias/app", Some("srv/app")), ("srv/out", None), ("srv/out/x", None), ("srv/etc", None),
        ("srv/etc/passwd", None), ("srv/agent", None), ("srv/dangling", None), ("srv/dangling/x", None),
        ("srv/../other", None), ("other", None), ("agent", None),
    ];
    for (path, want) in table {
        let got = resolve(&mounts, &at(path));
        assert_eq!(
            got.as_ref().ok().map(|path| path.to_str().unwrap()),
            want.map(at).as_deref(),
            "{path}: {got:?}"
        );
    }
    let why = |path: &str| resolve(&mounts, &at(path)).unwrap_err();
    assert!(why("srv/out").contains("leads elsewhere") && why("srv/agent").contains("leads elsewhere"));
    assert!(why("srv/new/deep").contains("does not exist on this host"));
    let again = |path: &str| mounts::check_again(&mounts, &at(path));
    assert_eq!(again("srv/app"), Ok(()));
    assert!(again("srv/in").unwrap_err().contains(&format!("leads to `{}` now", at("srv/app"))));
    assert!(again("srv/out").unwrap_err().contains("leads elsewhere"));
    assert_eq!(mounts::real_path(&at("srv/in/x")), at("srv/app/x"));
    assert_eq!(mounts::real_path(&at("srv/dangling")), at("srv/dangling"), "as written");
    // Another name of what is forbidden, and a way that others may change.
    fs::create_dir_all(root.join("agent")).unwrap();
    fs::write(root.join("agent/key"), "").unwrap();
    fs::hard_link(root.join("agent/key"), root.join("srv/key")).unwrap();
    let keyed = Mounts { allowed: vec![at("srv")], own: vec![at("agent/key")] };
    assert!(resolve(&keyed, &at("srv/key")).unwrap_err().contains("under another name"));
    fs::set_permissions(root.join("srv"), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(why("srv/app").contains("chmod go-w") && !why("srv/app").contains("leads elsewhere"));
    assert!(why("srv/in").contains("leads elsewhere"));
    fs::set_permissions(root.join("srv"), fs::Permissions::from_mode(0o755)).unwrap();
    let direct = Mounts { allowed: vec![at("srv")], own: vec![at("alias/app")] };
    let through = resolve(&direct, &at("srv/app/x")).unwrap_err();
    assert!(!through.contains("leads elsewhere"), "there is no link in it: {through}");
}

#[test]
fn a_forbidden_folder_that_was_moved_stays_forbidden() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let at = |name: &str| root.join(name).to_str().unwrap().to_owned();
    for folder in ["data/engine/volumes", "data/app", "lib"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    // As operators do it when the engine's disk is full.
    symlink(root.join("data/engine"), root.join("lib/engine")).unwrap();
    let mounts = Mounts { allowed: vec![at("data")], own: vec![] };
    let table = [("data/app", true), ("data/engine", false), ("data/engine/volumes", false), ("data", false)];
    for (path, want) in table {
        let got = mounts::resolve_beside(&mounts, &at(path), &[&at("lib/engine")]);
        assert_eq!(got.is_ok(), want, "{path}: {got:?}");
    }
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,300}", value in "\\PC{0,60}") {
        let _ = parse(&text);
        for key in ["registries", "mounts", "capabilities"] {
            let _ = parse(&format!("registries = []\n{key} = [{value:?}]"));
        }
        for key in ["port_range", "max_memory", "max_image", "gpus", "users"] {
            let _ = parse(&format!("registries = []\n{key} = {value:?}"));
        }
    }
}
