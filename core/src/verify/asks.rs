//! Step 6 for what a release asks of instances and hosts: every number, text and list is bounded.

use std::collections::BTreeMap;

use crate::observation::Refusal;
use crate::release::{
    AskedRequest, Expect, HostAsk, HostCheck, MAX_ADDRESS, MAX_AFTER, MAX_ASKS, MAX_BODY, MAX_FILES,
    MAX_HEADERS, MAX_PAUSE, MAX_POINTERS, MAX_TIMEOUT, MAX_TIMES, MAX_TRIES, MAX_WANTED, Request, Spec,
    StatusRange, Tls, UrlRequest, host_and_port, is_header, is_method, is_path_below, is_pointer,
    is_request_path, url,
};
use crate::units::Span;

use super::malformed::{ensure, malformed};

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

/// The request of a probe, and the answer that it wants.
pub(super) fn asked(spec: &Spec, asked: &AskedRequest) -> Result<(), Refusal> {
    request(spec, &asked.request)?;
    expect(&asked.expect)
}

fn request(spec: &Spec, request: &Request) -> Result<(), Refusal> {
    ensure(is_request_path(&request.path), "a request has a bad path")?;
    ensure(spec.ports.contains_key(&request.port), "a request names an unknown port")?;
    message(&request.method, &request.headers, &request.body)?;
    tls(request.tls.as_ref(), false)
}

fn message(method: &str, headers: &BTreeMap<String, String>, body: &str) -> Result<(), Refusal> {
    ensure(is_method(method), "a request has no method")?;
    self::headers(headers)?;
    ensure(body.len() <= MAX_BODY, "a request has a body above 64KiB")
}

fn tls(tls: Option<&Tls>, named: bool) -> Result<(), Refusal> {
    let checked = tls.map_or(Ok(()), |tls| tls.check(named));
    checked.map_err(|(key, why)| malformed(format!("`tls.{key}` of a request {why}")))
}

fn url_request(asked: &UrlRequest) -> Result<(), Refusal> {
    let found = url(&asked.url);
    ensure(found.is_some(), "`checks` has a URL that is not `http[s]://host[:port]/path`")?;
    let fits = asked.tls.is_none() || found.is_some_and(|url| url.is_https);
    ensure(fits, "`checks` speaks TLS with a URL that is not `https://`")?;
    message(&asked.method, &asked.headers, &asked.body)?;
    tls(asked.tls.as_ref(), true)?;
    expect(&asked.expect)
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

fn statuses(statuses: &[StatusRange]) -> Result<(), Refusal> {
    let good = statuses.len() <= MAX_ASKS && statuses.iter().all(|status| status.is_good());
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
            let plain = crate::release::url(url).is_some_and(|url| !url.is_https);
            ensure(plain, "`checks` has a URL that is not `http://host[:port]/path`")?;
            statuses(status)
        }
        HostAsk::Request(request) => url_request(request),
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
