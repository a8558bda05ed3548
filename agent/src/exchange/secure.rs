//! TLS of a request: by the CAs that it brings along, by those that the host trusts, or by none.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use windlass_core::release::Tls;

/// Certificates that one request may bring along.
const CERTIFICATES: usize = 64;
/// Configurations that are kept.
const CONFIGURATIONS: usize = 16;

/// Speaks TLS over a connection to `host`. A certificate that does not fit is an error in words.
pub(super) async fn secure(stream: TcpStream, host: &str, tls: &Tls) -> io::Result<TlsStream<TcpStream>> {
    let name = tls.name.as_deref().unwrap_or(host).to_owned();
    let name = ServerName::try_from(name).map_err(|_| wrong("no name that a certificate can be for"))?;
    let connector = TlsConnector::from(kept(tls)?);
    connector.connect(name, stream).await
}

fn wrong(why: impl Into<String>) -> io::Error {
    io::Error::other(why.into())
}

/// The configuration, made once for each way in which releases ask: a probe asks every few seconds.
fn kept(tls: &Tls) -> io::Result<Arc<ClientConfig>> {
    static KEPT: Mutex<VecDeque<(Tls, Arc<ClientConfig>)>> = Mutex::new(VecDeque::new());
    let find = |kept: &VecDeque<(Tls, Arc<ClientConfig>)>| {
        kept.iter().find(|(of, _)| of == tls).map(|(_, config)| config.clone())
    };
    if let Some(config) = find(&KEPT.lock().unwrap_or_else(PoisonError::into_inner)) {
        return Ok(config);
    }
    let config = Arc::new(config(tls)?);
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.len() >= CONFIGURATIONS {
        kept.pop_front();
    }
    kept.push_back((tls.clone(), config.clone()));
    Ok(config)
}

fn config(tls: &Tls) -> io::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let builder = if tls.unverified {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody::new(&provider)))
    } else {
        builder.with_root_certificates(roots(tls)?)
    };
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Every answer is of a certificate that was verified, and not of a session that goes on.
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn roots(tls: &Tls) -> io::Result<Arc<RootCertStore>> {
    let Some(ca) = &tls.ca else { return of_host() };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()).take(CERTIFICATES) {
        let certificate = certificate.map_err(|error| wrong(format!("`tls.ca` of the release: {error}")))?;
        roots.add(certificate).map_err(|error| wrong(format!("`tls.ca` of the release: {error}")))?;
    }
    if roots.is_empty() {
        Err(wrong("`tls.ca` of the release holds no certificate"))
    } else {
        Ok(Arc::new(roots))
    }
}

/// The CAs that the host trusts, as they were when they were needed first.
fn of_host() -> io::Result<Arc<RootCertStore>> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let load = || {
        let mut roots = RootCertStore::empty();
        // One that is odd is left out; the others count.
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        Arc::new(roots)
    };
    let roots = ROOTS.get_or_init(load).clone();
    let none = || {
        wrong("this host trusts no CA (is `ca-certificates` installed?), and the release brings none along")
    };
    if roots.is_empty() { Err(none()) } else { Ok(roots) }
}

/// Takes every certificate: the release says so.
#[derive(Debug)]
struct Anybody(WebPkiSupportedAlgorithms);

impl Anybody {
    fn new(provider: &CryptoProvider) -> Self {
        Self(provider.signature_verification_algorithms)
    }
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
