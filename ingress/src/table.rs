//! The tables in force, made ready for requests: the target of each host name and path.

use std::collections::HashMap;
use std::sync::Arc;

use crate::inner::Networks;
use crate::target::Target;

/// Every table in force, compiled.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// By host name in lower case; those with a wildcard by what follows `*.`. Longest path first.
    exact: HashMap<String, Vec<Route>>,
    wildcard: HashMap<String, Vec<Route>>,
    /// The inner networks of this host.
    pub(crate) inner: Networks,
}

/// A path prefix and where it leads.
#[derive(Debug)]
pub(crate) struct Route {
    path: String,
    target: Arc<Target>,
}

impl Table {
    /// Whether no name leads anywhere.
    pub(crate) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.wildcard.is_empty()
    }

    /// Adds a name of a table.
    pub(crate) fn add(&mut self, host: &str, path: &str, target: Arc<Target>) {
        let routes = match host.strip_prefix("*.") {
            Some(parent) => self.wildcard.entry(parent.to_owned()).or_default(),
            None => self.exact.entry(host.to_owned()).or_default(),
        };
        let at = routes.partition_point(|route| route.path.len() >= path.len());
        routes.insert(at, Route { path: path.to_owned(), target });
    }

    /// The target of a request, by the longest path that fits the most exact host name.
    pub(crate) fn find(&self, host: &str, path: &str) -> Option<&Arc<Target>> {
        let exact = self.exact.get(host).and_then(|routes| longest(routes, path));
        exact.or_else(|| {
            let (label, parent) = host.split_once('.')?;
            let routes = self.wildcard.get(parent).filter(|_| !label.is_empty())?;
            longest(routes, path)
        })
    }

    /// Whether some name stands for `host`.
    pub(crate) fn knows(&self, host: &str) -> bool {
        let below = host.split_once('.').is_some_and(|(_, parent)| self.wildcard.contains_key(parent));
        self.exact.contains_key(host) || below
    }
}

fn longest<'r>(routes: &'r [Route], path: &str) -> Option<&'r Arc<Target>> {
    let fits = |route: &&Route| {
        let prefix = route.path.trim_end_matches('/');
        path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    routes.iter().find(fits).map(|route| &route.target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::tests::target;

    fn found(table: &Table, host: &str, path: &str) -> Option<String> {
        table.find(host, path).map(|target| target.service.service.to_string())
    }

    #[test]
    fn the_longest_path_at_the_most_exact_name_wins() {
        let mut table = Table::default();
        for (host, path, name) in
            [("a.b", "/", "root"), ("a.b", "/v1", "one"), ("a.b", "/v1/x/", "deep"), ("*.b", "/", "any")]
        {
            table.add(host, path, target(name));
        }
        let cases = [
            ("a.b", "/", Some("root")),
            ("a.b", "/v1", Some("one")),
            ("a.b", "/v12", Some("root")),
            ("a.b", "/v1/x", Some("deep")),
            ("a.b", "/v1/x/y", Some("deep")),
            ("c.b", "/v1", Some("any")),
            ("c.a.b", "/", None),
            (".b", "/", None),
            ("b", "/", None),
            ("other", "/", None),
        ];
        for (host, path, expected) in cases {
            assert_eq!(found(&table, host, path).as_deref(), expected, "{host}{path}");
        }
        assert!(table.knows("x.b") && table.knows("a.b") && !table.knows("x.y"));
    }
}
