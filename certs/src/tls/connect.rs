//! Connecting to a coordinator, with an error that says who refused whom and why.

use std::error::Error as StdError;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, Error as TlsFailure};
use tokio::io::AsyncBufReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint, Uri};

use super::{ClientTls, lookup};

/// Options of a channel. The defaults fit agents and the CLI.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// For TCP, TLS and the first byte together.
    pub connect_timeout: Duration,
    /// Time after which a silent connection is asked for a sign of life.
    pub keepalive_interval: Duration,
    /// The longest time for that sign.
    pub keepalive_timeout: Duration,
    /// HTTP/2 window of one stream, in bytes.
    pub stream_window: u32,
    /// HTTP/2 window of the connection, in bytes.
    pub connection_window: u32,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            keepalive_interval: Duration::from_secs(10),
            keepalive_timeout: Duration::from_secs(5),
            stream_window: 64 * 1024,
            connection_window: 128 * 1024,
        }
    }
}

/// The reason for which there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody answers there.
    #[error("failed to reach the coordinator at `{address}`")]
    Unreachable {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It answered too slowly, or not in TLS.
    #[error("the coordinator at `{address}` did not answer within {} s", .after.as_secs())]
    Timeout {
        /// Where.
        address: String,
        /// The deadline.
        after: Duration,
    },
    /// The handshake failed for another reason: not a coordinator, another TLS version, a cut line.
    #[error("the TLS handshake with `{address}` failed")]
    Handshake {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not certified by our fleet's CA.
    #[error("the server at `{0}` is not certified by this fleet's CA")]
    WrongCa(String),
    /// It is certified by our CA, and is no coordinator of our fleet.
    #[error("the server at `{address}` is not a coordinator of this fleet")]
    WrongPeer {
        /// Where.
        address: String,
        /// The failure.
        #[source]
        source: TlsFailure,
    },
    /// Its certificate is out of date, or our clock is wrong.
    #[error("the certificate of the coordinator at `{0}` is not valid at this time")]
    TheirCertificateExpired(String),
    /// Its certificate was revoked.
    #[error("the certificate of the coordinator at `{0}` was revoked")]
    TheirCertificateRevoked(String),
    /// Ours is out of date.
    #[error("the coordinator refused our certificate: it has expired")]
    OurCertificateExpired,
    /// Ours was revoked.
    #[error("the coordinator refused our certificate: it was revoked")]
    OurCertificateRevoked,
    /// Ours is of another fleet, CA or role.
    #[error("the coordinator refused our certificate ({0:?})")]
    OurCertificateRefused(AlertDescription),
    /// HTTP/2 did not start.
    #[error("failed to open a channel to `{address}`")]
    Channel {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
}

impl ConnectError {
    /// The next step of the user.
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unreachable { .. } | Self::Timeout { .. } => {
                Some("is `windlass-server` running there, and is the address the one it listens on?")
            }
            Self::Handshake { .. } | Self::Channel { .. } => Some("is that the coordinator's gRPC port?"),
            Self::WrongCa(_) => {
                Some("wrong address, or another fleet: compare `windlass context ls` with the server's fleet")
            }
            Self::WrongPeer { .. } => Some("the address must be that of a coordinator of this fleet"),
            Self::TheirCertificateExpired(_) => {
                Some("check both clocks; the coordinator renews its own certificate while it runs")
            }
            Self::TheirCertificateRevoked(_) => Some("ask an admin where the fleet's coordinator is now"),
            Self::OurCertificateExpired => Some(
                "agents renew by themselves up to 30 days; operators ask an admin for `windlass operator invite`",
            ),
            Self::OurCertificateRevoked => Some("ask an admin; a host that may come back joins again"),
            Self::OurCertificateRefused(_) => Some("join again, or use the context of this fleet"),
        }
    }

    /// Whether trying again with the same certificate can help.
    pub const fn is_temporary(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::Timeout { .. } | Self::Handshake { .. } | Self::Channel { .. }
        )
    }

    /// Finds one among the causes of an RPC's error: a channel reconnects by itself, and then only its status tells.
    pub fn find<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Self> {
        let mut next = Some(error);
        while let Some(cause) = next {
            if let Some(found) = cause.downcast_ref() {
                return Some(found);
            }
            next = cause.source();
        }
        None
    }
}

