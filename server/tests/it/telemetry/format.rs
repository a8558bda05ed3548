//! The text format of Prometheus, read strictly: whatever a scraper or `promtool check metrics` may dislike is a panic.

use std::collections::{BTreeMap, BTreeSet};

/// Every family, by the name that it is declared by.
#[derive(Debug, Default)]
pub(super) struct Families(BTreeMap<String, Family>);

#[derive(Debug, Default)]
struct Family {
    kind: String,
    samples: usize,
}

impl Families {
    pub(super) fn parse(text: &str) -> Self {
        let (mut families, mut series) = (Self::default(), BTreeSet::new());
        let mut current = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap_or_else(|| panic!("no help: {line}"));
                assert!(is_name(name) && !help.trim().is_empty(), "{line}");
                let known = families.0.insert(name.to_owned(), Family::default());
                assert!(known.is_none(), "{name} is declared twice");
                name.clone_into(&mut current);
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert_eq!(name, current, "a type comes right after the help");
                assert!(["gauge", "counter", "histogram"].contains(&kind), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                let misleads = ["_count", "_sum", "_bucket"].iter().any(|ending| name.ends_with(ending));
                assert!(!misleads, "{name} looks like a part of a histogram");
                kind.clone_into(&mut families.0.get_mut(name).unwrap().kind);
            } else {
                families.sample(line, &current, &mut series);
            }
        }
        families
    }

    fn sample(&mut self, line: &str, current: &str, series: &mut BTreeSet<String>) {
        let (name_and_labels, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
        assert!(value == "+Inf" || value.parse::<f64>().is_ok_and(|value| !value.is_nan()), "{line}");
        let (name, labels) = match name_and_labels.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}').unwrap_or_else(|| panic!("{line}"))),
            None => (name_and_labels, ""),
        };
        let family = self.0.get_mut(current).unwrap_or_else(|| panic!("nothing declares {line}"));
        let belongs = match family.kind.as_str() {
            "histogram" => ["_count", "_sum", "_bucket"].iter().any(|end| name == format!("{current}{end}")),
            _ => name == current,
        };
        assert!(belongs, "{line} stands below {current}");
        check_labels(labels, line);
        assert!(series.insert(name_and_labels.to_owned()), "twice: {line}");
        family.samples += 1;
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(super) fn has_samples(&self, name: &str, kind: &str) -> bool {
        self.0.get(name).is_some_and(|family| family.samples > 0 && family.kind == kind)
    }
}

fn is_name(name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(is_part)
}

/// `name="value",…`, each name once; a quote within a value stands behind a backslash.
fn check_labels(mut labels: &str, line: &str) {
    let mut names = BTreeSet::new();
    while !labels.is_empty() {
        let (name, rest) = labels.split_once("=\"").unwrap_or_else(|| panic!("no label: {line}"));
        assert!(is_name(name) && names.insert(name), "label {name} of {line}");
        let mut escaped = false;
        let end = rest.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        let end = end.unwrap_or_else(|| panic!("a value without end: {line}"));
        labels = &rest[end + 1..];
        labels = labels.strip_prefix(',').unwrap_or(labels);
    }
}
