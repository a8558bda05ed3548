use super::*;

/// Everything that is said about a manifest whose third line begins with `rest`.
fn errors(rest: &str) -> String {
    errors_of(&format!("service: web\nimage: nginx:1\n{rest}"))
}

fn errors_of(text: &str) -> String {
    match try_load(text) {
        Ok(_) => "fine".to_owned(),
        Err(errors) => errors.to_string(),
    }
}

#[track_caller]
fn assert_all(table: &[(&str, &str, &str)]) {
    for (name, rest, want) in table {
        assert_eq!(errors(rest), *want, "{name}");
    }
}

#[test]
fn yaml_that_is_none_is_refused_with_its_position() {
    #[rustfmt::skip]
    let table = [
        ("a key twice", "service: a\nimage: b\nimage: c\n", "web.yaml:3:1: the key `image` stands here a second time\n  hint: keep one of the two"),
        ("bad indentation", "service: web\n  image: b\n", "web.yaml:2:8: not valid YAML: mapping values are not allowed in this context\n  hint: look at the indentation: keys of one map begin in the same column, and what belongs to a key stands two spaces further in; text with `: ` in it needs quotes"),
        ("an open bracket", "service: web\nimage: [a\n", "web.yaml:2:8: not valid YAML: unclosed bracket '['"),
        ("a tab", "service: web\n\timage: b\n", "web.yaml:1:10: not valid YAML: while scanning a plain scalar, found a tab\n  hint: indent with spaces"),
        ("nothing", "", "web.yaml:1:1: there is no manifest in it\n  hint: begin with `service:` and `image:`"),
        ("only a comment", "# hello\n", "web.yaml:1:1: there is no manifest in it\n  hint: begin with `service:` and `image:`"),
        ("a list", "- a\n", "web.yaml:1:1: expected a map that begins with `service:`, found a list"),
        ("an unknown alias", "service: *a\n", "web.yaml:1:10: not valid YAML: alias references unknown anchor"),
    ];
    for (name, text, want) in table {
        assert_eq!(errors_of(text), want, "{name}");
    }
}

#[test]
fn unknown_keys_come_with_a_suggestion() {
    #[rustfmt::skip]
    assert_all(&[
        ("a letter less", "replica: 2", "web.yaml:3:1: `replica`: unknown key\n  hint: did you mean `replicas`?"),
        ("deeper", "health:\n  readiness: { http: /x, evry: 1s }\nports: { http: 1 }", "web.yaml:4:26: `health.readiness.evry`: unknown key\n  hint: did you mean `every`?"),
        ("nothing near", "placement: { zone: a }", "web.yaml:3:14: `placement.zone`: unknown key\n  hint: known keys here: hosts, require, spread"),
        ("a key with a dot is quoted", "ports: { a.b: { contaner: 1 } }", "web.yaml:3:17: `ports.\"a.b\".contaner`: unknown key\n  hint: did you mean `container`?"),
        ("a key that is not built yet", "secret: [A]", "web.yaml:3:1: `secret`: unknown key\n  hint: `secrets` is not supported yet: sealed secrets come later; now a folder of the host works: `volumes: { secrets: { mount: /run/app-secrets, host_path: …, read_only: true } }`"),
    ]);
}

