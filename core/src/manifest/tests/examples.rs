use super::*;

const EXAMPLES: [(&str, &str); 12] = [
    ("sample.yaml", include_str!("../../../../examples/sample.yaml")),
    ("web.yaml", include_str!("../../../../examples/web.yaml")),
    ("data-service.yaml", include_str!("../../../../examples/data-service.yaml")),
    ("backend-api.yaml", include_str!("../../../../examples/backend-api.yaml")),
    ("backend.yaml", include_str!("../../../../examples/backend.yaml")),
    ("trading-backend.yaml", include_str!("../../../../examples/trading-backend.yaml")),
    ("strategy-runner.yaml", include_str!("../../../../examples/strategy-runner.yaml")),
    ("portfolio-api.yaml", include_str!("../../../../examples/portfolio-api.yaml")),
    ("worker.yaml", include_str!("../../../../examples/worker.yaml")),
    ("node-exporter.yaml", include_str!("../../../../examples/node-exporter.yaml")),
    ("ml-engine.yaml", include_str!("../../../../examples/ml-engine.yaml")),
    ("backend-canary.yaml", include_str!("../../../../examples/backend-canary.yaml")),
];

#[test]
fn every_example_is_right() {
    for (name, text) in EXAMPLES {
        let mut sources = sources(text);
        sources.manifests[0].name = name.to_owned();
        let staging = include_str!("../../../../examples/environments/staging.yaml");
        let source = Source { name: "environments/staging.yaml".into(), text: staging.into() };
        sources.overlays.insert("staging".parse().unwrap(), source);
        for environment in [default(), Environment::Given("staging".parse().unwrap())] {
            let all = load(&sources, &environment).unwrap_or_else(|errors| panic!("{errors}"));
            for rendered in all {
                let service = match name {
                    "sample.yaml" => "web.yaml",
                    "backend-canary.yaml" => "backend.yaml",
                    name => name,
                };
                assert_eq!(format!("{}.yaml", rendered.service), service);
                rendered.into_spec(image(), |path| Err(format!("no file `{path}`"))).unwrap();
            }
        }
    }
}

#[test]
fn every_example_is_tested() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
    let mut found: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter(|name| name.ends_with(".yaml"))
        .collect();
    found.sort();
    let mut tested: Vec<&str> = EXAMPLES.iter().map(|(name, _)| *name).collect();
    tested.sort_unstable();
    assert_eq!(found, tested);
}

#[test]
fn rendering_an_example_changes_nothing() {
    for (name, text) in EXAMPLES {
        let first = load_one(text);
        let second = load_one(&first.yaml(Origins::Shown));
        assert_eq!(second.yaml(Origins::Hidden), first.yaml(Origins::Hidden), "{name}");
        assert_eq!(
            second.into_spec(image(), |_| Ok(vec![])),
            first.into_spec(image(), |_| Ok(vec![])),
            "{name}"
        );
    }
}
