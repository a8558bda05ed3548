//! `config.toml`: the contexts, and which of them is meant when none is named.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use windlass_core::{EnvironmentId, FleetId};

use super::HomeError;

/// The file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// The context meant when none is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    /// All contexts.
    pub(crate) contexts: BTreeMap<String, ContextConfig>,
}

/// A fleet, and how this operator works with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ContextConfig {
    /// The fleet.
    pub(crate) fleet: FleetId,
    /// The address of its coordinator, `host:port`.
    pub(crate) server: String,
    /// The environment meant when neither a flag nor a manifest names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) environment: Option<EnvironmentId>,
    /// Registries off loopback that may be plain HTTP, `host[:port]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) insecure_registries: Vec<String>,
    /// Keys that sign releases; the fleet's own folder has one unless others are named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) release_keys: Vec<PathBuf>,
}

impl Config {
    /// The context `name`, or the current one. Answers with its name too.
    pub(crate) fn context(
        &self,
        name: Option<&str>,
        path: &std::path::Path,
    ) -> Result<(String, ContextConfig), HomeError> {
        let Some(name) = name.or(self.current.as_deref()) else {
            return Err(HomeError::NoContext(path.to_owned()));
        };
        let found = self.contexts.get(name).cloned();
        let known = || self.contexts.keys().cloned().collect();
        let unknown = || HomeError::UnknownContext { name: name.to_owned(), known: known() };
        found.map(|context| (name.to_owned(), context)).ok_or_else(unknown)
    }

    pub(super) fn to_toml(&self) -> String {
        toml::to_string(self).expect("names and text are TOML")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut config = Config { current: Some("demo".to_owned()), ..Config::default() };
        let context = ContextConfig {
            fleet: "demo".parse().unwrap(),
            server: "127.0.0.1:7443".to_owned(),
            environment: Some("staging".parse().unwrap()),
            insecure_registries: vec!["10.0.0.1:5000".to_owned()],
            release_keys: Vec::new(),
        };
        config.contexts.insert("demo".to_owned(), context);
        insta::assert_snapshot!(config.to_toml(), @r#"
        current = "demo"

        [contexts.demo]
        fleet = "demo"
        server = "127.0.0.1:7443"
        environment = "staging"
        insecure_registries = ["10.0.0.1:5000"]
        "#);
        assert_eq!(toml::from_str::<Config>(&config.to_toml()).unwrap(), config);
        assert!(toml::from_str::<Config>("curent = \"x\"").is_err());
    }

    #[test]
    fn an_unknown_context_names_those_there_are() {
        let mut config = Config::default();
        let missing = config.context(None, std::path::Path::new("home")).unwrap_err();
        assert!(missing.hint().unwrap().contains("windlass init"));
        let context = ContextConfig {
            fleet: "demo".parse().unwrap(),
            server: "x:1".to_owned(),
            environment: None,
            insecure_registries: Vec::new(),
            release_keys: Vec::new(),
        };
        config.contexts.insert("demo".to_owned(), context);
        let unknown = config.context(Some("prod"), std::path::Path::new("home")).unwrap_err();
        assert_eq!(unknown.hint().unwrap(), "there are: demo; `windlass context ls` shows their fleets");
    }
}