#[test]
fn values_of_the_wrong_kind_say_what_was_expected() {
    #[rustfmt::skip]
    assert_all(&[
        ("a word for a map", "strategy: rolling", "web.yaml:3:11: `strategy`: expected a map, found text\n  hint: write `rolling: {}` below it"),
        ("no unit", "soak: 10", "web.yaml:3:7: `soak`: `10` is not a duration (like `10s`, `5m`, `1h30m` or `24h`)\n  hint: with a unit: `10s`"),
        ("no unit of a size", "resources: { memory: 512 }", "web.yaml:3:22: `resources.memory`: `512` is not a size (like `512MiB` or `6GiB`)\n  hint: with a unit: `512MiB`"),
        ("text for a number", "replicas: many", "web.yaml:3:11: `replicas`: expected a number or a map, found text\n  hint: write `replicas: 3`"),
        ("a number in a command", "command: [sleep, 5]", "web.yaml:3:18: `command.1`: expected text, found a number\n  hint: put quotes around it: \"5\""),
        ("text for a list", "command: sleep", "web.yaml:3:10: `command`: expected a list, found text\n  hint: write `[sleep]`"),
        ("yes is no boolean", "per_host: yes", "web.yaml:3:11: `per_host`: expected true or false, found text\n  hint: write `per_host: true`"),
        ("no value", "env:\n  A:\n", "web.yaml:4:4: `env.A`: has no value; expected text\n  hint: leave the key away, or give it a value (empty text is \"\")"),
        ("a map for text", "env: { A: { b: c } }", "web.yaml:3:11: `env.A`: expected text, found a map"),
        ("a word that is not known", "on_failure: pouse", "web.yaml:3:13: `on_failure`: `pouse` is not one of `rollback_all`, `rollback_failed`, `pause`\n  hint: did you mean `pause`?"),
        ("over the range", "ports: { http: 70000 }", "web.yaml:3:16: `ports.http`: `70000` is out of range, expected from 1 to 65535"),
        ("half a replica", "replicas: 1.5", "web.yaml:3:11: `replicas`: `1.5` is not a whole number"),
        ("a share above all", "strategy: { rolling: { batch: 120% } }", "web.yaml:3:31: `strategy.rolling.batch`: `120%` is not a number or percentage (like `3` or `25%`, at most `100%`)"),
        ("too fine a share of a core", "resources: { cpu: 0.1234 }", "web.yaml:3:19: `resources.cpu`: `0.1234` is not a number of cores (like `0.5` or `2`, at most three decimals)"),
        ("a decimal mode", "files: { /x: { content: a, mode: 0988 } }", "web.yaml:3:34: `files./x.mode`: `0988` is not a file mode (octal permission bits, like `0644`)"),
        ("a set-user-id file", "files: { /x: { content: a, mode: 4755 } }", "web.yaml:3:34: `files./x.mode`: `4755` is not a file mode (octal permission bits, like `0644`)"),
    ]);
}

#[test]
fn keys_that_are_not_built_yet_are_refused_as_such() {
    let keys = [
        "job: x",
        "secrets: [A]",
        "secrets: [{ name: A, as: env }]",
        "notify: [a]",
        "irreversible: true",
        "secrets: {}",
        "job: {}",
        "health: { liveness: { grpc: http } }",
    ];
    for key in keys {
        let said = errors(key);
        assert!(said.contains(": not supported yet\n  hint: "), "{key}: {said}");
        assert_eq!(said.lines().count(), 2, "nothing else is said about `{key}`: {said}");
    }
    for nothing in
        ["exclusive: false", "uses: []", "gates: {}", "hooks: { before: [], after: [] }", "notify: []"]
    {
        assert_eq!(errors(nothing), "fine", "{nothing}");
    }
    assert_eq!(
        errors_of("job: migrate\nimage: a\n"),
        "web.yaml:1:1: `job`: not supported yet\n  hint: jobs come later; a `service` works now"
    );
}

#[test]
fn a_missing_key_is_asked_for() {
    let said = errors_of("service: web\n");
    assert!(
        said.starts_with(
            "web.yaml:1:1: `image` is missing\n  hint: add `image: registry.example.com/team/web:1.5.2`"
        ),
        "{said}"
    );
    let said = errors("volumes: { data: { read_only: true } }");
    assert!(said.starts_with("web.yaml:3:18: `volumes.data`: `mount` is missing"), "{said}");
}

