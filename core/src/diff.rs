//! The differences between two releases of a service, field by field, for people who are about to deploy.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::Value;

use crate::digest::Digest;
use crate::release::{Release, Spec};
use crate::traffic::Weight;

/// Longer values are shown as digest and size.
const MAX_SHOWN: usize = 256;

/// A field that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct Change {
    /// The field, like `image.digest` or `env.NODE_ENV`.
    pub path: String,
    /// The old value; absent if there was none.
    pub old: Option<String>,
    /// The new value; absent if it goes.
    pub new: Option<String>,
}

/// The fields of `old` and `new` that differ, by path. Counter, time and author always differ, so they
/// are not compared.
pub fn diff(old: &Release, new: &Release) -> Vec<Change> {
    compare(fields_of(old), fields_of(new))
}

/// The same for two specifications, of which the first may not exist yet.
pub fn diff_spec(old: Option<&Spec>, new: &Spec) -> Vec<Change> {
    compare(old.map(fields).unwrap_or_default(), fields(new))
}

type Fields = BTreeMap<String, String>;

fn compare(mut old: Fields, new: Fields) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    for (path, new) in new {
        let old = old.remove(&path);
        if old.as_ref() != Some(&new) {
            changes.push(Change { path, old, new: Some(new) });
        }
    }
    changes.extend(old.into_iter().map(|(path, old)| Change { path, old: Some(old), new: None }));
    changes.sort_by(|a, b| a.path.cmp(&b.path));
    changes
}

fn fields_of(release: &Release) -> Fields {
    let mut fields = fields(&release.spec);
    fields.insert("fleet".to_owned(), release.fleet.to_string());
    fields.insert("environment".to_owned(), release.environment.to_string());
    fields.insert("service".to_owned(), release.service.to_string());
    fields
}

fn fields(spec: &Spec) -> Fields {
    let mut fields = Fields::new();
    // A specification has only text keys and finite numbers, so it always is JSON.
    let mut value = serde_json::to_value(spec).unwrap_or_default();
    if let Some(files) = value.get_mut("files") {
        hide_contents(files);
    }
    in_percent(&mut value);
    flatten(&value, "", &mut fields);
    fields
}

/// Writes shares as manifests do: they are kept in thousandths.
fn in_percent(spec: &mut Value) {
    let share = |value: &mut Value| {
        let permille = value.as_u64().and_then(|permille| u16::try_from(permille).ok());
        if let Some(weight) = permille.and_then(|permille| Weight::try_from(permille).ok()) {
            *value = Value::String(weight.to_string());
        }
    };
    let each = |list: Option<&mut Value>, change: &dyn Fn(&mut Value)| {
        list.and_then(Value::as_array_mut).into_iter().flatten().for_each(change);
    };
    each(spec.pointer_mut("/strategy/blue_green/steps"), &share);
    each(spec.pointer_mut("/strategy/canary/steps"), &|step| {
        step.get_mut("weight").into_iter().for_each(share);
    });
    let gates = spec.get_mut("gates").and_then(Value::as_object_mut);
    for gate in gates.into_iter().flat_map(serde_json::Map::values_mut) {
        for ask in ["error_rate", "memory", "cpu", "gpu_memory"] {
            gate.pointer_mut(&format!("/ask/{ask}/max")).into_iter().for_each(share);
        }
    }
    spec.pointer_mut("/rollback_on/error_rate/max").into_iter().for_each(share);
}

/// The content of a file never belongs on a terminal; that it changed does.
fn hide_contents(files: &mut Value) {
    for file in files.as_object_mut().into_iter().flat_map(serde_json::Map::values_mut) {
        if let Some(Value::String(content)) = file.get_mut("content") {
            // A content that is not base64 is none that a host would take; its text will do.
            *content = summary(&STANDARD.decode(&*content).unwrap_or_else(|_| content.clone().into_bytes()));
        }
    }
}

fn flatten(value: &Value, path: &str, fields: &mut Fields) {
    let Some(map) = value.as_object().filter(|map| !map.is_empty()) else {
        fields.insert(path.to_owned(), shown(value));
        return;
    };
    for (key, below) in map {
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '/');
        let key = if key.chars().all(plain) { key.clone() } else { format!("{key:?}") };
        let path = if path.is_empty() { key } else { format!("{path}.{key}") };
        flatten(below, &path, fields);
    }
}

fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string()
        }
    };
    if text.len() > MAX_SHOWN { summary(text.as_bytes()) } else { text }
}

