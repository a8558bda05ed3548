//! Warm-up requests, smoke tests and checks of a host.

use std::time::Duration;

use crate::manifest::closest::closest;
use crate::manifest::lower;
use crate::manifest::model::{Check, Manifest};
use crate::release::{
    self, HostAsk, MAX_ADDRESS, MAX_AFTER, MAX_ASKS, MAX_BODY, MAX_FILES, MAX_HEADERS, MAX_PAUSE,
    MAX_POINTERS, MAX_TIMEOUT, MAX_TIMES, MAX_TRIES, MAX_WANTED, Request, host_and_port, is_header,
    is_method, is_path_below, is_pointer, is_request_path, plain_url,
};
use crate::time::display_duration;
use crate::units::Span;

use super::Findings;

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

/// An entry of one of the lists.
struct Place<'p, 'a> {
    key: &'static str,
    index: String,
    manifest: &'p Manifest,
    findings: &'p mut Findings<'a>,
}

impl Place<'_, '_> {
    fn error(&mut self, below: &[&str], reason: impl Into<String>, hint: &str) {
        let path: Vec<&str> = [self.key, &self.index].into_iter().chain(below.iter().copied()).collect();
        self.findings.error(&path, reason, hint);
    }

    fn request(&mut self, request: &Request) {
        if !is_request_path(&request.path) {
            self.error(&["http"], "is not the path of a request", "begins with `/`, like `/health`");
        }
        let ports = || self.manifest.ports.keys().map(String::as_str);
        if self.manifest.ports.is_empty() {
            self.error(&[], "asks a port, and the service has none", "`ports: { http: 3001 }`");
        } else if !self.manifest.ports.contains_key(&request.port) {
            let near = closest(&request.port, ports()).map(|near| format!("did you mean `{near}`?"));
            let hint =
                near.unwrap_or_else(|| format!("known ports: {}", ports().collect::<Vec<_>>().join(", ")));
            let shown: String = request.port.chars().take(63).collect();
            self.error(&["port"], format!("there is no port `{shown}`"), &hint);
        }
        if !is_method(&request.method) {
            self.error(&["method"], "is not the method of a request", "like `GET` or `POST`");
        }
        self.headers(&["headers"], &request.headers);
        if request.body.len() > MAX_BODY {
            self.error(&["body"], format!("has more than {MAX_BODY} bytes"), "");
        }
    }

    fn headers(&mut self, at: &[&str], headers: &std::collections::BTreeMap<String, String>) {
        if headers.len() > MAX_HEADERS {
            self.error(at, format!("has more than {MAX_HEADERS} entries"), "");
        }
        for (name, _) in headers.iter().filter(|(name, value)| !is_header(name, value)).take(MAX_HEADERS) {
            let path: Vec<&str> = at.iter().copied().chain([name.as_str()]).collect();
            let hint = "visible ASCII, at most 4 KiB; length, encoding and connection are not the author's";
            self.error(&path, "is not a header that can be sent", hint);
        }
    }

    fn expect(&mut self, expect: &release::Expect) {
        self.statuses(&expect.status);
        self.headers(&["expect", "headers"], &expect.headers);
        if expect.body.as_ref().is_some_and(|body| body.len() > MAX_BODY) {
            self.error(&["expect", "body"], format!("has more than {MAX_BODY} bytes"), "");
        }
        if expect.json.len() > MAX_POINTERS {
            self.error(&["expect", "json"], format!("has more than {MAX_POINTERS} entries"), "");
        }
        for (pointer, wanted) in &expect.json {
            let path = ["expect", "json", pointer.as_str()];
            if !is_pointer(pointer) {
                self.error(
                    &path,
                    "is not a JSON pointer",
                    "begins with `/`, like `/database` or `/checks/0/ok`",
                );
            } else if wanted.to_string().len() > MAX_WANTED {
                self.error(&path, format!("has more than {MAX_WANTED} bytes"), "");
            }
        }
        if let Some(within) = expect.within {
            self.time_at(&["expect", "within"], within, MAX_TIMEOUT);
        }
    }

    fn statuses(&mut self, statuses: &[u16]) {
        if statuses.len() > MAX_ASKS || statuses.iter().any(|status| !(100..=599).contains(status)) {
            let reason = format!("is not a status from 100 to 599, or more than {MAX_ASKS} of them");
            self.error(&["expect", "status"], reason, "like `200` or `[200, 204]`");
        }
    }

    fn count(&mut self, field: &str, count: u32, most: u32) {
        if !(1..=most).contains(&count) {
            self.error(&[field], format!("must be from 1 to {most}"), "");
        }
    }

    fn time(&mut self, field: &str, span: Span, most: Span) {
        self.time_at(&[field], span, most);
    }

    fn time_at(&mut self, at: &[&str], span: Span, most: Span) {
        if span < Span::from_millis(1) || span > most {
            self.error(at, format!("must be from 1ms to {most}"), "");
        }
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
        if written.expect.is_some() && key != "http" {
            self.error(&["expect"], "goes with `http` only", "");
        }
        match &lowered.ask {
            HostAsk::Http { url, status } => {
                if plain_url(url).is_none() {
                    let hint = if url.starts_with("https://") {
                        "TLS is not spoken here; `tcp: host:443` asks whether it can be reached"
                    } else {
                        "like `http://feed.internal:8080/health`"
                    };
                    self.error(&[key], "is not a URL that can be asked", hint);
                }
                self.statuses(status);
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
