//! Step 6 for what a release asks of instances and hosts: every number, text and list is bounded.

use std::collections::BTreeMap;

use crate::observation::Refusal;
use crate::release::{
    Expect, HostAsk, HostCheck, MAX_ADDRESS, MAX_AFTER, MAX_ASKS, MAX_BODY, MAX_FILES, MAX_HEADERS,
    MAX_PAUSE, MAX_POINTERS, MAX_TIMEOUT, MAX_TIMES, MAX_TRIES, MAX_WANTED, Request, Spec, host_and_port,
    is_header, is_method, is_path_below, is_pointer, is_request_path, plain_url,
};
use crate::units::Span;

use super::malformed::ensure;

/// Warm-up requests, smoke tests and checks that make sense.
pub(super) fn check(spec: &Spec) -> Result<(), Refusal> {
    ensure(spec.warm_up.len() <= MAX_ASKS, "`warm_up` has more than 16 requests")?;
    ensure(spec.smoke.len() <= MAX_ASKS, "`smoke` has more than 16 requests")?;
    ensure(spec.checks.len() <= MAX_ASKS, "`checks` has more than 16 entries")?;
    for warm_up in &spec.warm_up {
        request(spec, &warm_up.request)?;
        ensure((1..=MAX_TIMES).contains(&warm_up.times), "`warm_up` is sent 0 times or too often")?;
        ensure(is_timeout(warm_up.timeout), "`warm_up` has a time that is 0 or too long")?;
    }
    for smoke in &spec.smoke {
        request(spec, &smoke.request)?;
        expect(&smoke.expect)?;
        ensure((1..=MAX_TRIES).contains(&smoke.tries), "`smoke` is tried 0 times or too often")?;
        let after = smoke.after.unwrap_or(Span::ZERO);
        ensure(
            is_timeout(smoke.timeout) && smoke.every <= MAX_PAUSE && after <= MAX_AFTER,
            "`smoke` has a time that is 0 or too long",
        )?;
    }
    spec.checks.iter().try_for_each(|check| host_check(spec, check))
}

fn is_timeout(span: Span) -> bool {
    !span.is_zero() && span <= MAX_TIMEOUT
}

fn request(spec: &Spec, request: &Request) -> Result<(), Refusal> {
    ensure(is_request_path(&request.path), "a request of `warm_up` or `smoke` has a bad path")?;
    ensure(
        spec.ports.contains_key(&request.port),
        "a request of `warm_up` or `smoke` names an unknown port",
    )?;
    ensure(is_method(&request.method), "a request of `warm_up` or `smoke` has no method")?;
    headers(&request.headers)?;
    ensure(request.body.len() <= MAX_BODY, "a request of `warm_up` or `smoke` has a body above 64KiB")
}

fn headers(headers: &BTreeMap<String, String>) -> Result<(), Refusal> {
    let good = headers.len() <= MAX_HEADERS && headers.iter().all(|(name, value)| is_header(name, value));
    ensure(good, "`headers` of a request or answer are too many, or not headers")
}

fn expect(expect: &Expect) -> Result<(), Refusal> {
    statuses(&expect.status)?;
    headers(&expect.headers)?;
    let body = expect.body.as_ref().is_none_or(|body| body.len() <= MAX_BODY);
    ensure(body, "`expect.body` is above 64KiB")?;
    let value = |value: &serde_json::Value| {
        !value.is_object() && !value.is_array() && value.to_string().len() <= MAX_WANTED
    };
    let json = expect.json.len() <= MAX_POINTERS
        && expect.json.iter().all(|(pointer, wanted)| is_pointer(pointer) && value(wanted));
    ensure(json, "`expect.json` is not at most 32 JSON pointers with plain values")?;
    ensure(expect.within.is_none_or(is_timeout), "`expect.within` is 0 or too long")
}

fn statuses(statuses: &[u16]) -> Result<(), Refusal> {
    let good = statuses.len() <= MAX_ASKS && statuses.iter().all(|status| (100..=599).contains(status));
    ensure(good, "`status` is not at most 16 states from 100 to 599")
}

fn host_check(spec: &Spec, check: &HostCheck) -> Result<(), Refusal> {
    let named = (1..=MAX_ADDRESS).contains(&check.name.len()) && !check.name.chars().any(char::is_control);
    ensure(named && is_timeout(check.timeout), "`checks` has an entry without a name or with a bad time")?;
    match &check.ask {
        HostAsk::Tcp { address } | HostAsk::Postgres { address } | HostAsk::Redis { address } => {
            ensure(host_and_port(address).is_some(), "`checks` has an address that is not `host:port`")
        }
        HostAsk::Http { url, status } => {
            ensure(plain_url(url).is_some(), "`checks` has a URL that is not `http://host[:port]/path`")?;
            statuses(status)
        }
        HostAsk::FilesExist { volume, paths } => {
            ensure(
                spec.volumes.contains_key(volume),
                "`checks` looks for files in a volume that is not there",
            )?;
            let good = (1..=MAX_FILES).contains(&paths.len()) && paths.iter().all(|path| is_path_below(path));
            ensure(good, "`checks` has no 1 to 64 paths of files below their volume")
        }
    }
}
