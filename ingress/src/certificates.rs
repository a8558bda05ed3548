//! The certificates of an ingress: read from a folder, chosen by the name that a client asks for, read again when they change.

mod names;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_util::sync::CancellationToken;

pub(crate) use names::Names;

/// Time between two looks at the folder.
const LOOK: Duration = Duration::from_secs(5);
/// A file larger than this is no certificate.
const MOST_BYTES: u64 = 1024 * 1024;
/// More pairs than this are refused.
const MOST_PAIRS: usize = 4096;

/// The reason for which a folder of certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadCertificates {
    /// A file or the folder cannot be read.
    #[error("cannot read {path}: {error}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A pair of files is no certificate with its key.
    #[error("{path} is no certificate with its key: {why}")]
    Pair {
        /// The certificate's file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Too many pairs.
    #[error("{0} has more than {MOST_PAIRS} certificates")]
    TooMany(PathBuf),
}

/// The certificates of a folder: each `NAME.crt` (PEM, the chain) beside its `NAME.key`. `default.crt` serves clients that
/// name no host, or one that no certificate covers. Which names a certificate covers stands in the certificate.
#[derive(Debug)]
pub struct Certificates {
    folder: PathBuf,
    provider: Arc<CryptoProvider>,
    current: ArcSwap<Store>,
}

#[derive(Debug, Default)]
struct Store {
    exact: HashMap<String, Arc<Certificate>>,
    wildcard: HashMap<String, Arc<Certificate>>,
    default: Option<Arc<Certificate>>,
    /// The certificate of each pair, by its file.
    pairs: BTreeMap<PathBuf, Arc<Certificate>>,
    /// Pairs that cannot be used. The certificate that the file held before, if any, goes on.
    refused: Vec<BadCertificates>,
    /// Name, size and time of each file, to see a change.
    files: Vec<(PathBuf, u64, SystemTime)>,
}

#[derive(Debug)]
struct Certificate {
    key: Arc<CertifiedKey>,
    names: Arc<Names>,
    /// The end of its life, in seconds since 1970.
    not_after: i64,
}

impl Certificates {
    /// Reads the folder. A pair that cannot be used is logged and left out while others can.
    ///
    /// # Errors
    /// The folder cannot be read, or nothing in it but pairs that cannot be used; the error names the first.
    pub fn open(folder: &Path) -> Result<Arc<Self>, BadCertificates> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut store = Store::read(folder, &provider, &Store::default())?;
        if store.pairs.is_empty() && !store.refused.is_empty() {
            return Err(store.refused.swap_remove(0));
        }
        store.log();
        Ok(Arc::new(Self { folder: folder.to_owned(), provider, current: ArcSwap::new(Arc::new(store)) }))
    }

    /// Reads the folder again whenever a file has changed, until `cancel`. A folder or a pair that cannot be used keeps the
    /// certificates that were read before, and is logged once for each change.
    pub async fn follow(&self, cancel: CancellationToken) {
        let mut refused = Vec::new();
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            let Ok(files) = list(&self.folder) else { continue };
            if files == self.current.load().files || files == refused {
                continue;
            }
            let before = self.current.load();
            match Store::read(&self.folder, &self.provider, &before) {
                Ok(store) => {
                    store.log();
                    tracing::info!(
                        names = store.exact.len() + store.wildcard.len(),
                        "certificates were read again"
                    );
                    self.current.store(Arc::new(store));
                }
                Err(error) => {
                    tracing::error!(%error, "certificates stay as they were");
                    refused = files;
                }
            }
        }
    }

    /// The end of life of the certificate of each pair, by its file without `.crt`, in seconds since 1970.
    pub fn expiries(&self) -> Vec<(String, i64)> {
        let name = |path: &PathBuf| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        self.current.load().pairs.iter().map(|(path, of)| (name(path), of.not_after)).collect()
    }

    /// The number of pairs that cannot be used.
    pub fn refused(&self) -> usize {
        self.current.load().refused.len()
    }

    /// The number of covered names.
    pub fn count(&self) -> usize {
        let store = self.current.load();
        store.exact.len() + store.wildcard.len()
    }

    /// TLS 1.2 and 1.3 with these certificates, for HTTP/2 and HTTP/1.1.
    ///
    /// # Errors
    /// Only if the cryptography of this build has no cipher suite for these versions.
    pub(crate) fn server_config(self: &Arc<Self>) -> Result<ServerConfig, rustls::Error> {
        let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.provider));
        let resolver = Arc::clone(self) as Arc<dyn ResolvesServerCert>;
        let mut config =
            builder.with_protocol_versions(&versions)?.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    /// The names of the certificate that covers `host`; `None` if a client that asks for it gets the default one, or none.
    pub(crate) fn names_for(&self, host: Option<&str>) -> Option<Arc<Names>> {
        self.current.load().find_named(host).map(|certificate| Arc::clone(&certificate.names))
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current.load().find(hello.server_name()).map(|certificate| Arc::clone(&certificate.key))
    }
}

