//! Options of a container.

use super::*;
use crate::release::{ContainerOptions, Ulimit};

fn said(rest: &str) -> String {
    match try_load(&format!("service: web\nimage: nginx:1\n{rest}")) {
        Ok(mut all) => all.remove(0).warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        Err(errors) => errors.to_string(),
    }
}

#[test]
fn options_of_compose_are_signed() {
    let spec = spec_of(
        "service: web\nimage: nginx:1\ninit: false\nulimits: { nofile: 65536, memlock: -1, core: { soft: 0, hard: 1 } }\n\
         shm_size: 256MiB\nstop_signal: SIGQUIT\nlabels: { traefik.enable: true, n: 1 }\n",
    );
    let options = &spec.container;
    assert_eq!((options.init, options.stop_signal.as_deref()), (false, Some("SIGQUIT")));
    assert_eq!(options.shm_size.map(|size| size.bytes()), Some(256 << 20));
    let limit = |soft, hard| Ulimit { soft, hard };
    let limits: Vec<_> = options.ulimits.iter().map(|(name, limit)| (name.as_str(), *limit)).collect();
    assert_eq!(limits, [("core", limit(0, 1)), ("memlock", limit(-1, -1)), ("nofile", limit(65536, 65536))]);
    assert_eq!((options.labels["traefik.enable"].as_str(), options.labels["n"].as_str()), ("true", "1"));
    assert_eq!(spec.version(), 5);
    let json = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<Spec>(&json).unwrap(), spec);
}

#[test]
fn a_release_without_options_has_the_bytes_it_had() {
    for text in ["", "init: true\n", "ulimits: {}\nlabels: {}\n"] {
        let spec = spec_of(&format!("service: web\nimage: nginx:1\n{text}"));
        assert_eq!((spec.version(), &spec.container), (1, &ContainerOptions::default()), "{text}");
        let json = serde_json::to_value(&spec).unwrap();
        assert!(json.get("container").is_none(), "{text}: {json}");
    }
}

#[test]
fn options_that_no_container_may_have_are_refused() {
    #[rustfmt::skip]
    let table = [
        ("ulimits: { nofiles: 1 }", "web.yaml:3:21: `ulimits.nofiles`: is no limit that a container may have\n  hint: did you mean `nofile`?"),
        ("ulimits: { rtprio: 1 }", "hint: priorities are the host's"),
        ("ulimits: { nofile: { soft: 2, hard: 1 } }", "is no limit: soft is at most hard"),
        ("ulimits: { nofile: many }", "expected a number or a map, found text"),
        ("shm_size: 0B", "`shm_size`: must be more than 0"),
        ("shm_size: 1GiB", "is more than `resources.memory` (512MiB), which it counts towards"),
        ("shm_size: 256m", "hint: `256MiB`"),
        ("stop_signal: QUIT", "web.yaml:3:14: `stop_signal`: is no signal\n  hint: did you mean `SIGQUIT`?"),
        ("stop_signal: SIGFOO", "`stop_signal`: is no signal\n  hint: like `SIGQUIT`"),
        ("stop_signal: SIGTREM", "hint: did you mean `SIGTERM`?"),
        ("stop_signal: term", "hint: did you mean `SIGTERM`?"),
        ("labels: { windlass.host: x }", "is a label of Windlass itself\n  hint: choose a key that does not begin with `windlass.`"),
        ("labels: { \"a=b\": x }", "is no label of a container"),
        ("init: no", "expected true or false, found text"),
        ("sysctls: { a: 1 }", "`sysctls`: unknown key\n  hint: settings of the kernel are the host's"),
        ("devices: [/dev/kvm]", "hint: GPUs are asked for by `resources: { gpus: 1 }`"),
        ("extra_hosts: [\"a:1\"]", "hint: names are resolved by the host's DNS"),
        ("dns: [1.1.1.1]", "hint: names are resolved by the host's DNS"),
        ("group_add: [a]", "names user and group; further groups are not given"),
        ("ipc: host", "shares neither processes nor memory"),
        ("pid: host", "shares neither processes nor memory"),
    ];
    for (rest, want) in table {
        let text = said(rest);
        assert!(text.contains(want), "{rest}: {text}");
    }
}

#[test]
fn an_agent_bounds_options_where_it_reads_them() {
    use crate::fixture::release;
    use crate::verify::check_release;
    let with = |edit: fn(&mut ContainerOptions)| {
        let mut release = release(1, |_| {});
        edit(&mut release.spec.container);
        release.version = release.spec.version();
        check_release(&release).map_err(|refusal| refusal.to_string())
    };
    assert_eq!(with(|_| {}), Ok(()));
    assert_eq!(with(|o| (o.init, o.stop_signal) = (false, Some("SIGINT".to_owned()))), Ok(()));
    type Edit = fn(&mut ContainerOptions);
    let table: [(&str, Edit); 5] = [
        ("ulimits.rtprio", |o| o.ulimits.extend([("rtprio".to_owned(), Ulimit { soft: 1, hard: 1 })])),
        ("ulimits.nofile", |o| o.ulimits.extend([("nofile".to_owned(), Ulimit { soft: 2, hard: 1 })])),
        ("shm_size", |o| o.shm_size = Some(crate::Size::from_bytes(u64::MAX))),
        ("stop_signal", |o| o.stop_signal = Some("kill -9".to_owned())),
        ("labels", |o| o.labels.extend([("windlass.host".to_owned(), "x".to_owned())])),
    ];
    for (what, edit) in table {
        let error = with(edit).unwrap_err();
        assert!(error.contains(&format!("container.{what}")), "{what}: {error}");
    }
    let mut old = release(1, |_| {});
    old.spec.container.init = false;
    old.version = 4;
    assert!(check_release(&old).is_err(), "an agent of the version before would not read it");
}
