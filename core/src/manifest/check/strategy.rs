//! Checks of the strategy.

mod beside;
mod blue_green;
mod canary;

use crate::manifest::model::{After, Manifest, Port, Replicas, Rolling};
use crate::release::{OnReturn, OrderRule};
use crate::units::{Amount, Span};

use super::Findings;

pub(super) fn check(manifest: &Manifest, findings: &mut Findings<'_>) {
    let strategy = &manifest.strategy;
    let named = [
        ("rolling", strategy.rolling.as_ref().map(|of| of.min_ready)),
        ("recreate", strategy.recreate.as_ref().map(|of| of.min_ready)),
        ("blue_green", strategy.blue_green.as_ref().map(|of| of.min_ready)),
        ("canary", strategy.canary.as_ref().map(|of| of.min_ready)),
    ];
    let named: Vec<_> = named.into_iter().filter_map(|(key, min_ready)| Some((key, min_ready?))).collect();
    if let [(first, _), (second, _), ..] = named[..] {
        let hint = "keep one (in an overlay, set the other to `null`)";
        return findings.error(&["strategy"], format!("names `{first}` and `{second}` at once"), hint);
    }
    if let Some(rolling) = &strategy.rolling {
        amounts(rolling, findings);
        order(rolling, manifest, findings);
    }
    if let Some(blue_green) = &strategy.blue_green {
        blue_green::check(blue_green, manifest, findings);
    }
    if let Some(canary) = &strategy.canary {
        canary::check(canary, manifest, findings);
    }
    let min_ready = named.first().copied();
    if let Some((key, min_ready)) = min_ready
        && min_ready >= manifest.progress_deadline
    {
        let reason =
            format!("is {min_ready}, not shorter than `progress_deadline`, so no instance could ever count");
        findings.error(&["strategy", key, "min_ready"], reason, "");
    }
    times(manifest, findings);
    exclusive(manifest, findings);
}

/// Checks a service that never runs twice: it has one instance, and says when an isolated host stops it.
fn exclusive(manifest: &Manifest, findings: &mut Findings<'_>) {
    if !manifest.exclusive {
        return;
    }
    let one = matches!(manifest.replicas, None | Some(Replicas::Count(1)));
    if manifest.per_host || !one {
        findings.error(
            &["exclusive"],
            "is for a service with one instance",
            "`replicas: 1`, or leave `exclusive` away",
        );
    }
    let on_lost = &manifest.on_lost;
    if on_lost.replace_after != After::Never && on_lost.stop_isolated_after == After::Never {
        findings.error(
            &["on_lost", "replace_after"],
            "cannot be with `exclusive`: a lost host goes on with its instance, which nobody sees",
            "`stop_isolated_after: 1m` has an isolated host stop it; the replacement starts after that",
        );
    }
    if on_lost.on_return == OnReturn::KeepOld {
        let reason = "`keep_old` cannot be with `exclusive`: the replacement would have to stop first";
        findings.error(&["on_lost", "on_return"], reason, "`keep_new`");
    }
    if manifest.strategy.rolling.as_ref().is_some_and(|rolling| rolling.order == OrderRule::StartFirst) {
        let reason = "`start_first` cannot be with `exclusive`: both would run for a while";
        findings.error(&["strategy", "rolling", "order"], reason, "`order: auto`");
    }
}

fn amounts(rolling: &Rolling, findings: &mut Findings<'_>) {
    if is_zero(rolling.batch) {
        findings.error(&["strategy", "rolling", "batch"], "must be at least 1", "");
    }
    if is_zero(rolling.max_surge) && is_zero(rolling.max_unavailable) {
        let reason = "`max_surge` and `max_unavailable` are both 0, so nothing could ever be replaced";
        findings.error(
            &["strategy", "rolling"],
            reason,
            "`max_unavailable: 1` replaces in place, one at a time",
        );
    }
}

fn is_zero(amount: Amount) -> bool {
    matches!(amount, Amount::Count(0) | Amount::Percent(0))
}

/// Two instances on one host cannot hold one host port.
fn order(rolling: &Rolling, manifest: &Manifest, findings: &mut Findings<'_>) {
    let fixed =
        manifest.ports.iter().find(|(_, port)| matches!(port, Port::Fixed(fixed) if fixed.host.is_some()));
    let Some((name, _)) = fixed else { return };
    match rolling.order {
        OrderRule::StartFirst => findings.error(
            &["strategy", "rolling", "order"],
            format!("`start_first` cannot be: port `{name}` has a fixed port of the host, which one container holds"),
            "`order: auto`, or leave the host port to the agent",
        ),
        OrderRule::Auto => findings.warning(
            &["ports", name],
            "has a fixed port of the host, so the old instance stops before the new one starts",
            "`order: stop_first` says so; without `host` the new one starts first",
        ),
        OrderRule::StopFirst => {}
    }
}

fn times(manifest: &Manifest, findings: &mut Findings<'_>) {
    let at_least = |span: Span, millis: u128| span.duration().as_millis() >= millis;
    if !at_least(manifest.progress_deadline, 10_000) {
        findings.error(&["progress_deadline"], "must be at least 10s", "");
    }
    if !at_least(manifest.stop_timeout, 1000) || manifest.stop_timeout > Span::from_secs(3600) {
        findings.error(&["stop_timeout"], "must be from 1s to 1h", "");
    }
}
