use super::*;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

/// Text that is a manifest in spirit: known and unknown keys with all kinds of values.
fn nearly_a_manifest() -> impl Strategy<Value = String> {
    let keys = prop::sample::select(vec![
        "service",
        "image",
        "replicas",
        "per_host",
        "ports",
        "env",
        "health",
        "strategy",
        "soak",
        "files",
        "resources",
        "volumes",
        "security",
        "placement",
        "uses",
        "route",
        "hold",
        "command",
        "x",
        "\"\"",
        "1",
    ]);
    let values = prop_oneof![
        "[ -~]{0,12}",
        "\\PC{0,6}",
        prop::sample::select(
            [
                "{ http: 80 }",
                "{ a: { mount: /x } }",
                "{ rolling: { batch: 0 } }",
                "{ host: a.b, port: http }",
                "[{ host: a.b }, { host: A, path: x }]",
                "[a, b]",
                "null",
                "5",
                "10s",
                "0x1F"
            ]
            .to_vec()
        )
        .prop_map(str::to_owned),
    ];
    vec((keys, values), 0..8)
        .prop_map(|lines| lines.into_iter().map(|(key, value)| format!("{key}: {value}\n")).collect())
}

/// Manifests that are right.
fn manifest() -> impl Strategy<Value = String> {
    let env = btree_map("[A-Z_][A-Z0-9_]{0,8}", "\\PC{0,12}|[ -~\n\t]{0,12}|[0-9xeE.+-]{1,6}", 0..4);
    let ports = vec(("[a-z]{1,5}", 1u16..), 0..4);
    let parts = (env, ports, 1u32..1000, "[0-9]{1,2}(s|m)", 0u32..100, any::<bool>(), "\\PC{0,20}");
    parts.prop_map(|(env, ports, replicas, soak, batch, recreate, content)| {
        let ports: std::collections::BTreeMap<u16, String> =
            ports.into_iter().enumerate().map(|(at, (name, port))| (port, format!("{name}-{at}"))).collect();
        let ports: serde_json::Map<_, _> = ports.into_iter().map(|(port, name)| (name, port.into())).collect();
        let strategy = if recreate {
            serde_json::json!({ "recreate": {} })
        } else {
            serde_json::json!({ "rolling": { "batch": format!("{}%", batch + 1) } })
        };
        let name = |(at, port): (usize, &String)| match at % 2 {
            0 => serde_json::json!({ "host": format!("h{at}.example.com"), "port": port }),
            _ => serde_json::json!({ "host": "*.example.com", "path": format!("/v{at}"), "port": port }),
        };
        let routes: Vec<_> = ports.keys().enumerate().map(name).collect();
        // JSON is YAML.
        serde_json::json!({
            "service": "web", "image": "nginx:1", "replicas": replicas, "soak": soak, "env": env, "ports": ports,
            "route": routes, "strategy": strategy, "files": { "/x": { "content": content } },
        })
        .to_string()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}|[a-z:{}\\[\\]&*!|>'\"%@`,# \n\t-]{0,200}") {
        let _ = try_load(&text);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..300)) {
        let _ = try_load(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn nothing_near_a_manifest_makes_it_panic(text in nearly_a_manifest(), setting in "[a-z.:\"=\\[{#*0-9 ]{0,30}") {
        let _ = try_load(&text);
        let mut sources = sources("service: web\nimage: a:1\nreplicas: 2\n");
        sources.overlays.insert("default".parse().unwrap(), Source { name: "o".into(), text });
        sources.settings.extend(setting.parse());
        if let Err(Errors(problems)) = load(&sources, &default()) {
            prop_assert!(!problems.is_empty());
            for problem in problems {
                prop_assert!(problem.at != Origin::Default, "a problem has a position: {problem}");
                prop_assert!(!problem.reason.contains("disagree"), "what the schema takes, the types take: {problem}");
            }
        }
    }

    #[test]
    fn rendering_and_reading_again_changes_nothing(text in manifest()) {
        let first = load_one(&text);
        let yaml = first.yaml(Origins::Shown);
        let second = load_one(&yaml);
        prop_assert_eq!(second.yaml(Origins::Hidden), first.yaml(Origins::Hidden));
        let spec = |rendered: Rendered| rendered.into_spec(image(), |_| Ok(vec![])).unwrap();
        prop_assert_eq!(spec(second), spec(first));
    }

    #[test]
    fn a_specification_survives_serialisation(text in manifest()) {
        let spec = spec_of(&text);
        let json = serde_json::to_vec(&spec).unwrap();
        prop_assert_eq!(serde_json::from_slice::<Spec>(&json).unwrap(), spec);
    }

    #[test]
    fn an_image_reference_is_a_fixpoint(text in "[a-z0-9./:@_-]{0,40}") {
        if let Ok(image) = text.parse::<ImageReference>() {
            prop_assert_eq!(image.to_string().parse::<ImageReference>(), Ok(image));
        }
    }
}