#[test]
fn scale_and_ports_are_checked() {
    #[rustfmt::skip]
    assert_all(&[
        ("none", "replicas: 0", "web.yaml:3:11: `replicas`: must be at least 1\n  hint: `windlass stop SERVICE` stops every instance and keeps volumes, ports and images"),
        ("too many", "replicas: 1001", "web.yaml:3:11: `replicas`: must be at most 1000"),
        ("an empty range", "replicas: { min: 3, max: 2 }", "web.yaml:3:18: `replicas.min`: is 3, more than `max`, which is 2"),
        ("two ways at once", "replicas: 2\nper_host: true", "web.yaml:3:11: `replicas`: cannot stand beside `per_host: true`\n  hint: take one of the two away (in an overlay: `replicas: null`)"),
        ("a bad port name", "ports: { HTTP: 1 }", "web.yaml:3:16: `ports.HTTP`: is not a port name\n  hint: lowercase letters, digits and `-`, like `http`"),
        ("port zero", "ports: { a: { container: 0 } }", "web.yaml:3:26: `ports.a.container`: `0` is out of range, expected from 1 to 65535"),
        ("a port twice", "ports: { a: 80, b: 80 }", "web.yaml:3:20: `ports.b`: has the same container port 80 as `a`"),
        ("a host port twice", "ports: { a: { container: 80, host: 80 }, b: { container: 81, host: 80 } }", "web.yaml:3:45: `ports.b`: has the same host port 80 as `a`"),
        ("a host that is none", "placement: { hosts: [Web] }", "web.yaml:3:22: `placement.hosts.0`: `Web` is not a name\n  hint: lowercase letters, digits and `-`, 1 to 63 characters"),
        ("a label with `=`", "placement: { require: { a=b: c } }", "web.yaml:3:30: `placement.require.\"a=b\"`: is not a label (key and value have 1 to 128 characters, and no `=` in the key)"),
    ]);
}

#[test]
fn what_runs_is_checked() {
    #[rustfmt::skip]
    assert_all(&[
        ("an empty command", "command: []", "web.yaml:3:10: `command`: names no program\n  hint: leave `command` away to run the image's own"),
        ("a variable with a blank", "env: { A B: x }", "web.yaml:3:13: `env.\"A B\"`: is not the name of a variable\n  hint: letters, digits, `_`, `.` and `-`, a letter or `_` first, at most 128"),
        ("a NUL", "env: { A: \"\\0\" }", "web.yaml:3:11: `env.A`: has a NUL character, or more than 32768 bytes\n  hint: large values belong into `files`"),
        ("too little memory", "resources: { memory: 5MiB }", "web.yaml:3:22: `resources.memory`: is 5MiB, less than the 6MiB an engine needs"),
        ("no CPU", "resources: { cpu: 0 }", "web.yaml:3:19: `resources.cpu`: must be more than 0 and at most 1024 cores"),
        ("too much CPU", "resources: { cpu: 1025 }", "web.yaml:3:19: `resources.cpu`: must be more than 0 and at most 1024 cores"),
        ("no process", "resources: { pids: 0 }", "web.yaml:3:20: `resources.pids`: must be from 1 to 4194304"),
        ("memory of no GPU", "resources: { gpus: { count: 0, memory: 1GiB } }", "web.yaml:3:40: `resources.gpus.memory`: asks for memory of no GPU\n  hint: `count: 1`"),
        ("a bad user", "security: { user: \"a b\" }", "web.yaml:3:19: `security.user`: is not a user\n  hint: `uid`, `uid:gid` (in quotes), or names known in the image"),
        ("three parts of a user", "security: { user: \"1:2:3\" }", "web.yaml:3:19: `security.user`: is not a user\n  hint: `uid`, `uid:gid` (in quotes), or names known in the image"),
        ("all capabilities", "security: { capabilities: [ALL] }", "web.yaml:3:28: `security.capabilities.0`: `ALL` is too much to ask\n  hint: name each capability the process needs"),
        ("a capability misspelled", "security: { capabilities: [NET_BIND_SERVIC] }", "web.yaml:3:28: `security.capabilities.0`: `NET_BIND_SERVIC` is not a capability\n  hint: did you mean `NET_BIND_SERVICE`?"),
    ]);
    assert_eq!(
        errors_of("service: web\nimage: Nginx:1\n"),
        "web.yaml:2:8: `image`: `Nginx:1` is not an image reference: the path has lowercase letters, digits, `.`, `_`, `-` and `/`\
         \n  hint: like `registry.example.com/team/web:1.5.2`"
    );
    assert!(
        errors_of("service: Web_1\nimage: a:1\n")
            .starts_with("web.yaml:1:10: `service`: `Web_1` is not a name\n")
    );
    assert!(
        errors("environment: Prod\n").starts_with("web.yaml:3:14: `environment`: `Prod` is not a name\n")
    );
}

