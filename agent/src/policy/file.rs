//! The file as written, and what it means.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ipnet::{IpNet, Ipv4Net};
use serde::Deserialize;
use windlass_certs::files::check_way;
use windlass_core::host::{HostPolicy, Limit, Users};
use windlass_core::network::is_range;
use windlass_core::policy::{normalise_path, normalise_repository};
use windlass_core::{EnvironmentId, Size};

use super::model::{Policy, PolicyError};

const MAX_LEN: u64 = 64 * 1024;
const MAX_ENTRIES: usize = 256;

/// Every key of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    registries: Vec<String>,
    insecure_registries: Option<Vec<String>>,
    labels: Option<BTreeMap<String, String>>,
    environments: Option<Vec<EnvironmentId>>,
    host_ports: Option<BTreeSet<u16>>,
    port_range: Option<String>,
    mounts: Option<Vec<String>>,
    capabilities: Option<Vec<String>>,
    gpus: Option<RawGpus>,
    gpu_reserve: Option<Size>,
    users: Option<Users>,
    exec: Option<bool>,
    max_memory: Option<String>,
    max_image: Option<Size>,
    verify_origin: Option<bool>,
    endpoint_networks: Option<Vec<String>>,
    inner_networks: Option<String>,
    behind_nat: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum RawGpus {
    Count(u32),
    Text(String),
}

