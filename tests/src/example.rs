//! The manifests in `examples/`, made to fit a lab: the image of the sample service, small resources, short times, and the
//! addresses of what stands in the lab. Everything else is as it was written.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::service::Service;

/// A manifest of `examples/`.
#[derive(Debug, Clone)]
pub struct Example {
    manifest: Value,
}

/// The longest time of each key; a longer one is cut to it.
const TIMES: [(&str, &str); 8] = [
    ("hold", "3s"),
    ("watch", "3s"),
    ("soak", "3s"),
    ("min_ready", "1s"),
    ("after", "5s"),
    ("every", "500ms"),
    ("drain_timeout", "5s"),
    ("unhealthy_for", "10s"),
];

impl Example {
    /// Reads one of them.
    ///
    /// # Panics
    /// If it is not there, or no YAML.
    pub fn read(name: &str) -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name);
        let text = fs::read_to_string(&file).expect("the example is there");
        let mut manifest: Value = serde_saphyr::from_str(&text).expect("it is YAML");
        shorten(&mut manifest);
        for gate in
            manifest.get_mut("gates").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut)
        {
            gate["window"] = "20s".into();
            gate["passes"] = 1.into();
        }
        // A smoke test that is asked later has to end within the soak.
        let tests = manifest.get_mut("smoke").and_then(Value::as_array_mut);
        let late: Vec<&mut Value> =
            tests.into_iter().flatten().filter(|test| test.get("after").is_some()).collect();
        if !late.is_empty() {
            for test in late {
                (test["timeout"], test["tries"]) = ("1s".into(), 2.into());
            }
            manifest["soak"] = "12s".into();
        }
        let resources = manifest["resources"].as_object_mut().expect("every example says what it needs");
        resources.insert("cpu".into(), json!(0.05));
        resources.insert("memory".into(), json!("32MiB"));
        Self { manifest }
    }

    /// The host that its first route is reached by.
    pub fn host(&self) -> &str {
        let route = &self.manifest["route"];
        let first = route.as_array().map_or(route, |routes| &routes[0]);
        first["host"].as_str().expect("it has a route")
    }

    /// The name of the service.
    pub fn service(&self) -> &str {
        self.manifest["service"].as_str().expect("it has a name")
    }

    /// The image that runs, which listens on the port `http` of the manifest and says in `/health` what the real one says.
    #[must_use]
    pub fn running(&self, image: &str, says: &str) -> Self {
        let mut fitted = self.clone();
        let port = fitted.manifest["ports"]["http"].as_u64().expect("its port has a number");
        fitted.manifest["image"] = image.into();
        fitted.set_env("PORT", &port.to_string()).set_env("HEALTH_EXTRA", says)
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn set_env(&self, name: &str, value: &str) -> Self {
        let mut fitted = self.clone();
        let env = fitted.manifest.as_object_mut().expect("it is a table").entry("env");
        env.or_insert_with(|| Map::new().into())[name] = value.into();
        fitted
    }

    /// Puts a folder of the lab in the place of a volume's folder on the host.
    #[must_use]
    pub fn mounting(mut self, volume: &str, folder: &str) -> Self {
        self.manifest["volumes"][volume]["host_path"] = folder.into();
        self
    }

    /// Puts the lab's addresses in the place of those that its checks ask, by the kind of the check.
    #[must_use]
    pub fn asking(mut self, addresses: &[(&str, &str)]) -> Self {
        let checks = self.manifest["checks"].as_array_mut().expect("it has checks");
        for (kind, address) in addresses {
            for check in checks.iter_mut().filter(|check| check.get(kind).is_some()) {
                check[kind] = (*address).into();
            }
        }
        self
    }

    /// It as a manifest.
    pub fn manifest(&self) -> Service {
        Service::from_manifest(self.manifest.clone())
    }
}

/// Cuts every time that has a limit, however deep it stands.
fn shorten(value: &mut Value) {
    match value {
        Value::Array(all) => all.iter_mut().for_each(shorten),
        Value::Object(all) => {
            for (key, value) in all {
                match TIMES.iter().find(|(known, _)| known == key) {
                    Some((_, limit)) if value.is_string() => *value = (*limit).into(),
                    _ => shorten(value),
                }
            }
        }
        _ => {}
    }
}