#[test]
fn paths_are_checked() {
    #[rustfmt::skip]
    assert_all(&[
        ("relative", "workdir: app", "web.yaml:3:10: `workdir`: `app` is not an absolute path\n  hint: did you mean `/app`?"),
        ("upwards", "files: { /a/../b: { content: x } }", "web.yaml:3:19: `files.\"/a/../b\"`: `/a/../b` is not normalised (no `..`, `.`, `//`, nor `/` at the end)"),
        ("the root", "volumes: { a: { mount: / } }", "web.yaml:3:24: `volumes.a.mount`: `/` is the image's own\n  hint: name a folder below it"),
        ("the kernel's", "security: { tmpfs: [/proc/x] }", "web.yaml:3:21: `security.tmpfs.0`: `/proc/x` belongs to the kernel"),
        ("options", "security: { tmpfs: [\"/tmp:size=1m\"] }", "web.yaml:3:21: `security.tmpfs.0`: `/tmp:size=1m` is too long, or has a control character, `:` or `,`\n  hint: options after `:` are not taken"),
        ("twice", "volumes: { a: { mount: /x } }\nsecurity: { tmpfs: [/x] }", "web.yaml:4:21: `security.tmpfs.0`: `/x` is taken by `volumes.a.mount`"),
        ("a volume's name", "volumes: { A_b: { mount: /x } }", "web.yaml:3:17: `volumes.A_b`: is not a volume name\n  hint: lowercase letters, digits and `-`, 1 to 63 characters"),
        ("a folder of the host", "volumes: { a: { mount: /x, host_path: ./x } }", "web.yaml:3:39: `volumes.a.host_path`: `./x` is not an absolute path"),
        ("no content", "files: { /x: { mode: 0600 } }", "web.yaml:3:14: `files./x`: says nothing about its content\n  hint: `{ from: config.json }` or `{ content: … }`"),
        ("two contents", "files: { /x: { from: a, content: b } }", "web.yaml:3:14: `files./x`: has both `from` and `content`\n  hint: take one of them away"),
    ]);
}

#[test]
fn probes_are_checked() {
    let with = |probe: &str| errors(&format!("ports: {{ http: 80 }}\nhealth:\n  readiness: {probe}"));
    #[rustfmt::skip]
    let table = [
        ("{ every: 1s }", "web.yaml:5:14: `health.readiness`: asks nothing\n  hint: one of `http: /path`, `tcp: port-name`, `exec: [program]`"),
        ("{ http: /x, tcp: http }", "web.yaml:5:14: `health.readiness`: asks http and tcp at once\n  hint: keep one (in an overlay, set the other to `null`)"),
        ("{ http: health }", "web.yaml:5:22: `health.readiness.http`: is not the path of a request\n  hint: did you mean `/health`?"),
        ("{ http: /x, port: htp }", "web.yaml:5:32: `health.readiness.port`: there is no port `htp`\n  hint: did you mean `http`?"),
        ("{ tcp: metrics }", "web.yaml:5:21: `health.readiness.tcp`: there is no port `metrics`\n  hint: known ports: http"),
        ("{ tcp: http, port: http }", "web.yaml:5:33: `health.readiness.port`: goes with `http` only\n  hint: `tcp` names its port itself: `tcp: http`"),
        ("{ exec: [] }", "web.yaml:5:22: `health.readiness.exec`: names no program\n  hint: a list, like `[\"pg_isready\"]`"),
        ("{ http: /x, timeout: 0s }", "web.yaml:5:35: `health.readiness.timeout`: must be at least 100ms"),
        ("{ http: /x, failures: 0 }", "web.yaml:5:36: `health.readiness.failures`: must be from 1 to 1000"),
    ];
    for (probe, want) in table {
        assert_eq!(with(probe), want, "{probe}");
    }
    assert_eq!(
        errors("health: { liveness: { http: /x } }"),
        "web.yaml:3:21: `health.liveness`: asks a port, and the service has none\n  hint: `ports: { http: 3001 }`"
    );
    assert_eq!(
        with("{ http: /x, every: 1s, timeout: 5s }"),
        "fine",
        "a timeout may be longer than the interval"
    );
}

