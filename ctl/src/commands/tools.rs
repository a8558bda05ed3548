//! `schema`, `render`, `man`: for editors, people and scripts.

use clap::CommandFactory as _;
use schemars::{JsonSchema, json_schema, schema_for};
use serde::Serialize;
use serde_json::{Map, Value, json};
use windlass_core::manifest::{self, Leaf, Origins};
use windlass_core::{EnvironmentId, ServiceName, diff, view};

use super::audit::{AuditListView, AuditView};
use super::context::{ContextChange, ContextView};
use super::drain::DrainOutcome;
use super::files::DocumentError;
use super::host::HostToken;
use super::init::Made;
use super::logs::LogLineView;
use super::operator::{OperatorJoined, OperatorTokenView};
use super::ps::PsView;
use super::release::ReleaseDocument;
use super::routes::Forgotten;
use super::trust::{ChangeView, RevocationsView};
use super::version::VersionView;
use super::wait::WaitView;
use crate::args::{Cli, Global, ManArgs, RenderArgs, SchemaArgs};
use crate::attend::ServiceOutcome;
use crate::compose::Imported;
use crate::context::Context;
use crate::deploy::{Outcome, Skipped};
use crate::error::{CtlError, Report};
use crate::exit::Exit;
use crate::manifests::Manifests;
use crate::printer::Printer;
use crate::top::Snapshot;

pub(super) fn schema(args: &SchemaArgs, printer: &Printer) -> Exit {
    let schema = if args.outputs { outputs() } else { manifest::schema() };
    printer.document(&schema, |_| serde_json::to_string_pretty(&schema).unwrap_or_default());
    Exit::Done
}

/// The schema of the results of each command.
fn outputs() -> Value {
    fn of<T: JsonSchema>() -> Value {
        schema_for!(T).to_value()
    }
    let commands = [
        ("init", of::<Made>()),
        ("context ls", of::<Vec<ContextView>>()),
        ("context add, use, rename, rm", of::<ContextChange>()),
        ("wait", of::<WaitView>()),
        ("host token", of::<HostToken>()),
        ("host ls", of::<Vec<view::HostView>>()),
        ("host show, cordon, uncordon, evict, ban", of::<view::HostView>()),
        ("host drain: each line but the last", of::<view::HostView>()),
        ("host drain: the last line", of::<DrainOutcome>()),
        ("host recover", of::<view::RecoveryView>()),
        ("host label", of::<std::collections::BTreeMap<String, String>>()),
        // Of one service the document, of several a list.
        ("plan", either([of::<view::PreviewView>(), of::<Vec<view::PreviewView>>()])),
        ("ps", of::<Vec<PsView>>()),
        ("quarantine ls, clear", of::<Vec<view::QuarantineView>>()),
        ("deploy, rollback, restart, rollout watch: each line but the last", of::<view::RolloutView>()),
        ("deploy, rollback, restart, rollout watch: the last line", of::<Outcome>()),
        ("deploy: the line before, where services were not submitted", of::<Skipped>()),
        ("scale, stop, rm: each line but the last", of::<view::StatusView>()),
        ("scale, stop, rm: the last line", of::<ServiceOutcome>()),
        ("rollout ls", of::<Vec<view::RolloutView>>()),
        ("rollout show, pause, resume, approve, promote, abort", of::<view::RolloutView>()),
        ("routes", of::<Vec<view::RoutesView>>()),
        ("routes forget", of::<Forgotten>()),
        ("explain", of::<view::ExplainView>()),
        ("explain --recompute", of::<view::RecomputedView>()),
        ("status", of::<Vec<view::StatusView>>()),
        ("status SERVICE", of::<view::StatusView>()),
        ("release ls", of::<Vec<view::ReleaseView>>()),
        ("release show, sign, verify", of::<ReleaseDocument>()),
        ("release diff", of::<Vec<diff::Change>>()),
        ("logs: each line", of::<LogLineView>()),
        ("events: each line", of::<view::EventView>()),
        ("top", of::<Snapshot>()),
        ("operator invite", of::<OperatorTokenView>()),
        ("operator join, recover", of::<OperatorJoined>()),
        ("operator ls", of::<Vec<view::OperatorView>>()),
        ("operator revoke", of::<view::OperatorView>()),
        ("trust add-key, remove-key, rotate, renew", of::<ChangeView>()),
        ("trust revoke, revoked", of::<RevocationsView>()),
        ("trust show", trust_document()),
        ("trust sign", trust_result(&["version", "digest", "signatures", "complete"], &["version"])),
        ("trust publish", trust_result(&["state", "version", "digest", "expired"], &["version"])),
        ("trust verify", trust_result(&["ok", "version", "digest"], &["ok", "version", "digest"])),
        ("audit ls", of::<AuditListView>()),
        ("audit verify", of::<AuditView>()),
        ("audit accept", json!({ "type": "object", "properties": { "accepted": { "type": "object" } } })),
        ("version", of::<VersionView>()),
        ("import compose", of::<Imported>()),
        ("render", json!({ "type": "array", "items": rendered() })),
        ("every command: an error, on stderr", of::<Report>()),
    ];
    Value::Object(commands.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect::<Map<_, _>>())
}

