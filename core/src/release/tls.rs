//! TLS of a request: whose certificate is wanted, and who may have signed it.

use serde::{Deserialize, Serialize};

use super::address::{MAX_ADDRESS, host_and_port};

/// Bytes of the certificates that a request brings along.
pub(crate) const MAX_CA: usize = 64 * 1024;

/// TLS of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The name or address that the certificate has to be for; that of the URL if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Certificates, in PEM, of those who may have signed it; the host's own if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// Every certificate is taken: the connection is encrypted, and nobody knows with whom.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unverified: bool,
}

impl Tls {
    /// Checks it. `named` says whether the address of the request is a name that a certificate can be for.
    ///
    /// # Errors
    /// The part that is wrong, and why.
    pub(crate) fn check(&self, named: bool) -> Result<(), (&'static str, &'static str)> {
        if self.name.as_deref().is_some_and(|name| !is_tls_name(name)) {
            return Err(("name", "is not a name or an address that a certificate can be for"));
        }
        if let Some(ca) = &self.ca {
            let text = ca.bytes().all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace());
            if !text || ca.len() > MAX_CA || !ca.contains("-----BEGIN CERTIFICATE-----") {
                return Err(("ca", "is not a file of certificates (PEM) of at most 64 KiB"));
            }
        }
        match (self.unverified, self.ca.is_some(), self.name.is_some() || named) {
            (true, true, _) => Err(("ca", "is of no use where no certificate is verified")),
            (false, _, false) => Err(("name", "is missing: the name that the certificate has to be for")),
            (true, false, _) | (false, _, true) => Ok(()),
        }
    }
}

/// Returns whether a certificate can be for this name or address.
pub(crate) fn is_tls_name(name: &str) -> bool {
    let bracketed = if name.contains(':') { format!("[{name}]:1") } else { format!("{name}:1") };
    name.len() <= MAX_ADDRESS && !name.starts_with(['.', '-', '[']) && host_and_port(&bracketed).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_for_a_name_unless_none_is_verified() {
        const PEM: &str = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
        let tls = |name: Option<&str>, ca: Option<&str>, unverified| Tls {
            name: name.map(str::to_owned),
            ca: ca.map(str::to_owned),
            unverified,
        };
        #[rustfmt::skip]
        let table = [
            (tls(Some("api.internal"), None, false), false, None),
            (tls(Some("::1"), Some(PEM), false),     false, None),
            (tls(None, Some(PEM), false),            true,  None),
            (tls(None, None, false),                 false, Some("name")),
            (tls(None, None, true),                  false, None),
            (tls(None, Some(PEM), true),             false, Some("ca")),
            (tls(Some("a b"), None, true),           false, Some("name")),
            (tls(Some("a"), Some("key"), false),     false, Some("ca")),
        ];
        for (tls, named, wrong) in table {
            assert_eq!(tls.check(named).err().map(|(key, _)| key), wrong, "{tls:?}");
        }
        let large = tls(Some("a"), Some(&PEM.repeat(2000)), false);
        assert_eq!(large.check(false).err().map(|(key, _)| key), Some("ca"));
    }
}