fn summary(bytes: &[u8]) -> String {
    format!("sha256:{}… ({} B)", Digest::of(bytes).short(), bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Counter;
    use crate::manifest::{Environment, Source, Sources, load};
    use crate::release::Image;
    use crate::time::Timestamp;

    #[test]
    fn shares_are_shown_in_percent() {
        let route = "ports: { http: 8080 }\nroute: { host: a.example, port: http }\n";
        let with = |steps: &str, max: &str| {
            let rest = format!(
                "{route}strategy: {{ blue_green: {{ steps: [{steps}, 100%] }} }}\nrollback_on: {{ error_rate: {max} }}\n"
            );
            release(1, &rest)
        };
        let changes = diff(&with("10%", "1%"), &with("12.5%", "5%"));
        let words: Vec<String> = changes
            .iter()
            .map(|of| {
                format!(
                    "{} {} {}",
                    of.path,
                    of.old.as_deref().unwrap_or("-"),
                    of.new.as_deref().unwrap_or("-")
                )
            })
            .collect();
        assert_eq!(
            words,
            [
                "rollback_on.error_rate.max 1% 5%",
                r#"strategy.blue_green.steps ["10%","100%"] ["12.5%","100%"]"#,
            ]
        );
    }

    fn release(counter: u64, rest: &str) -> Release {
        let text = format!("service: web\nimage: x:1\n{rest}");
        let manifests = vec![Source { name: "web.yaml".into(), text }];
        let environment = Environment::Default("default".parse().unwrap());
        let all = load(&Sources { manifests, ..Sources::default() }, &environment);
        let rendered = all.unwrap_or_else(|errors| panic!("{errors}")).remove(0);
        let image = Image {
            reference: "x:1".into(),
            repository: "docker.io/library/x".into(),
            digest: Digest::of(b"x"),
            platform: "linux/amd64".into(),
            size: 1,
        };
        Release {
            version: 1,
            fleet: "demo".parse().unwrap(),
            environment: rendered.environment.clone(),
            service: rendered.service.clone(),
            counter: Counter(counter),
            created_at: Timestamp::from_millis(i64::try_from(counter).unwrap()),
            author: format!("person {counter}"),
            spec: rendered.into_spec(image, |_| Ok(vec![])).unwrap(),
        }
    }

    fn shown(changes: &[Change]) -> Vec<String> {
        let side = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
        changes.iter().map(|c| format!("{}: {} -> {}", c.path, side(&c.old), side(&c.new))).collect()
    }

    #[test]
    fn only_what_differs_is_listed_by_path() {
        let old = release(1, "env: { A: a, B: b }\nreplicas: 2\n");
        let new = release(
            2,
            "env: { A: a, B: c, C: d }\nreplicas: 3\ncommand: [x, y]\nstrategy: { recreate: {} }\n",
        );
        let changes = shown(&diff(&old, &new));
        let want = [
            "command: - -> [\"x\",\"y\"]",
            "env.B: b -> c",
            "env.C: - -> d",
            "scale.replicas.max: 2 -> 3",
            "scale.replicas.min: 2 -> 3",
            "strategy.recreate.min_ready: - -> 10s",
            "strategy.rolling.batch: 25% -> -",
            "strategy.rolling.max_surge: 25% -> -",
            "strategy.rolling.max_unavailable: 0 -> -",
            "strategy.rolling.min_ready: 10s -> -",
            "strategy.rolling.order: auto -> -",
        ];
        assert_eq!(changes, want);
        let back = diff(&new, &old);
        assert_eq!(back.len(), want.len(), "both ways the same fields differ");
    }

    #[test]
    fn counter_time_and_author_are_no_change() {
        assert_eq!(diff(&release(1, ""), &release(2, "")), []);
    }

    #[test]
    fn large_contents_are_shown_as_digest_and_size() {
        let old = release(1, "files: { /a.json: { content: one } }\n");
        let long = "x".repeat(5000);
        let new =
            release(2, &format!("files: {{ /a.json: {{ content: three }} }}\nenv: {{ LONG: {long} }}\n"));
        let changes = shown(&diff(&old, &new));
        assert_eq!(
            changes[1],
            format!(
                "files.\"/a.json\".content: sha256:{}… (3 B) -> sha256:{}… (5 B)",
                Digest::of(b"one").short(),
                Digest::of(b"three").short()
            )
        );
        assert_eq!(
            changes[0],
            format!("env.LONG: - -> sha256:{}… (5000 B)", Digest::of(long.as_bytes()).short())
        );
    }

    #[test]
    fn a_first_release_adds_everything() {
        let changes = diff_spec(None, &release(1, "").spec);
        assert!(changes.iter().all(|change| change.old.is_none()));
        assert!(changes.iter().any(|change| change.path == "image.digest"));
    }
}
