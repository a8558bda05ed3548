//! Warm-up requests, smoke tests and checks of a host.

use std::time::Duration;

use crate::manifest::closest::closest;
use crate::manifest::lower;
use crate::manifest::model::{Check, Manifest};
use crate::release::{
    self, HostAsk, MAX_ADDRESS, MAX_AFTER, MAX_ASKS, MAX_FILES, MAX_PAUSE, MAX_TIMEOUT, MAX_TIMES, MAX_TRIES,
    Request, host_and_port, is_path_below, is_request_path, url,
};
use crate::time::display_duration;
use crate::units::Span;

use super::Findings;
use super::request::Place;

pub(super) fn check(manifest: &Manifest, findings: &mut Findings<'_>) {
    for (key, count) in [
        ("warm_up", manifest.warm_up.len()),
        ("smoke", manifest.smoke.len()),
        ("checks", manifest.checks.len()),
    ] {
        if count > MAX_ASKS {
            findings.error(&[key], format!("has more than {MAX_ASKS} entries"), "");
        }
    }
    let (warm_up, smoke) = (lower::warm_up(manifest), lower::smoke(manifest));
    for (index, warm_up) in warm_up.iter().enumerate() {
        let mut at = Place { key: "warm_up", index: index.to_string(), manifest, findings: &mut *findings };
        at.request(&warm_up.request);
        at.count("times", warm_up.times, MAX_TIMES);
        at.time("timeout", warm_up.timeout, MAX_TIMEOUT);
    }
    for (index, smoke) in smoke.iter().enumerate() {
        let mut at = Place { key: "smoke", index: index.to_string(), manifest, findings: &mut *findings };
        at.request(&smoke.request);
        at.expect(&smoke.expect);
        at.count("tries", smoke.tries, MAX_TRIES);
        at.time("timeout", smoke.timeout, MAX_TIMEOUT);
        at.time("every", smoke.every, MAX_PAUSE);
        at.after(smoke);
    }
    patience(manifest, &warm_up, &smoke, findings);
    for (index, (written, lowered)) in manifest.checks.iter().zip(lower::checks(manifest)).enumerate() {
        let mut at = Place { key: "checks", index: index.to_string(), manifest, findings: &mut *findings };
        at.check(written, &lowered);
    }
}

impl Place<'_, '_> {
    fn request(&mut self, request: &Request) {
        if !is_request_path(&request.path) {
            self.error(&["http"], "is not the path of a request", "begins with `/`, like `/health`");
        }
        let ports = || self.manifest.ports.keys().map(String::as_str);
        if self.manifest.ports.is_empty() {
            self.error(&[], "asks a port, and the service has none", "`ports: { http: 3001 }`");
        } else if !self.manifest.ports.contains_key(&request.port) {
            let called = self.manifest.port_called(&request.port);
            let called = called.map(|name| format!("a port goes by its name: `port: {name}`"));
            let near = || closest(&request.port, ports()).map(|near| format!("did you mean `{near}`?"));
            let near = called.or_else(near);
            let hint =
                near.unwrap_or_else(|| format!("known ports: {}", ports().collect::<Vec<_>>().join(", ")));
            let shown: String = request.port.chars().take(63).collect();
            self.error(&["port"], format!("there is no port `{shown}`"), &hint);
        }
        self.message(&request.method, &request.headers, &request.body);
        self.tls(request.tls.as_ref(), false);
    }

    fn count(&mut self, field: &str, count: u32, most: u32) {
        if !(1..=most).contains(&count) {
            self.error(&[field], format!("must be from 1 to {most}"), "");
        }
    }

    fn time(&mut self, field: &str, span: Span, most: Span) {
        self.time_at(&[field], span, most);
    }

    /// A verdict that came after the end of the rollout would decide nothing.
    fn after(&mut self, smoke: &release::Smoke) {
        let Some(after) = smoke.after else { return };
        if after > MAX_AFTER {
            return self.error(&["after"], format!("must be at most {MAX_AFTER}"), "");
        }
        let latest = after.duration().saturating_add(smoke.longest().duration());
        let strategy = lower::strategy(self.manifest);
        let min_ready = strategy.min_ready().duration();
        let soak = strategy.soak(self.manifest.soak);
        let watched = soak.duration().saturating_add(min_ready);
        let key = if soak == self.manifest.soak { "soak" } else { "watch" };
        if latest > watched {
            let reason = format!(
                "with its tries it may take until {} after the instance became healthy, and the watch ends after {} \
                 (`{key}` and `min_ready`)",
                display_duration(latest),
                display_duration(watched)
            );
            let needed = Duration::from_secs(latest.saturating_sub(min_ready).as_secs() + 1);
            let hint = format!("make `{key}` longer: `{key}: {}`", display_duration(needed));
            self.error(&["after"], reason, &hint);
        }
    }

