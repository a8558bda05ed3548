use super::*;

const BASE: &str = "service: web\nimage: nginx:1\nreplicas: 2\nenv: { A: base, B: base, C: base }\n\
                    command: [a, b]\nstrategy: { rolling: { batch: 1 } }\n";
const OVERLAY: &str = "replicas: 5\nenv:\n  B: overlay\n  C: null\n  D: overlay\ncommand: [c]\n";

fn layered(settings: &[&str]) -> Result<Vec<Rendered>, Errors> {
    load(&with(BASE, OVERLAY, settings), &Environment::Given("production".parse().unwrap()))
}

fn with(base: &str, overlay: &str, settings: &[&str]) -> Sources {
    let mut sources = sources(base);
    let source = Source { name: "environments/production.yaml".into(), text: overlay.into() };
    sources.overlays.insert("production".parse().unwrap(), source);
    sources.settings = settings.iter().map(|text| text.parse().unwrap()).collect();
    sources
}

fn leaf(rendered: &Rendered, path: &str) -> Option<(String, String)> {
    let leaf = rendered.leaves().into_iter().find(|leaf| leaf.path == path)?;
    Some((leaf.value.to_string(), leaf.origin.to_string()))
}

#[test]
fn maps_merge_lists_replace_null_takes_away_and_origins_stay() {
    let all = layered(&["env.A=set", "strategy.rolling.max_surge=3"]).unwrap();
    #[rustfmt::skip]
    let table = [
        ("service", r#""web""#, "web.yaml:1:10"),
        ("environment", r#""production""#, "-e production"),
        ("replicas", "5", "environments/production.yaml:1:11"),
        ("env.A", r#""set""#, "--set env.A=set"),
        ("env.B", r#""overlay""#, "environments/production.yaml:3:6"),
        ("env.D", r#""overlay""#, "environments/production.yaml:5:6"),
        ("command", r#"["c"]"#, "environments/production.yaml:6:10"),
        ("strategy.rolling.batch", "1", "web.yaml:6:31"),
        ("strategy.rolling.max_surge", "3", "--set strategy.rolling.max_surge=3"),
        ("strategy.rolling.min_ready", r#""10s""#, "default"),
    ];
    for (path, value, origin) in table {
        assert_eq!(leaf(&all[0], path), Some((value.to_owned(), origin.to_owned())), "{path}");
    }
    assert_eq!(leaf(&all[0], "env.C"), None);
}

#[test]
fn an_error_names_the_layer_it_came_from() {
    let environment = Environment::Given("production".parse().unwrap());
    let said = |overlay: &str, settings: &[&str]| match load(&with(BASE, overlay, settings), &environment) {
        Ok(_) => "fine".to_owned(),
        Err(errors) => errors.to_string(),
    };
    #[rustfmt::skip]
    let table: [(&str, &[&str], &str); 12] = [
        ("replica: 3", &[], "environments/production.yaml:1:1: `replica`: unknown key\n  hint: did you mean `replicas`?"),
        ("\nsoak: 1", &[], "environments/production.yaml:2:7: `soak`: `1` is not a duration (like `10s`, `5m`, `1h30m` or `24h`)\n  hint: with a unit: `1s`"),
        ("a: [", &[], "environments/production.yaml:1:4: not valid YAML: unclosed bracket '['"),
        ("environment: staging", &[], "environments/production.yaml:1:14: `environment`: this overlay is for `production`; take the key away"),
        ("- a", &[], "environments/production.yaml:1:1: an overlay is a map, found a list"),
        ("{}", &["replicas=0"], "--set replicas=0: `replicas`: must be at least 1\n  hint: `windlass stop SERVICE` stops every instance and keeps volumes, ports and images"),
        ("{}", &["replicas=many"], "--set replicas=many: `replicas`: expected a number or a map, found text\n  hint: write `--set replicas=3`"),
        ("{}", &["health=/up"], "--set health=/up: `health`: expected a map, found text\n  hint: write `--set health.readiness.http=/up`"),
        ("{}", &["strategy=recreate"], "--set strategy=recreate: `strategy`: expected a map, found text\n  hint: write `--set 'strategy.recreate={}'`"),
        ("{}", &["web:soak=1"], "--set web:soak=1: `soak`: `1` is not a duration (like `10s`, `5m`, `1h30m` or `24h`)\n  hint: write `--set web:soak=1s`"),
        ("{}", &["replcas=3"], "--set replcas=3: `replcas`: unknown key\n  hint: did you mean `--set replicas=3`?"),
        ("{}", &["env.X.Y=1"], "--set env.X.Y=1: `env.X`: expected text, found a map"),
    ];
    for (overlay, settings, want) in table {
        assert_eq!(said(overlay, settings), want, "{overlay} {settings:?}");
    }
}

#[test]
fn an_overlay_may_change_one_service_or_all() {
    let base = "service: a\nimage: x:1\n---\nservice: b\nimage: x:1\n";
    let overlay = "soak: 1s\n---\nservice: b\nreplicas: 7\n---\nservice: unknown\nreplicas: 9\n";
    let all = load(&with(base, overlay, &[]), &Environment::Given("production".parse().unwrap())).unwrap();
    let values = |path| all.iter().map(|r| leaf(r, path).unwrap().0).collect::<Vec<_>>();
    assert_eq!(values("soak"), [r#""1s""#, r#""1s""#]);
    assert_eq!(values("replicas"), ["1", "7"]);
}

#[test]
fn an_overlay_can_change_the_strategy() {
    let overlay = "strategy: { rolling: null, recreate: {} }\nreplicas: null\nper_host: true\n";
    let all = load(&with(BASE, overlay, &[]), &Environment::Given("production".parse().unwrap())).unwrap();
    assert_eq!(leaf(&all[0], "strategy.recreate.min_ready").unwrap().0, r#""10s""#);
    assert_eq!(leaf(&all[0], "per_host").unwrap().0, "true");
    assert_eq!(leaf(&all[0], "replicas"), None);
}

#[test]
fn the_environment_is_given_or_declared_or_the_default() {
    let text = "service: a\nimage: x:1\nenvironment: staging\n";
    let name = |text: &str, environment: &Environment| {
        load(&sources(text), environment).unwrap()[0].environment.to_string()
    };
    assert_eq!(name(text, &default()), "staging");
    assert_eq!(name(text, &Environment::Given("production".parse().unwrap())), "production");
    assert_eq!(name("service: a\nimage: x:1\n", &default()), "default");
    let other = load(&sources(text), &Environment::Given("production".parse().unwrap())).unwrap();
    assert_eq!(
        other[0].warnings[0].to_string(),
        "-e production: `environment`: is `production` as given, not `staging` as the manifest says"
    );
}

#[test]
fn settings_read_like_yaml_without_its_surprises() {
    let env = |value: &str| {
        let all = layered(&[&format!("env.X={value}")]).unwrap();
        leaf(&all[0], "env.X").map(|(value, _)| value)
    };
    #[rustfmt::skip]
    let table = [
        ("", Some(r#""""#)), ("#fff", Some(r##""#fff""##)), ("a: b", Some(r#""a: b""#)), ("1.10", Some(r#""1.10""#)), ("*x", Some(r#""*x""#)),
        ("\"q\"", Some(r#""q""#)), ("a=b", Some(r#""a=b""#)), ("- a", Some(r#""- a""#)), ("@x", Some(r#""@x""#)), ("null", None), ("~", None),
    ];
    for (value, want) in table {
        assert_eq!(env(value).as_deref(), want, "{value}");
    }
    let all =
        layered(&["command=[x, \"y z\"]", "replicas={min: 1, max: 3}", "files.\"/a/b.json\".content=hi"])
            .unwrap();
    assert_eq!(leaf(&all[0], "command").unwrap().0, r#"["x","y z"]"#);
    assert_eq!(leaf(&all[0], "replicas.max").unwrap().0, "3");
    assert_eq!(leaf(&all[0], "files.\"/a/b.json\".content").unwrap().0, r#""hi""#);
    let all = layered(&["image=127.0.0.1:5000/web:v2"]).unwrap();
    assert_eq!(all[0].image.to_string(), "127.0.0.1:5000/web:v2");
}

#[test]
fn a_setting_that_is_none_is_refused() {
    for text in ["", "image", "=x", "a..b=1", ".a=1", "a.=1", "a.\"b=1", "Web:a=1"] {
        assert!(text.parse::<Setting>().is_err(), "{text:?}");
    }
}

#[test]
fn with_several_services_a_setting_names_its_own() {
    let base = "service: a\nimage: x:1\n---\nservice: b\nimage: x:1\n";
    let said = |settings: &[&str]| load(&with(base, "{}", settings), &default()).unwrap_err().to_string();
    assert_eq!(
        said(&["image=y:2"]),
        "--set image=y:2: does not say for which of the services\n  hint: `--set a:key=value`"
    );
    assert_eq!(
        said(&["c:image=y:2"]),
        "--set c:image=y:2: there is no service `c`\n  hint: `--set a:key=value`"
    );
    let all = load(&with(base, "{}", &["b:image=y:2"]), &default()).unwrap();
    assert_eq!(all.iter().map(|r| r.image.path.clone()).collect::<Vec<_>>(), ["library/x", "library/y"]);
}

#[test]
fn a_service_stands_only_once() {
    let said = try_load("service: a\nimage: x:1\n---\nservice: a\nimage: x:1\n").unwrap_err().to_string();
    assert_eq!(
        said,
        "web.yaml:4:10: `service`: the service `a` stands here a second time; first in web.yaml:1:10"
    );
    let environments =
        "service: a\nimage: x:1\nenvironment: one\n---\nservice: a\nimage: x:1\nenvironment: two\n";
    assert_eq!(try_load(environments).unwrap().len(), 2);
}

#[test]
fn the_rendered_manifest_says_where_each_value_came_from() {
    let all = layered(&["image=nginx:2"]).unwrap();
    insta::assert_snapshot!(all[0].yaml(Origins::Shown), @r#"
    service: web  # web.yaml:1:10
    image: "nginx:2"  # --set image=nginx:2
    replicas: 5  # environments/production.yaml:1:11
    env:
      A: base  # web.yaml:4:11
      B: overlay  # environments/production.yaml:3:6
      D: overlay  # environments/production.yaml:5:6
    command: [c]  # environments/production.yaml:6:10
    strategy:
      rolling:
        batch: 1  # web.yaml:6:31
        max_surge: 25%  # default
        max_unavailable: 0  # default
        min_ready: 10s  # default
        order: auto  # default
    environment: production  # -e production
    on_failure: rollback_all  # default
    on_lost:
      on_return: keep_new  # default
      replace_after: never  # default
      stop_isolated_after: never  # default
    placement:
      spread: host  # default
    progress_deadline: 10m  # default
    resources:
      cpu: 1.0  # default
      memory: 512MiB  # default
      pids: 512  # default
    rollback_on:
      restarts: 1  # default
      unhealthy_for: 2m  # default
    security:
      read_only_root: false  # default
    soak: 30s  # default
    stop_timeout: 10s  # default
    "#);
}

#[test]
fn anchors_and_merge_keys_work() {
    let text = "service: a\nimage: x:1\nhealth:\n  readiness: &p { exec: [a], failures: 7 }\n  liveness: { <<: *p, every: 1m }\n";
    let all = try_load(text).unwrap();
    assert_eq!(leaf(&all[0], "health.liveness.failures").unwrap().0, "7");
    assert_eq!(leaf(&all[0], "health.liveness.every").unwrap().0, r#""1m""#);
}