/// Reads the file, unless somebody else than root (or the agent's own user) could have written it.
pub(super) fn read(path: &Path) -> Result<String, PolicyError> {
    let failed = |source| PolicyError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(|source| match source.kind() {
        ErrorKind::NotFound => PolicyError::Missing(path.to_owned()),
        _ => failed(source),
    })?;
    check_folders(path)?;
    // Of the file that is open, not of whatever the name means a moment later.
    let meta = file.metadata().map_err(failed)?;
    let me = std::fs::metadata("/proc/self").map_or(0, |meta| meta.uid());
    if ![0, me].contains(&meta.uid()) {
        return Err(PolicyError::Owner { path: path.to_owned(), owner: meta.uid() });
    }
    let mode = meta.mode() & 0o7777;
    if mode & !0o644 != 0 {
        return Err(PolicyError::Mode { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    file.take(MAX_LEN + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() > usize::try_from(MAX_LEN).unwrap_or(usize::MAX) {
        return Err(failed(std::io::Error::new(ErrorKind::FileTooLarge, "longer than any policy")));
    }
    Ok(text)
}

/// The folder of the name, and that of the file where the name is a link.
fn check_folders(path: &Path) -> Result<(), PolicyError> {
    let failed = |source| PolicyError::Read { path: path.to_owned(), source };
    let given = std::path::absolute(path).map_err(failed)?;
    let real = std::fs::canonicalize(path).map_err(failed)?;
    for folder in [&given, &real].into_iter().filter_map(|path| path.parent()) {
        check_way(folder).map_err(|source| PolicyError::Folder { path: path.to_owned(), source })?;
    }
    Ok(())
}

/// Parses a policy. `path` is for the errors.
pub(super) fn parse(path: &Path, text: &str) -> Result<Policy, PolicyError> {
    let raw: Raw = toml::from_str(text)
        .map_err(|source| PolicyError::Malformed { path: path.to_owned(), source: Box::new(source) })?;
    let bad = |key, why: String| PolicyError::Value { path: path.to_owned(), key, why };
    meaning(raw).map_err(|(key, why)| bad(key, why))
}

type Bad = (&'static str, String);

fn meaning(raw: Raw) -> Result<Policy, Bad> {
    let silent = HostPolicy::default();
    let environments = raw.environments.map(BTreeSet::from_iter);
    if environments.as_ref().is_some_and(BTreeSet::is_empty) {
        return Err(("environments", "it is empty; leave it out to serve any".to_owned()));
    }
    let host = HostPolicy {
        registries: prefixes("registries", raw.registries)?,
        insecure_registries: prefixes("insecure_registries", raw.insecure_registries.unwrap_or_default())?,
        environments,
        host_ports: ports(raw.host_ports.unwrap_or_default())?,
        port_range: raw.port_range.map_or(Ok(silent.port_range), |text| range(&text))?,
        mounts: mounts(raw.mounts.unwrap_or_default())?,
        capabilities: capabilities(raw.capabilities.unwrap_or_default())?,
        gpus: raw.gpus.map_or(Ok(None), gpus)?,
        gpu_reserve: raw.gpu_reserve.unwrap_or(silent.gpu_reserve),
        users: raw.users.unwrap_or(silent.users),
        exec: raw.exec.unwrap_or(silent.exec),
        max_memory: raw.max_memory.map_or(Ok(silent.max_memory), |text| limit(&text))?,
        max_image: raw.max_image.unwrap_or(silent.max_image),
        verify_origin: raw.verify_origin.unwrap_or(silent.verify_origin),
        endpoint_networks: raw.endpoint_networks.map(endpoint_networks).transpose()?,
        inner_networks: raw.inner_networks.map_or(Ok(silent.inner_networks), |text| networks(&text))?,
    };
    let behind_nat = raw.behind_nat.unwrap_or(false);
    Ok(Policy { host, labels: raw.labels.map(labels).transpose()?, behind_nat })
}

fn bounded<T>(key: &'static str, list: &[T]) -> Result<(), Bad> {
    if list.len() > MAX_ENTRIES { Err((key, format!("more than {MAX_ENTRIES} entries"))) } else { Ok(()) }
}

fn prefixes(key: &'static str, list: Vec<String>) -> Result<Vec<String>, Bad> {
    bounded(key, &list)?;
    list.iter().map(|text| normalise_repository(text).map_err(|error| (key, error.to_string()))).collect()
}

fn ports(ports: BTreeSet<u16>) -> Result<BTreeSet<u16>, Bad> {
    if ports.contains(&0) { Err(("host_ports", "0 is no port".to_owned())) } else { Ok(ports) }
}

fn range(text: &str) -> Result<(u16, u16), Bad> {
    let bad = || ("port_range", format!("`{text}` is not a range of ports like `20000-29999`"));
    let (first, last) = text.split_once('-').ok_or_else(bad)?;
    let number = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port >= 1024).ok_or_else(bad);
    let (first, last) = (number(first)?, number(last)?);
    if first <= last { Ok((first, last)) } else { Err(bad()) }
}

fn mounts(list: Vec<String>) -> Result<Vec<String>, Bad> {
    bounded("mounts", &list)?;
    list.iter()
        .map(|text| match normalise_path(text) {
            Ok(path) if path != "/" => Ok(path),
            Ok(_) => Err(("mounts", "`/` is the whole machine; name the folders".to_owned())),
            Err(error) => Err(("mounts", error.to_string())),
        })
        .collect()
}

fn capabilities(list: Vec<String>) -> Result<BTreeSet<String>, Bad> {
    bounded("capabilities", &list)?;
    list.into_iter()
        .map(|text| {
            let name = text.to_ascii_uppercase();
            let name = name.strip_prefix("CAP_").unwrap_or(&name).to_owned();
            let named = (1..=64).contains(&name.len())
                && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
            match (named, name.as_str()) {
                (true, "ALL") => Err(("capabilities", "`ALL` cannot be allowed; name them".to_owned())),
                (true, _) => Ok(name),
                (false, _) => Err(("capabilities", format!("`{text}` is no capability"))),
            }
        })
        .collect()
}

fn gpus(raw: RawGpus) -> Result<Option<u32>, Bad> {
    match raw {
        RawGpus::Count(count) => Ok(Some(count)),
        RawGpus::Text(text) if text == "all" => Ok(None),
        RawGpus::Text(text) => Err(("gpus", format!("`{text}` is neither a number nor `all`"))),
    }
}

fn limit(text: &str) -> Result<Limit, Bad> {
    let bad = || ("max_memory", format!("`{text}` is neither a share like `90%` nor a size like `8GiB`"));
    match text.strip_suffix('%') {
        Some(percent) => match percent.parse::<u8>() {
            Ok(percent) if (1..=100).contains(&percent) => Ok(Limit::Percent(percent)),
            Ok(_) | Err(_) => Err(bad()),
        },
        None => text.parse().map(Limit::Bytes).map_err(|_| bad()),
    }
}

fn endpoint_networks(list: Vec<String>) -> Result<Vec<IpNet>, Bad> {
    bounded("endpoint_networks", &list)?;
    let bad =
        |text: &str| ("endpoint_networks", format!("`{text}` is no network like `10.0.0.0/8` or `fd00::/8`"));
    list.iter().map(|text| text.parse().map_err(|_| bad(text))).collect()
}

fn networks(text: &str) -> Result<Ipv4Net, Bad> {
    let range: Option<Ipv4Net> = text.parse().ok();
    range.filter(|range| is_range(*range)).ok_or_else(|| {
        let why = format!("`{text}` is not a private range from /8 to /24 like `10.210.0.0/16`");
        ("inner_networks", why)
    })
}

fn labels(labels: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Bad> {
    let plain = |text: &str, least: usize| {
        (least..=63).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/'))
    };
    if labels.len() > 64 {
        return Err(("labels", "more than 64".to_owned()));
    }
    for (key, value) in &labels {
        if !plain(key, 1) || !plain(value, 0) {
            return Err((
                "labels",
                format!("`{key}={value}` has other characters than letters, digits, `-_./`"),
            ));
        }
        if key.starts_with("windlass.") {
            return Err(("labels", format!("`{key}`: labels that begin with `windlass.` are ours")));
        }
    }
    Ok(labels)
}