    fn check(&mut self, written: &Check, lowered: &release::HostCheck) {
        match written.asks().as_slice() {
            [_] => {}
            [] => {
                let hint = "one of `tcp: host:port`, `http: http://host/path`, `postgres: host:port`, `redis: host:port`, `files_exist: { volume: …, paths: […] }`";
                return self.error(&[], "checks nothing", hint);
            }
            several => {
                let list = several.iter().map(|(key, _)| *key).collect::<Vec<_>>().join(" and ");
                return self.error(&[], format!("checks {list} at once"), "an entry each");
            }
        }
        let key = written.asks().first().map_or("tcp", |(key, _)| key);
        if key != "http" && (written.is_close() || written.expect.is_some()) {
            let keys = ["method", "headers", "body", "tls", "expect"];
            let there = [
                written.method.is_some(),
                !written.headers.is_empty(),
                written.body.is_some(),
                written.tls.is_some(),
                written.expect.is_some(),
            ];
            let named = keys.iter().zip(there).find(|(_, there)| *there).map_or("expect", |(key, _)| key);
            self.error(&[named], "goes with `http` only", "");
        }
        match &lowered.ask {
            HostAsk::Http { url, status } => {
                self.url(key, url, false);
                self.statuses(status);
            }
            HostAsk::Request(request) => {
                self.url(key, &request.url, request.tls.is_some());
                self.message(&request.method, &request.headers, &request.body);
                self.tls(request.tls.as_ref(), true);
                self.expect(&request.expect);
            }
            HostAsk::Tcp { address } | HostAsk::Postgres { address } | HostAsk::Redis { address } => {
                if host_and_port(address).is_none() {
                    self.error(&[key], "is not `host:port`", "like `db.internal:5432`, or `[::1]:5432`");
                }
            }
            HostAsk::FilesExist { volume, paths } => self.files(volume, paths),
        }
        let name = &lowered.name;
        if name.is_empty() || name.len() > MAX_ADDRESS || name.chars().any(char::is_control) {
            self.error(&["name"], format!("is not text of 1 to {MAX_ADDRESS} bytes in one line"), "");
        }
        self.time("timeout", lowered.timeout, MAX_TIMEOUT);
    }
}

impl Place<'_, '_> {
    fn url(&mut self, key: &str, text: &str, has_tls: bool) {
        match url(text) {
            None => {
                let hint = "like `http://feed.internal:8080/health` or `https://feed.internal/health`";
                self.error(&[key], "is not a URL that can be asked", hint);
            }
            Some(url) if has_tls && !url.is_https => {
                self.error(&["tls"], "goes with a URL that begins with `https://`", "");
            }
            Some(_) => {}
        }
    }

    fn files(&mut self, volume: &str, paths: &[String]) {
        let volumes = || self.manifest.volumes.keys().map(String::as_str);
        if !self.manifest.volumes.contains_key(volume) {
            let near = closest(volume, volumes()).map(|near| format!("did you mean `{near}`?"));
            let hint = near.unwrap_or_else(|| "the name of one of `volumes`".to_owned());
            let shown: String = volume.chars().take(63).collect();
            self.error(&["files_exist", "volume"], format!("there is no volume `{shown}`"), &hint);
        }
        if !(1..=MAX_FILES).contains(&paths.len()) {
            self.error(&["files_exist", "paths"], format!("must be 1 to {MAX_FILES} paths"), "");
        }
        for (at, _) in paths.iter().enumerate().filter(|(_, path)| !is_path_below(path)).take(MAX_FILES) {
            let hint = "below the volume, like `bert.bin` or `gpt/weights.onnx`";
            self.error(&["files_exist", "paths", &at.to_string()], "is not the path of a file", hint);
        }
    }
}

/// A rollout that gives up before an instance can count would never succeed.
fn patience(
    manifest: &Manifest,
    warm_up: &[release::WarmUp],
    smoke: &[release::Smoke],
    findings: &mut Findings<'_>,
) {
    let warming = warm_up.iter().map(|warm_up| warm_up.timeout.duration());
    let testing = smoke.iter().filter(|smoke| smoke.after.is_none()).map(|smoke| smoke.longest().duration());
    let whole = warming.chain(testing).fold(Duration::ZERO, Duration::saturating_add);
    if whole >= manifest.progress_deadline.duration() {
        let reason = format!(
            "is not longer than the {} that `warm_up` and `smoke` may take together",
            display_duration(whole)
        );
        findings.error(&["progress_deadline"], reason, "make it longer, or try less often");
    }
}