type Stream = TlsStream<TcpStream>;

/// Connects to `address` (`host:port`) and waits until the coordinator has accepted us. The channel reconnects by
/// itself, with the certificate and pins that `tls` has by then.
pub async fn connect(
    address: &str,
    tls: &ClientTls,
    options: &ConnectOptions,
) -> Result<Channel, ConnectError> {
    let first = dial(address.to_owned(), tls.clone(), options.connect_timeout).await?;
    let first = Arc::new(Mutex::new(Some(first)));
    let (dialled, tls, after) = (address.to_owned(), tls.clone(), options.connect_timeout);
    let connector = tower::service_fn(move |_: Uri| {
        let ready = first.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (address, tls) = (dialled.clone(), tls.clone());
        async move {
            match ready {
                Some(stream) => Ok(TokioIo::new(stream)),
                None => dial(address, tls, after).await.map(TokioIo::new),
            }
        }
    });
    // `http`: tonic must not look for its own TLS. The name is never resolved; the connector knows the address.
    Endpoint::from_static("http://coordinator.windlass.internal")
        .http2_keep_alive_interval(options.keepalive_interval)
        .keep_alive_timeout(options.keepalive_timeout)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(options.stream_window)
        .initial_connection_window_size(options.connection_window)
        .connect_with_connector(connector)
        .await
        .map_err(|source| ConnectError::Channel { address: address.to_owned(), source })
}

/// TCP, TLS, and the first byte. In TLS 1.3 a client is done before the server has looked at its certificate, and
/// would find out at its first RPC, as "transport error"; a coordinator speaks first (its HTTP/2 settings), so
/// that its first byte means it accepted us.
async fn dial(address: String, tls: ClientTls, after: Duration) -> Result<Stream, ConnectError> {
    let work = async {
        let unreachable = |source| ConnectError::Unreachable { address: address.clone(), source };
        let found = lookup(&address).await.map_err(unreachable)?;
        let tcp = TcpStream::connect(found.as_slice()).await.map_err(unreachable)?;
        tcp.set_nodelay(true).map_err(unreachable)?;
        let name = ServerName::try_from("coordinator.windlass.internal").expect("a valid name");
        let connector = TlsConnector::from(tls.config());
        let mut stream = connector.connect(name, tcp).await.map_err(|error| classify(&address, error))?;
        match stream.fill_buf().await {
            Ok([]) => Err(classify(&address, io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => Ok(stream),
            Err(error) => Err(classify(&address, error)),
        }
    };
    let timed = timeout(after, work).await;
    timed.unwrap_or_else(|_| Err(ConnectError::Timeout { address: address.clone(), after }))
}

fn classify(address: &str, error: io::Error) -> ConnectError {
    use CertificateError as C;
    let address = address.to_owned();
    let Some(failure) = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsFailure>()) else {
        return ConnectError::Handshake { address, source: error };
    };
    match failure {
        TlsFailure::InvalidCertificate(reason) => match reason {
            C::UnknownIssuer | C::BadSignature => ConnectError::WrongCa(address),
            C::Expired | C::ExpiredContext { .. } | C::NotValidYet | C::NotValidYetContext { .. } => {
                ConnectError::TheirCertificateExpired(address)
            }
            C::Revoked => ConnectError::TheirCertificateRevoked(address),
            _ => ConnectError::WrongPeer { address, source: failure.clone() },
        },
        TlsFailure::AlertReceived(alert) => match alert {
            AlertDescription::CertificateExpired => ConnectError::OurCertificateExpired,
            AlertDescription::CertificateRevoked => ConnectError::OurCertificateRevoked,
            AlertDescription::UnknownCA
            | AlertDescription::DecryptError // a CA of the same name with another key
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::AccessDenied => ConnectError::OurCertificateRefused(*alert),
            _ => ConnectError::Handshake { address, source: error },
        },
        _ => ConnectError::Handshake { address, source: error },
    }
}