impl Store {
    fn read(folder: &Path, provider: &CryptoProvider, before: &Self) -> Result<Self, BadCertificates> {
        let files = list(folder)?;
        let mut store = Self { files, ..Self::default() };
        let certificates =
            store.files.iter().filter(|(path, ..)| path.extension().is_some_and(|e| e == "crt"));
        let certificates: Vec<PathBuf> = certificates.map(|(path, ..)| path.clone()).collect();
        if certificates.len() > MOST_PAIRS {
            return Err(BadCertificates::TooMany(folder.to_owned()));
        }
        for path in certificates {
            let certificate = match read_pair(&path, provider) {
                Ok(certificate) => Arc::new(certificate),
                Err(error) => {
                    store.refused.push(error);
                    let Some(before) = before.pairs.get(&path) else { continue };
                    Arc::clone(before)
                }
            };
            store.add(path, certificate);
        }
        Ok(store)
    }

    /// Where two certificates cover one name, the one that is valid for longer serves it.
    fn add(&mut self, path: PathBuf, certificate: Arc<Certificate>) {
        for name in certificate.names.all() {
            let (map, name) = match name.strip_prefix("*.") {
                Some(parent) => (&mut self.wildcard, parent),
                None => (&mut self.exact, name),
            };
            if map.get(name).is_none_or(|other| other.not_after <= certificate.not_after) {
                map.insert(name.to_owned(), Arc::clone(&certificate));
            }
        }
        if path.file_stem().is_some_and(|stem| stem == "default") {
            self.default = Some(Arc::clone(&certificate));
        }
        self.pairs.insert(path, certificate);
    }

    fn log(&self) {
        for error in &self.refused {
            tracing::error!(%error, "a certificate is not used");
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        for (path, _) in self.pairs.iter().filter(|(_, certificate)| certificate.not_after < now) {
            tracing::warn!(path = %path.display(), "a certificate has expired");
        }
    }

    fn find(&self, host: Option<&str>) -> Option<&Arc<Certificate>> {
        self.find_named(host).or(self.default.as_ref())
    }

    fn find_named(&self, host: Option<&str>) -> Option<&Arc<Certificate>> {
        let host = host?.to_ascii_lowercase();
        let below = || self.wildcard.get(host.split_once('.')?.1);
        self.exact.get(&host).or_else(below)
    }
}

/// The certificates and keys of a folder, in order.
fn list(folder: &Path) -> Result<Vec<(PathBuf, u64, SystemTime)>, BadCertificates> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| BadCertificates::Read { path, error }
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed(folder))? {
        let path = entry.map_err(failed(folder))?.path();
        if path.extension().is_some_and(|extension| extension == "crt" || extension == "key") {
            let metadata = fs::metadata(&path).map_err(failed(&path))?;
            files.push((path.clone(), metadata.len(), metadata.modified().map_err(failed(&path))?));
        }
    }
    files.sort();
    Ok(files)
}

fn read_pair(path: &Path, provider: &CryptoProvider) -> Result<Certificate, BadCertificates> {
    let bad = |why: String| BadCertificates::Pair { path: path.to_owned(), why };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&read(path)?)
        .collect::<Result<_, _>>()
        .map_err(|error| bad(error.to_string()))?;
    let key = PrivateKeyDer::from_pem_slice(&read(&path.with_extension("key"))?)
        .map_err(|error| bad(format!("its key: {error}")))?;
    let leaf = chain.first().ok_or_else(|| bad("no certificate in it".to_owned()))?;
    let (names, not_after) = Names::of(leaf).map_err(&bad)?;
    let key = CertifiedKey::from_der(chain, key, provider).map_err(|error| bad(error.to_string()))?;
    Ok(Certificate { key: Arc::new(key), names: Arc::new(names), not_after })
}

fn read(path: &Path) -> Result<Vec<u8>, BadCertificates> {
    let failed = |error| BadCertificates::Read { path: path.to_owned(), error };
    if fs::metadata(path).map_err(failed)?.len() > MOST_BYTES {
        return Err(failed(io::Error::new(io::ErrorKind::FileTooLarge, "more than 1 MiB")));
    }
    fs::read(path).map_err(failed)
}

#[cfg(test)]
mod tests;