#[test]
fn strategies_are_checked() {
    #[rustfmt::skip]
    assert_all(&[
        ("two at once", "strategy: { rolling: {}, recreate: {} }", "web.yaml:3:11: `strategy`: names `rolling` and `recreate` at once\n  hint: keep one (in an overlay, set the other to `null`)"),
        ("no way forward", "strategy: { rolling: { max_surge: 0, max_unavailable: 0% } }", "web.yaml:3:22: `strategy.rolling`: `max_surge` and `max_unavailable` are both 0, so nothing could ever be replaced\n  hint: `max_unavailable: 1` replaces in place, one at a time"),
        ("an empty batch", "strategy: { rolling: { batch: 0 } }", "web.yaml:3:31: `strategy.rolling.batch`: must be at least 1"),
        ("start first on a fixed port", "ports: { a: { container: 1, host: 1 } }\nstrategy: { rolling: { order: start_first } }", "web.yaml:4:31: `strategy.rolling.order`: `start_first` cannot be: port `a` has a fixed port of the host, which one container holds\n  hint: `order: auto`, or leave the host port to the agent"),
        ("ready too late", "strategy: { recreate: { min_ready: 20m } }", "web.yaml:3:36: `strategy.recreate.min_ready`: is 20m, not shorter than `progress_deadline`, so no instance could ever count"),
        ("no patience", "progress_deadline: 1s\nstrategy: { recreate: { min_ready: 0s } }", "web.yaml:3:20: `progress_deadline`: must be at least 10s"),
        ("no time to stop", "stop_timeout: 0s", "web.yaml:3:15: `stop_timeout`: must be from 1s to 1h"),
        ("no exit is enough", "rollback_on: { restarts: 0 }", "web.yaml:3:26: `rollback_on.restarts`: must be at least 1\n  hint: 1 rolls back at the first exit"),
        ("no time at all", "rollback_on: { unhealthy_for: 0s }", "web.yaml:3:31: `rollback_on.unhealthy_for`: must be at least 1s"),
    ]);
}

