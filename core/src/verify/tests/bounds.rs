//! Each bound, from both sides, and each part of a condition by itself: a rule of which a half can be taken away
//! without a test noticing is half a rule.

use super::*;
use crate::release::{File, Volume};

fn just(text: &str, length: usize) -> String {
    text.repeat(length)
}

fn exec(argv: Vec<String>) -> Option<Probe> {
    probe(Check::Exec { argv })
}

fn http(path: String, port: &str) -> Option<Probe> {
    probe(Check::Http { path, port: port.into() })
}

/// A probe with one number changed.
fn numbers(change: impl FnOnce(&mut Probe)) -> Option<Probe> {
    let mut probe = probe(Check::Tcp { port: "http".into() }).unwrap();
    change(&mut probe);
    Some(probe)
}

fn volume(mount: &str) -> Volume {
    Volume { mount: mount.into(), host_path: None, read_only: false, shared: false }
}

#[test]
fn releases_are_bounded_where_it_is_said_and_nowhere_else() {
    type Case = (&'static str, bool, fn(&mut Release));
    #[rustfmt::skip]
    let table: Vec<Case> = vec![
        ("100 000 replicas", true, |r| r.spec.scale = Scale::Replicas { min: 1, max: 100_000 }),
        ("one more", false, |r| r.spec.scale = Scale::Replicas { min: 1, max: 100_001 }),
        ("64 labels", true, |r| r.spec.placement.require = (0..64).map(|n| (n.to_string(), String::new())).collect()),
        ("65 labels", false, |r| r.spec.placement.require = (0..65).map(|n| (n.to_string(), String::new())).collect()),
        ("a repository without a path", false, |r| r.spec.image.repository = "registry.example.com".into()),
        ("a repository in another spelling", false, |r| r.spec.image.repository = "Registry.example.com/web".into()),
        ("a reference of 512", true, |r| r.spec.image.reference = just("x", 512)),
        ("a reference of 513", false, |r| r.spec.image.reference = just("x", 513)),
        ("a reference of two lines", false, |r| r.spec.image.reference = "a\nb".into()),
        ("a platform of three parts", true, |r| r.spec.image.platform = "linux/arm64/v8".into()),
        ("a platform of four parts", false, |r| r.spec.image.platform = "linux/arm64/v8/x".into()),
        ("a platform with a gap", false, |r| r.spec.image.platform = "linux//v8".into()),
        ("a platform in capitals", false, |r| r.spec.image.platform = "Linux/amd64".into()),
        ("1024 words", true, |r| r.spec.command = Some(vec!["x".into(); 1024])),
        ("1025 words", false, |r| r.spec.args = Some(vec!["x".into(); 1025])),
        ("a word with a zero", false, |r| r.spec.command = Some(vec!["x".into(), "a\0b".into()])),
        ("4096 variables", true, |r| r.spec.env = (0..4096).map(|n| (format!("V{n}"), String::new())).collect()),
        ("4097 variables", false, |r| r.spec.env = (0..4097).map(|n| (format!("V{n}"), String::new())).collect()),
        ("a variable", true, |r| r.spec.env = [("A".into(), "x=y".into())].into()),
        ("a variable without a name", false, |r| r.spec.env = [(String::new(), "x".into())].into()),
        ("a variable with = in its name", false, |r| r.spec.env = [("A=B".into(), "x".into())].into()),
        ("a variable with a zero in its value", false, |r| r.spec.env = [("A".into(), "x\0".into())].into()),
        ("a working directory", true, |r| r.spec.workdir = Some("/srv".into())),
        ("a working directory that climbs", false, |r| r.spec.workdir = Some("/srv/..".into())),
        ("a user of every kind of character", true, |r| r.spec.security.user = Some("a-b_c.d:9".into())),
        ("a user of 128", true, |r| r.spec.security.user = Some(just("u", 128))),
        ("a user of 129", false, |r| r.spec.security.user = Some(just("u", 129))),
        ("no user's name", false, |r| r.spec.security.user = Some(String::new())),
        ("a user with a space", false, |r| r.spec.security.user = Some("a b".into())),
        ("a capability with digits", true, |r| r.spec.security.capabilities = vec!["A_B2".into()]),
        ("a capability in small letters", false, |r| r.spec.security.capabilities = vec!["net_admin".into()]),
        ("a capability with a dash", false, |r| r.spec.security.capabilities = vec!["NET-ADMIN".into()]),
        ("a capability without a name", false, |r| r.spec.security.capabilities = vec![String::new()]),
        ("64 capabilities", true, |r| r.spec.security.capabilities = (0..64).map(|n| format!("C{n}")).collect()),
        ("65 capabilities", false, |r| r.spec.security.capabilities = (0..65).map(|n| format!("C{n}")).collect()),
        ("a port with a dash and a digit", true, |r| { let port = r.spec.ports["http"]; r.spec.ports.insert("a-1".into(), port); }),
        ("a port in capitals", false, |r| { let port = r.spec.ports["http"]; r.spec.ports.insert("A".into(), port); }),
        ("a port with a space", false, |r| { let port = r.spec.ports["http"]; r.spec.ports.insert("a b".into(), port); }),
        ("a port without a name", false, |r| { let port = r.spec.ports["http"]; r.spec.ports.insert(String::new(), port); }),
        ("a probe that fails at once", true, |r| r.spec.health.liveness = numbers(|p| p.failures = 1)),
        ("a probe that never fails", false, |r| r.spec.health.liveness = numbers(|p| p.failures = 0)),
        ("a probe that fails after 10 001", false, |r| r.spec.health.liveness = numbers(|p| p.failures = 10_001)),
        ("a probe that never succeeds", false, |r| r.spec.health.liveness = numbers(|p| p.successes = 0)),
        ("a probe every 100 ms", true, |r| r.spec.health.liveness = numbers(|p| p.every = "100ms".parse().unwrap())),
        ("a probe every 99 ms", false, |r| r.spec.health.liveness = numbers(|p| p.every = "99ms".parse().unwrap())),
        ("a probe without time", false, |r| r.spec.health.liveness = numbers(|p| p.timeout = "0s".parse().unwrap())),
        ("a path of 2048", true, |r| r.spec.health.readiness = http(format!("/{}", just("x", 2047)), "http")),
        ("a path of 2049", false, |r| r.spec.health.readiness = http(format!("/{}", just("x", 2048)), "http")),
        ("a path without a slash", false, |r| r.spec.health.readiness = http("ready".into(), "http")),
        ("a path with a space", false, |r| r.spec.health.readiness = http("/a b".into(), "http")),
        ("a path of an unknown port", false, |r| r.spec.health.readiness = http("/".into(), "x")),
        ("256 words", true, |r| r.spec.health.startup = exec(vec!["x".into(); 256])),
        ("257 words", false, |r| r.spec.health.startup = exec(vec!["x".into(); 257])),
        ("a command with a zero", false, |r| r.spec.health.startup = exec(vec!["a\0".into()])),
        ("a volume with a dash and a digit", true, |r| drop(r.spec.volumes.insert("a-1".into(), volume("/a")))),
        ("a volume in capitals", false, |r| drop(r.spec.volumes.insert("A".into(), volume("/a")))),
        ("a volume without a name", false, |r| drop(r.spec.volumes.insert(String::new(), volume("/a")))),
        ("65 volumes", false, |r| r.spec.volumes = (0..65).map(|n| (format!("v{n}"), volume(&format!("/v{n}")))).collect()),
        ("a host path that climbs", false, |r| drop(r.spec.volumes.insert("a".into(), Volume { host_path: Some("/a/..".into()), ..volume("/a") }))),
        ("a file anybody may change", true, |r| drop(r.spec.files.insert("/a".into(), File { content: "QQ==".into(), mode: 0o777 }))),
        ("a file with a sticky bit", false, |r| drop(r.spec.files.insert("/a".into(), File { content: "QQ==".into(), mode: 0o1000 }))),
        ("a file of one digit too few", false, |r| drop(r.spec.files.insert("/a".into(), File { content: "QQ=".into(), mode: 0o644 }))),
        ("a file of nothing but padding", false, |r| drop(r.spec.files.insert("/a".into(), File { content: "====".into(), mode: 0o644 }))),
        ("a file with every odd digit", true, |r| drop(r.spec.files.insert("/a".into(), File { content: "+/9a".into(), mode: 0o644 }))),
        ("65 scratch folders", false, |r| r.spec.security.tmpfs = (0..65).map(|n| format!("/t{n}")).collect()),
    ];
    for (case, sound, change) in table {
        let mut release = release();
        change(&mut release);
        assert_eq!(code(check_release(&release)), (!sound).then_some(RefusalCode::Malformed), "{case}");
    }
}

#[test]
fn plans_are_bounded_where_it_is_said() {
    let gpus = |count: usize| (0..count).map(|n| format!("GPU-{n}")).collect::<Vec<_>>();
    let with = |gpus: Vec<String>| HostPlan { slots: vec![PlanSlot { gpus, ..slot(0) }], ..plan() };
    let slots = |count: u32| HostPlan { slots: (0..count).map(slot).collect(), ..plan() };
    let same = HostPlan { expires_at: plan().issued_at, ..plan() };
    #[rustfmt::skip]
    let table = [
        ("64 devices", true, with(gpus(64))), ("65 devices", false, with(gpus(65))),
        ("a device of 100", true, with(vec![just("x", 100)])), ("a device of 101", false, with(vec![just("x", 101)])),
        ("1024 slots", true, slots(1024)), ("1025 slots", false, slots(1025)),
        ("expires when it is issued", false, same),
    ];
    for (case, sound, plan) in table {
        assert_eq!(code(check_plan(&plan)), (!sound).then_some(RefusalCode::Malformed), "{case}");
    }
}

#[test]
fn what_is_asked_is_bounded_where_it_is_said() {
    use serde_json::{Value, json};

    let request = |path: &str| json!({"path": path, "port": "http", "method": "GET"});
    let smoke = |change: &dyn Fn(&mut Value)| {
        let mut smoke =
            json!({"request": request("/"), "expect": {}, "timeout": "5s", "tries": 1, "every": "0s"});
        change(&mut smoke);
        json!({"smoke": [smoke]})
    };
    let warm_up = |times: u32, timeout: &str| json!({"warm_up": [{"request": request("/"), "times": times, "timeout": timeout}]});
    let check = |ask: Value| json!({"checks": [{"name": "it", "ask": ask, "timeout": "1s"}]});
    let headers = |count: usize| -> Value {
        (0..count).map(|n| (format!("x-{n}"), json!("v"))).collect::<serde_json::Map<_, _>>().into()
    };
    let pointers = |count: usize| -> Value {
        (0..count).map(|n| (format!("/{n}"), json!(1))).collect::<serde_json::Map<_, _>>().into()
    };
    let many = |key: &str, count: usize| json!({key: vec![smoke(&|_| {})["smoke"][0].clone(); count]});
    #[rustfmt::skip]
    let table = [
        ("16 tests", true, many("smoke", 16)), ("17 tests", false, many("smoke", 17)),
        ("a path without /", false, smoke(&|s| s["request"] = request("x"))),
        ("a path of two lines", false, smoke(&|s| s["request"] = request("/\r\nx: y"))),
        ("a port that is not there", false, smoke(&|s| s["request"]["port"] = "other".into())),
        ("a method in lower case", false, smoke(&|s| s["request"]["method"] = "get".into())),
        ("a tunnel", false, smoke(&|s| s["request"]["method"] = "CONNECT".into())),
        ("32 headers", true, smoke(&|s| s["request"]["headers"] = headers(32))), ("33 headers", false, smoke(&|s| s["request"]["headers"] = headers(33))),
        ("a header that frames", false, smoke(&|s| s["expect"]["headers"] = json!({"Transfer-Encoding": "chunked"}))),
        ("a body of 64 KiB", true, smoke(&|s| s["request"]["body"] = just("x", 65_536).into())), ("one byte more", false, smoke(&|s| s["request"]["body"] = just("x", 65_537).into())),
        ("32 values", true, smoke(&|s| s["expect"]["json"] = pointers(32))), ("33 values", false, smoke(&|s| s["expect"]["json"] = pointers(33))),
        ("a value that is a list", false, smoke(&|s| s["expect"]["json"] = json!({"/a": [1]}))),
        ("no pointer", false, smoke(&|s| s["expect"]["json"] = json!({"a": 1}))),
        ("a status of 599", true, smoke(&|s| s["expect"]["status"] = json!([599]))), ("a status of 600", false, smoke(&|s| s["expect"]["status"] = json!([600]))),
        ("100 tries", true, smoke(&|s| s["tries"] = 100.into())), ("101 tries", false, smoke(&|s| s["tries"] = 101.into())), ("no try", false, smoke(&|s| s["tries"] = 0.into())),
        ("no time", false, smoke(&|s| s["timeout"] = "0s".into())), ("a pause of 61 s", false, smoke(&|s| s["every"] = "61s".into())),
        ("after a day", true, smoke(&|s| s["after"] = "24h".into())), ("after more", false, smoke(&|s| s["after"] = "24h1s".into())),
        ("10000 times", true, warm_up(10_000, "5m")), ("once more", false, warm_up(10_001, "5m")), ("for longer", false, warm_up(1, "5m1s")),
        ("an address", true, check(json!({"tcp": {"address": "[::1]:1"}}))), ("no port", false, check(json!({"redis": {"address": "cache"}}))),
        ("a URL", true, check(json!({"http": {"url": "http://a/b"}}))), ("a file", false, check(json!({"http": {"url": "file:///etc/passwd"}}))),
    ];
    for (case, sound, asks) in table {
        let mut release = release();
        let mut spec = serde_json::to_value(&release.spec).unwrap();
        for (key, value) in asks.as_object().unwrap() {
            spec[key] = value.clone();
        }
        release.spec = serde_json::from_value(spec).unwrap();
        release.version = 3;
        assert_eq!(code(check_release(&release)), (!sound).then_some(RefusalCode::Malformed), "{case}");
        release.version = 2;
        assert_eq!(
            code(check_release(&release)),
            Some(RefusalCode::Malformed),
            "{case}: version 2 has none of it"
        );
    }
}
