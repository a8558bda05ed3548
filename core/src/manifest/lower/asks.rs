//! Warm-up requests, smoke tests and checks become their signed form.

use crate::manifest::defaults;
use crate::manifest::model::{Check, Expect, Manifest, Smoke, Statuses, Text, WarmUp};
use crate::release::{self, HostAsk, HostCheck, Request};

use super::texts;

pub(in crate::manifest) fn warm_up(manifest: &Manifest) -> Vec<release::WarmUp> {
    let lower = |warm_up: &WarmUp| release::WarmUp {
        request: Request {
            path: warm_up.http.clone(),
            port: warm_up.port.clone().unwrap_or_default(),
            method: method(warm_up.method.as_ref()),
            headers: texts(&warm_up.headers),
            body: body(warm_up.body.as_ref()),
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
            Some(("http", url)) => {
                let status = check.expect.as_ref().map(|expect| expect.status.list()).unwrap_or_default();
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
