//! The YAML of the guide, as it stands there: whole manifests, and fragments that are completed with a plain service.

use super::*;

const GUIDE: &str = include_str!("../../../../docs/guide.md");

/// The rest of a fragment's manifest: a key, and its text.
const REST: [(&str, &str); 6] = [
    ("service", "service: api\n"),
    ("image", "image: registry.example.com/api:1\n"),
    ("ports", "ports: { http: 8080 }\n"),
    ("volumes", "volumes: { models: { mount: /models } }\n"),
    ("route", "route: { host: api.example.com }\n"),
    ("strategy", "strategy: { canary: { steps: [5%, 50%] } }\n"),
];

/// The blocks, each with the line of the guide that it begins at.
fn blocks() -> Vec<(usize, String)> {
    let (mut blocks, mut open) = (Vec::new(), None::<(usize, String)>);
    for (at, line) in GUIDE.lines().enumerate() {
        match (line, &mut open) {
            ("```yaml", None) => open = Some((at + 2, String::new())),
            ("```", Some(_)) => blocks.extend(open.take()),
            (line, Some((_, text))) => {
                text.push_str(line);
                text.push('\n');
            }
            (_, None) => {}
        }
    }
    blocks
}

#[test]
fn every_manifest_of_the_guide_is_taken_as_written() {
    let blocks = blocks();
    assert!(blocks.len() >= 10, "{}", blocks.len());
    for (line, block) in blocks {
        let has = |key: &str| block.lines().any(|line| line.starts_with(&format!("{key}:")));
        let asks = has("gates") || has("rollback_on");
        let missing = |(key, _): &&(&str, &str)| !has(key) && (asks || !matches!(*key, "route" | "strategy"));
        let rest: String = REST
            .iter()
            .filter(missing)
            .filter(|(key, _)| *key != "strategy" || has("gates"))
            .map(|(_, text)| *text)
            .collect();
        let text = format!("{block}{rest}");
        let all = try_load(&text).unwrap_or_else(|errors| panic!("docs/guide.md:{line}:\n{errors}\n{text}"));
        for rendered in all {
            let yaml = rendered.yaml(Origins::Hidden);
            assert_eq!(load_one(&yaml).yaml(Origins::Hidden), yaml, "docs/guide.md:{line}");
        }
    }
}