#[test]
fn everything_wrong_is_reported_at_once() {
    insta::assert_snapshot!(errors("replica: 2\nsoak: soon\nnotify: [db]\nports: { http: eighty }\n"), @r"
    web.yaml:3:1: `replica`: unknown key
      hint: did you mean `replicas`?
    web.yaml:4:7: `soak`: `soon` is not a duration (like `10s`, `5m`, `1h30m` or `24h`)
    web.yaml:5:1: `notify`: not supported yet
      hint: the exit code and the last JSON line of `windlass deploy` say the outcome
    web.yaml:6:16: `ports.http`: expected a number or a map, found text
      hint: write `http: 80`
    ");
    insta::assert_snapshot!(errors_of("service: a\nimage: UP\nreplicas: 0\n---\nservice: b\nimage: x:1\nsoak: 1\n"), @r"
    web.yaml:2:8: `image`: `UP` is not an image reference: the path has lowercase letters, digits, `.`, `_`, `-` and `/`
      hint: like `registry.example.com/team/web:1.5.2`
    web.yaml:3:11: `replicas`: must be at least 1
      hint: `windlass stop SERVICE` stops every instance and keeps volumes, ports and images
    web.yaml:7:7: `soak`: `1` is not a duration (like `10s`, `5m`, `1h30m` or `24h`)
      hint: with a unit: `1s`
    ");
}

#[test]
fn a_file_may_be_for_its_owner_alone() {
    for user in ["app", "app:app", "1000", "\"1000:1000\"", "root"] {
        let text = format!(
            "service: a\nimage: nginx:1\nsecurity: {{ user: {user} }}\nfiles: {{ /x: {{ content: a, mode: 0600 }} }}\n"
        );
        assert!(load_one(&text).warnings.is_empty(), "{user}");
        // An agent of the version before refuses a name, and gets none of it.
        let version = if user.starts_with("app") { 7 } else { 1 };
        assert_eq!(spec_of(&text).version(), version, "{user}");
        assert_eq!(spec_of(&text.replace("0600", "0644")).version(), 1, "{user}");
    }
}

#[test]
fn surprises_are_warnings() {
    let warnings = |rest: &str| -> Vec<String> {
        let text = format!("service: web\nimage: nginx:1\n{rest}");
        load_one(&text).warnings.iter().map(|w| format!("{}: {}", w.path, w.reason)).collect()
    };
    assert!(warnings("").is_empty());
    assert_eq!(
        warnings("ports: { a: { container: 1, host: 1 } }"),
        ["ports.a: has a fixed port of the host, so the old instance stops before the new one starts"]
    );
    assert_eq!(
        warnings("health: { startup: { exec: [a], every: 10s, failures: 100 } }"),
        [
            "progress_deadline: is shorter than the 16m40s a start may take (`health.startup`: failures × every)"
        ]
    );
    assert!(load_one("service: a\nimage: nginx\n").warnings.is_empty(), "it is said where it is pinned");
    assert!(warnings("files: { /x: { content: a, mode: \"0600\" } }").is_empty());
}

#[test]
fn input_is_bounded() {
    let large = format!("service: web\nimage: a:1\nenv: {{ A: {} }}\n", "x".repeat(MAX_INPUT));
    assert!(errors_of(&large).contains("more than the 262144 allowed"));
    let deep = format!("service: {}1{}", "[".repeat(60), "]".repeat(60));
    assert!(errors_of(&deep).contains("nested more than 32 levels deep"), "{}", errors_of(&deep));
    let many = format!("service: web\nargs: [{}]\n", "a, ".repeat(21_000));
    assert!(errors_of(&many).contains("more than 20000 values"), "{}", errors_of(&many));
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let below = level - 1;
        let aliases = format!("*a{below}, ").repeat(9);
        bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    assert!(
        errors_of(&bomb).contains("the file has more than 2"),
        "an alias bomb is refused: {}",
        errors_of(&bomb)
    );
}

#[test]
fn a_release_that_is_too_large_is_refused_where_the_files_stand() {
    let text = "service: web\nimage: nginx:1\nfiles:\n  /a: { from: big }\n  /b: { from: gone }\n";
    let read = |path: &str| match path {
        "big" => Ok(vec![7; 200 * 1024]),
        other => Err(format!("no file `{other}`")),
    };
    let said = load_one(text).into_spec(image(), read).unwrap_err().to_string();
    assert!(said.contains("web.yaml:5:15: `files./b.from`: no file `gone`"), "{said}");
    assert!(said.contains("web.yaml:4:3: `files`: make a release of"), "{said}");
}

#[test]
fn what_never_runs_twice_says_when_an_isolated_host_stops_it() {
    #[rustfmt::skip]
    let table = [
        ("alone",               "exclusive: true", "fine"),
        ("with a lease",        "exclusive: true\non_lost: { replace_after: 2m, stop_isolated_after: 1m }", "fine"),
        ("two of it",           "exclusive: true\nreplicas: 2", "is for a service with one instance"),
        ("a range",             "exclusive: true\nreplicas: { min: 1, max: 2 }", "is for a service with one instance"),
        ("one per host",        "exclusive: true\nper_host: true", "is for a service with one instance"),
        ("replaced unseen",     "exclusive: true\non_lost: { replace_after: 2m }", "a lost host goes on with its instance"),
        ("the old one stays",   "exclusive: true\non_lost: { on_return: keep_old }", "the replacement would have to stop first"),
        ("beside each other",   "exclusive: true\nstrategy: { rolling: { order: start_first } }", "both would run for a while"),
    ];
    for (case, keys, want) in table {
        let said = errors(keys);
        assert!(said.contains(want), "{case}: {said}");
        assert!(want == "fine" || said.contains("hint: "), "{case}: {said}");
    }
}
