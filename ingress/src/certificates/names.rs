//! The host names that a certificate covers.

use std::collections::BTreeSet;

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// Host names in lower case; `*.example.com` covers one label more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Names(BTreeSet<String>);

impl Names {
    /// Reads the alternative names of a certificate, and the end of its life in seconds since 1970.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Result<(Self, i64), String> {
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(|error| error.to_string())?;
        let names = parsed.subject_alternative_name().map_err(|error| error.to_string())?;
        let names = names.into_iter().flat_map(|extension| &extension.value.general_names);
        let names: BTreeSet<String> = names
            .filter_map(|name| match name {
                GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
                _ => None,
            })
            .collect();
        let not_after = parsed.validity().not_after.timestamp();
        if names.is_empty() { Err("it covers no host name".to_owned()) } else { Ok((Self(names), not_after)) }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether a request for `host` may come over a connection that got this certificate.
    pub(crate) fn cover(&self, host: &str) -> bool {
        let below =
            || host.split_once('.').is_some_and(|(_, parent)| self.0.contains(&format!("*.{parent}")));
        self.0.contains(host) || below()
    }
}