/// One of two schemas, with what both refer to at the top, where a reference looks for it.
fn either(mut schemas: [Value; 2]) -> Value {
    let parts = schemas.iter_mut().filter_map(|one| one.as_object_mut()?.remove("$defs"));
    let defs: Map<String, Value> = parts
        .filter_map(|part| if let Value::Object(part) = part { Some(part) } else { None })
        .flatten()
        .collect();
    json!({ "oneOf": schemas, "$defs": defs })
}

/// A trust document: a formats.md document, of which the top is described here.
fn trust_document() -> Value {
    json_schema!({
        "type": "object",
        "properties": {
            "fleet": { "type": "string" }, "version": { "type": "integer" }, "epoch": { "type": "integer" },
            "created_at": { "type": "string" }, "expires_at": { "type": "string" },
            "root": { "type": "object" }, "roles": { "type": "object" }, "hosts": { "type": "object" },
            "ca": { "type": "array" }, "coordinators": { "type": "array" }, "floors": { "type": "object" },
            "revoked": { "type": "object" },
        },
        "required": ["fleet", "version", "epoch", "created_at", "expires_at", "root", "roles", "ca", "coordinators"],
    })
    .to_value()
}

/// A finished manifest.
fn rendered() -> Value {
    let text = json!({ "type": "string" });
    json!({ "type": "object", "properties": {
        "service": text, "environment": text, "warnings": { "type": "array", "items": text }, "values": { "type": "array" },
    } })
}

/// The result of a command on a trust document or a revocation list; `always` there are the fields of both.
fn trust_result(fields: &[&str], always: &[&str]) -> Value {
    let of = |field: &str| match field {
        "ok" | "complete" => json!({ "type": "boolean" }),
        "digest" | "state" | "expired" => json!({ "type": "string" }),
        _ => json!({ "type": "integer" }),
    };
    let properties: Map<String, Value> =
        fields.iter().map(|field| ((*field).to_owned(), of(field))).collect();
    json!({ "type": "object", "properties": properties, "required": always })
}

/// A finished manifest, as `render -o json` prints it.
#[derive(Debug, Serialize)]
struct RenderedView {
    service: ServiceName,
    environment: EnvironmentId,
    warnings: Vec<String>,
    values: Vec<Leaf>,
}

pub(super) fn render(args: &RenderArgs, global: &Global, printer: &Printer) -> Result<Exit, CtlError> {
    // Works without a fleet too: then the environment is `default`.
    let environment = match Context::load(global) {
        Ok(context) => context.environment(),
        Err(_) => crate::context::environment(global),
    };
    let (documents, _) = Manifests::load(&args.manifest, &environment)?.into_parts();
    let origins = if args.plain { Origins::Hidden } else { Origins::Shown };
    let views: Vec<RenderedView> = documents
        .iter()
        .map(|rendered| RenderedView {
            service: rendered.service.clone(),
            environment: rendered.environment.clone(),
            warnings: rendered.warnings.iter().map(ToString::to_string).collect(),
            values: rendered.leaves(),
        })
        .collect();
    for warning in views.iter().flat_map(|view| &view.warnings) {
        printer.note(&format!("warning: {warning}"));
    }
    let yaml = || documents.iter().map(|rendered| rendered.yaml(origins)).collect::<Vec<_>>().join("---\n");
    printer.document(&views, |_| yaml());
    Ok(Exit::Done)
}

/// Prints the manual, or writes a page for each command.
pub(super) fn man(args: &ManArgs, printer: &Printer) -> Result<Exit, CtlError> {
    only_text("man", printer)?;
    if let Some(folder) = &args.out {
        let failed = |source| DocumentError::Write { path: folder.clone(), source };
        std::fs::create_dir_all(folder).map_err(failed)?;
        clap_mangen::generate_to(Cli::command(), folder).map_err(failed)?;
        printer.note(&format!("wrote manual pages to {}", folder.display()));
        return Ok(Exit::Done);
    }
    let mut page = Vec::new();
    let rendered = clap_mangen::Man::new(Cli::command()).render(&mut page);
    debug_assert!(rendered.is_ok(), "memory takes everything");
    printer.text(&String::from_utf8_lossy(&page));
    Ok(Exit::Done)
}

