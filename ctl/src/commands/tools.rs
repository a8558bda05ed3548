//! `schema`, `render`, `completions`: for editors, shells and scripts.

use clap::CommandFactory as _;
use schemars::{JsonSchema, schema_for};
use serde::Serialize;
use serde_json::{Map, Value};
use windlass_core::manifest::{self, Leaf, Origins};
use windlass_core::{EnvironmentId, ServiceName, diff, view};

use super::audit::{AuditListView, AuditView};
use super::context::ContextView;
use super::drain::DrainOutcome;
use super::host::HostToken;
use super::init::Made;
use super::logs::LogLineView;
use super::operator::{OperatorJoined, OperatorTokenView};
use super::ps::PsView;
use super::release::ReleaseDocument;
use super::trust::{ChangeView, RevocationsView};
use super::version::VersionView;
use crate::args::{Cli, CompletionsArgs, Global, RenderArgs, SchemaArgs};
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
    printer.text(&serde_json::to_string_pretty(&schema).unwrap_or_default());
    Exit::Done
}

/// What each command prints with `-o json`.
fn outputs() -> Value {
    fn of<T: JsonSchema>() -> Value {
        schema_for!(T).to_value()
    }
    let commands = [
        ("init", of::<Made>()),
        ("context ls", of::<Vec<ContextView>>()),
        ("host token", of::<HostToken>()),
        ("host ls", of::<Vec<view::HostView>>()),
        ("host show, cordon, uncordon, evict, ban", of::<view::HostView>()),
        ("host drain: each line but the last", of::<view::HostView>()),
        ("host drain: the last line", of::<DrainOutcome>()),
        ("host recover", of::<view::RecoveryView>()),
        ("host label", of::<std::collections::BTreeMap<String, String>>()),
        ("plan", of::<view::PlanView>()),
        ("ps", of::<Vec<PsView>>()),
        ("quarantine ls, clear", of::<Vec<view::QuarantineView>>()),
        ("deploy, rollback, restart, rollout watch: each line but the last", of::<view::RolloutView>()),
        ("deploy, rollback, restart, rollout watch: the last line", of::<Outcome>()),
        ("deploy: the line before, where services were not submitted", of::<Skipped>()),
        ("scale, stop, rm: each line but the last", of::<view::StatusView>()),
        ("scale, stop, rm: the last line", of::<ServiceOutcome>()),
        ("rollout ls", of::<Vec<view::RolloutView>>()),
        ("rollout show, pause, resume, abort", of::<view::RolloutView>()),
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
        ("operator join", of::<OperatorJoined>()),
        ("operator ls", of::<Vec<view::OperatorView>>()),
        ("operator revoke", of::<view::OperatorView>()),
        ("trust add-key, remove-key, rotate", of::<ChangeView>()),
        ("trust revoke, revoked", of::<RevocationsView>()),
        ("audit ls", of::<AuditListView>()),
        ("audit verify", of::<AuditView>()),
        ("version", of::<VersionView>()),
        ("import compose", of::<Imported>()),
        ("every command: an error, on stderr", of::<Report>()),
    ];
    Value::Object(commands.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect::<Map<_, _>>())
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

pub(super) fn completions(args: &CompletionsArgs, printer: &Printer) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "windlass", &mut script);
    printer.text(&String::from_utf8_lossy(&script));
    Exit::Done
}
