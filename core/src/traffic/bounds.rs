//! The bounds of every field of a `routes` payload, and its references.

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Digest;

use super::document::{ROUTES_VERSIONS, RoutedService, Routes};

pub(crate) const MAX_NAMES: usize = 4096;
pub(crate) const MAX_SERVICES: usize = 2048;
pub(crate) const MAX_ENDPOINTS: usize = 16_384;
pub(crate) const MAX_PORTS: usize = 16;
pub(crate) const MAX_RELEASES: usize = 8;
const MAX_MATCHES: usize = 16;
const MAX_HOST: usize = 253;
const MAX_TEXT: usize = 256;

/// A table that cannot be followed, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("routes: {0}")]
pub struct InvalidRoutes(String);

impl Routes {
    /// Checks every bound and every reference.
    ///
    /// # Errors
    /// The first thing that is wrong, in words; texts of the document are cut at 80 characters.
    pub fn check(&self) -> Result<(), InvalidRoutes> {
        if !ROUTES_VERSIONS.contains(&self.version) || self.version < Self::version_for(&self.services) {
            return bad(format!("version {} is not supported", self.version));
        }
        bound("names", self.names.len(), MAX_NAMES)?;
        bound("services", self.services.len(), MAX_SERVICES)?;
        bound("endpoints", self.services.iter().map(|service| service.endpoints.len()).sum(), MAX_ENDPOINTS)?;
        let mut services = BTreeMap::new();
        for service in &self.services {
            if services.insert(&service.service, service).is_some() {
                return bad(format!("service {} stands there twice", service.service));
            }
            service.check().map_err(|why| InvalidRoutes(format!("service {}: {why}", service.service)))?;
        }
        let mut names = BTreeSet::new();
        for name in &self.names {
            let text = format!("{}{}", cut(&name.host), cut(&name.path));
            let service = services.get(&name.service);
            if !is_host(&name.host) || !is_path(&name.path) {
                return bad(format!("{text} is no host name with a path"));
            }
            if !service.is_some_and(|service| service.ports.contains_key(&name.port)) {
                return bad(format!("{text} leads to a port that the table does not have"));
            }
            if !names.insert((&name.host, &name.path)) {
                return bad(format!("{text} stands there twice"));
            }
        }
        Ok(())
    }
}

impl RoutedService {
    fn check(&self) -> Result<(), String> {
        let within = |what, count, most| bound(what, count, most).map_err(|why| why.0);
        within("ports", self.ports.len(), MAX_PORTS)?;
        within("releases", self.releases.len(), MAX_RELEASES)?;
        within("matches", self.matches.len(), MAX_MATCHES)?;
        within("characters of the salt", self.salt.len(), MAX_TEXT)?;
        let weights: Vec<u16> = self.releases.iter().filter_map(|r| Some(r.weight?.permille())).collect();
        let sum: u32 = weights.iter().map(|weight| u32::from(*weight)).sum();
        if !weights.is_empty() && (weights.len() != self.releases.len() || sum != 1000) {
            return Err(format!("its weights sum to {sum} of 1000"));
        }
        let mut probes = self.ports.values().filter_map(|port| port.probe.as_deref());
        if let Some(path) = probes.find(|path| !is_target(path)) {
            return Err(format!("{} is no path to probe", cut(path)));
        }
        let known: BTreeSet<&Digest> = self.releases.iter().map(|share| &share.release).collect();
        if known.len() != self.releases.len() {
            return Err("a release stands there twice".to_owned());
        }
        let mut places = BTreeSet::new();
        for endpoint in &self.endpoints {
            if !known.contains(&endpoint.release) || !self.ports.contains_key(&endpoint.port) {
                return Err("an endpoint has a release or port that the table does not have".to_owned());
            }
            if endpoint.number == 0 || !places.insert((endpoint.address, endpoint.number)) {
                return Err(format!("endpoint {}:{} stands there twice", endpoint.address, endpoint.number));
            }
            if endpoint.stands_by.is_some() && !endpoint.draining {
                return Err("an endpoint that gets requests stands by".to_owned());
            }
        }
        for rule in &self.matches {
            if !known.contains(&rule.release) || !is_match(&rule.name, &rule.value) {
                return Err("a match has no release of the table, or no header or cookie".to_owned());
            }
        }
        Ok(())
    }
}

/// Returns whether a rule may compare a header or cookie of this name with this value.
pub(crate) fn is_match(name: &str, value: &str) -> bool {
    let token = !name.is_empty() && name.bytes().all(is_token);
    token && name.len() <= MAX_TEXT && value.len() <= MAX_TEXT && !value.chars().any(char::is_control)
}

fn bad<T>(why: String) -> Result<T, InvalidRoutes> {
    Err(InvalidRoutes(why))
}

fn bound(what: &str, count: usize, most: usize) -> Result<(), InvalidRoutes> {
    if count <= most { Ok(()) } else { bad(format!("{count} {what}, at most {most} are allowed")) }
}

fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

/// A byte of a token as RFC 9110, section 5.6.2 has it.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// Returns whether `host` is a name in lower case, perhaps with `*.` before it.
pub(crate) fn is_host(host: &str) -> bool {
    let plain = host.strip_prefix("*.").unwrap_or(host);
    let label = |label: &str| {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        !label.is_empty() && label.len() <= 63 && label.bytes().all(fits)
    };
    host.len() <= MAX_HOST && plain.split('.').all(label)
}

/// The target of a request in origin form (RFC 9112, section 3.2.1): nothing that would end its line.
fn is_target(path: &str) -> bool {
    path.starts_with('/')
        && path.len() <= 2 * MAX_TEXT
        && path.bytes().all(|b| b.is_ascii_graphic() && b != b'#')
}

/// Returns whether `path` is a prefix that requests can have.
pub(crate) fn is_path(path: &str) -> bool {
    let fits = |b: u8| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'%' | b'\\');
    let segments = || path.split('/').skip(1);
    let clean = segments().all(|segment| segment != "." && segment != "..");
    path.starts_with('/') && path.len() <= MAX_TEXT && path.bytes().all(fits) && clean && !path.contains("//")
}