/// Refuses `-o json` and `-o yaml` where a command prints text that has only one form.
pub(super) fn only_text(command: &str, printer: &Printer) -> Result<(), CtlError> {
    if printer.is_structured() {
        return Err(CtlError::Usage {
            message: format!("`{command}` prints text only, not JSON or YAML"),
            hint: "leave `-o` out".to_owned(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Commands whose result is a text, or that follow others.
    const TEXT: [&str; 5] = ["completions", "man", "dev", "dev restart", "schema"];

    fn leaves(command: &clap::Command, path: &str, found: &mut BTreeSet<String>) {
        let subs: Vec<_> = command.get_subcommands().filter(|sub| !sub.is_hide_set()).collect();
        if subs.is_empty() || !command.is_arg_required_else_help_set() && !path.is_empty() {
            found.insert(path.to_owned());
        }
        for sub in subs {
            leaves(sub, format!("{path} {}", sub.get_name()).trim_start(), found);
        }
    }

    /// `host show, cordon: each line` names `host show` and `host cordon`.
    fn named(row: &str, known: &BTreeSet<String>) -> Vec<String> {
        let words = row.split(':').next().unwrap_or_default();
        let mut group = String::new();
        let name = |item: &str| {
            let item: Vec<&str> = item
                .split(' ')
                .filter(|w| w.chars().all(|c| c.is_lowercase() || c == '-') && !w.starts_with('-'))
                .collect();
            let item = item.join(" ");
            if let Some((before, _)) = item.rsplit_once(' ') {
                group = before.to_owned();
            }
            let grouped = format!("{group} {item}");
            if known.contains(&grouped) { grouped } else { item }
        };
        words.split(", ").map(name).collect()
    }

    /// Every name of version 0.1 that `schema` calls deprecated, with the name in its text.
    fn deprecated(schema: &Value, found: &mut BTreeSet<(String, String)>) {
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            let old = properties.iter().filter(|(_, of)| of.get("deprecated") == Some(&json!(true)));
            for (old, of) in old {
                let text = of["description"].as_str().unwrap_or_default();
                let new = text.split('`').nth(1).unwrap_or_default();
                assert!(properties.contains_key(new), "`{old}` has no successor beside it: {text}");
                found.insert((old.clone(), new.to_owned()));
            }
        }
        match schema {
            Value::Object(map) => map.values().for_each(|below| deprecated(below, found)),
            Value::Array(items) => items.iter().for_each(|below| deprecated(below, found)),
            _ => {}
        }
    }

    #[test]
    fn names_of_the_version_before_are_still_printed() {
        let mut found = BTreeSet::new();
        deprecated(&outputs(), &mut found);
        for (old, new) in [
            ("wanted", "desired"),
            ("in_doubt", "unknown"),
            ("leaving", "terminating"),
            ("id", "instance"),
            ("name", "host"),
            ("problems", "host_conditions"),
            ("made_from", "inputs"),
            ("left_out", "omitted"),
        ] {
            assert!(found.contains(&(old.to_owned(), new.to_owned())), "`{old}`, now `{new}`: {found:?}");
        }
    }

    /// Every reference below `schema`.
    fn references<'a>(schema: &'a Value, found: &mut BTreeSet<&'a str>) {
        found.extend(schema.get("$ref").and_then(Value::as_str));
        match schema {
            Value::Object(map) => map.values().for_each(|below| references(below, found)),
            Value::Array(items) => items.iter().for_each(|below| references(below, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_of_a_schema_resolves() {
        let mut count = 0;
        for (name, schema) in outputs().as_object().unwrap() {
            let mut found = BTreeSet::new();
            references(schema, &mut found);
            count += found.len();
            let is_lost = |text: &&str| schema.pointer(text.trim_start_matches('#')).is_none();
            let lost: Vec<&str> = found.into_iter().filter(is_lost).collect();
            assert!(lost.is_empty(), "{name}: {lost:?}");
        }
        assert!(count > 50, "{count}");
    }

    #[test]
    fn what_is_left_out_of_a_result_is_not_required() {
        let rows = outputs();
        let required =
            |row: &str| rows[row]["required"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        for (row, name) in [
            ("deploy, rollback, restart, rollout watch: the last line", "hooks"),
            ("logs: each line", "cut"),
            ("every command: an error, on stderr", "problems"),
        ] {
            let required: BTreeSet<&str> = required(row);
            assert!(!required.is_empty() && !required.contains(name), "{row}: {required:?}");
        }
    }

    #[test]
    fn the_schema_of_results_has_every_command() {
        let mut known = BTreeSet::new();
        leaves(&Cli::command(), "", &mut known);
        let rows = outputs();
        let rows: Vec<&String> = rows.as_object().unwrap().keys().collect();
        let named: BTreeSet<String> = rows.iter().flat_map(|row| named(row, &known)).collect();
        let missing: Vec<&String> =
            known.iter().filter(|path| !named.contains(*path) && !TEXT.contains(&path.as_str())).collect();
        assert!(known.len() > 50 && missing.is_empty(), "{missing:?}");
    }
}
