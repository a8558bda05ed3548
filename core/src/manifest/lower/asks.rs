//! Warm-up requests, smoke tests, probes and checks become their signed form.

use std::collections::BTreeMap;

use crate::manifest::defaults::{self, ProbeDefaults};
use crate::manifest::model::{Check, Expect, Manifest, Probe, Smoke, Statuses, Text, Tls, Verify, WarmUp};
use crate::release::{self, AskedRequest, HostAsk, HostCheck, Request, StatusRange, UrlRequest, url};

use super::texts;

/// States that a probe and a check take where nothing is said of them.
const ANSWERED: StatusRange = StatusRange::new(200, 399);

pub(in crate::manifest) fn warm_up(manifest: &Manifest) -> Vec<release::WarmUp> {
    let lower = |warm_up: &WarmUp| release::WarmUp {
        request: Request {
            path: warm_up.http.clone(),
            port: warm_up.port.clone().unwrap_or_default(),
            method: method(warm_up.method.as_ref()),
            headers: texts(&warm_up.headers),
            body: body(warm_up.body.as_ref()),
            tls: warm_up.tls.as_ref().map(|said| tls(said, &warm_up.headers)),
        },
        times: warm_up.times,
        timeout: warm_up.timeout,
    };
    manifest.warm_up.iter().map(lower).collect()
}

pub(in crate::manifest) fn smoke(manifest: &Manifest) -> Vec<release::Smoke> {
    let lower = |smoke: &Smoke| release::Smoke {
        request: Request {
            path: smoke.http.clone(),
            port: smoke.port.clone().unwrap_or_default(),
            method: method(smoke.method.as_ref()),
            headers: texts(&smoke.headers),
            body: body(smoke.body.as_ref()),
            tls: smoke.tls.as_ref().map(|said| tls(said, &smoke.headers)),
        },
        expect: smoke.expect.as_ref().map(expect).unwrap_or_default(),
        timeout: smoke.timeout,
        tries: smoke.tries,
        every: smoke.every,
        after: smoke.after,
    };
    manifest.smoke.iter().map(lower).collect()
}

pub(in crate::manifest) fn checks(manifest: &Manifest) -> Vec<HostCheck> {
    let lower = |check: &Check| {
        let address = |text: &str| text.to_owned();
        let ask = match check.asks().first().copied() {
            Some(("http", text)) if check.is_close() || url(text).is_some_and(|url| url.is_https) => {
                HostAsk::Request(Box::new(UrlRequest {
                    url: text.to_owned(),
                    method: method(check.method.as_ref()),
                    headers: texts(&check.headers),
                    body: body(check.body.as_ref()),
                    tls: check.tls.as_ref().map(|said| tls(said, &check.headers)),
                    expect: answered(check.expect.as_ref()),
                }))
            }
            Some(("http", url)) => {
                let status = check.expect.as_ref().and_then(|expect| expect.status.as_ref());
                let status = status.map(Statuses::list).unwrap_or_default();
                HostAsk::Http { url: url.to_owned(), status }
            }
            Some(("files_exist", volume)) => {
                let paths = check.files_exist.iter().flat_map(|files| files.paths.clone()).collect();
                HostAsk::FilesExist { volume: volume.to_owned(), paths }
            }
            Some(("postgres", to)) => HostAsk::Postgres { address: address(to) },
            Some(("redis", to)) => HostAsk::Redis { address: address(to) },
            Some((_, to)) => HostAsk::Tcp { address: address(to) },
            None => HostAsk::Tcp { address: String::new() },
        };
        let name = check.name.clone().unwrap_or_else(|| ask.to_string());
        HostCheck { name, ask, timeout: check.timeout }
    };
    manifest.checks.iter().map(lower).collect()
}

/// A probe; `defaults` are those of its kind.
pub(in crate::manifest) fn probe(probe: &Probe, defaults: &ProbeDefaults) -> release::Probe {
    let port = || probe.port.clone().unwrap_or_default();
    let check = match (&probe.http, &probe.tcp, &probe.exec) {
        (Some(path), _, _) if probe.keys_of_http().is_empty() => {
            release::Check::Http { path: path.clone(), port: port() }
        }
        (Some(path), _, _) => release::Check::Request(Box::new(AskedRequest {
            request: Request {
                path: path.clone(),
                port: port(),
                method: method(probe.method.as_ref()),
                headers: texts(&probe.headers),
                body: body(probe.body.as_ref()),
                tls: probe.tls.as_ref().map(|said| tls(said, &probe.headers)),
            },
            expect: answered(probe.expect.as_ref()),
        })),
        (None, Some(port), _) => release::Check::Tcp { port: port.clone() },
        (None, None, argv) => release::Check::Exec { argv: argv.clone().unwrap_or_default() },
    };
    release::Probe {
        check,
        every: probe.every.unwrap_or(defaults.every),
        timeout: probe.timeout.unwrap_or(defaults.timeout),
        failures: probe.failures.unwrap_or(defaults.failures),
        successes: probe.successes.unwrap_or(defaults.successes),
    }
}

/// The answer that is wanted; where nothing is said of its status, also one that leads elsewhere.
fn answered(said: Option<&Expect>) -> release::Expect {
    let mut wanted = said.map(expect).unwrap_or_default();
    if wanted.status.is_empty() {
        wanted.status.push(ANSWERED);
    }
    wanted
}

/// The name that a certificate has to be for is that of the `Host` header, if nobody says another one.
fn tls(said: &Tls, headers: &BTreeMap<String, Text>) -> release::Tls {
    let host = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host")).map(|(_, host)| &host.0);
    let of_host = || {
        let host = host?;
        let name = host.rsplit_once(':').filter(|(name, _)| !name.ends_with(':') && !host.ends_with(']'));
        let name = name.map_or(host.as_str(), |(name, _)| name);
        Some(name.trim_start_matches('[').trim_end_matches(']').to_owned())
    };
    let unverified = said.verify == Some(Verify::Off);
    release::Tls { name: said.name.clone().or_else(of_host), ca: said.ca.clone(), unverified }
}

fn method(method: Option<&String>) -> String {
    method.map_or_else(|| defaults::METHOD.to_owned(), |method| method.to_ascii_uppercase())
}

fn body(body: Option<&Text>) -> String {
    body.map(|body| body.0.clone()).unwrap_or_default()
}

fn expect(expect: &Expect) -> release::Expect {
    release::Expect {
        status: expect.status.as_ref().map(Statuses::list).unwrap_or_default(),
        headers: texts(&expect.headers),
        body: expect.body.as_ref().map(|body| body.0.clone()),
        json: expect.json.iter().map(|(pointer, wanted)| (pointer.clone(), wanted.0.clone())).collect(),
        within: expect.within,
    }
}
