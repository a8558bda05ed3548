//! The PROXY protocol, version 2 (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>): a load balancer that passes bytes on
//! writes a header before those of its client. Only a trusted one is asked for it, and then each of its connections begins with it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt as _};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes that each header begins with: signature, version and command, family, length of the rest.
const FIXED: usize = 16;
/// Most bytes of the rest: addresses, and what else a balancer says of the connection.
const MOST: usize = 1024;

/// The reason for which bytes are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoHeader {
    #[error("no signature of the PROXY protocol, version 2")]
    Signature,
    #[error("a version or command that is not known")]
    Command,
    #[error("more than {MOST} bytes")]
    TooLong,
    #[error("addresses of another family, or none")]
    Addresses,
}

/// The length of what follows the fixed part.
fn rest(fixed: &[u8; FIXED]) -> Result<usize, NoHeader> {
    if !fixed.starts_with(SIGNATURE) {
        return Err(NoHeader::Signature);
    }
    if !matches!(fixed[12], 0x20 | 0x21) {
        return Err(NoHeader::Command);
    }
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if length > MOST { Err(NoHeader::TooLong) } else { Ok(length) }
}

/// The client of a header; `None` if it tells of none: a health check of the balancer itself, say.
fn client(fixed: &[u8; FIXED], rest: &[u8]) -> Result<Option<SocketAddr>, NoHeader> {
    let port = |at: usize| rest.get(at..at + 2).map(|port| u16::from_be_bytes([port[0], port[1]]));
    let client = match (fixed[12], fixed[13]) {
        // LOCAL: whatever else it says counts for nothing. Nor does a family that is not known.
        (0x20, _) | (_, 0x00) => return Ok(None),
        // TCP over IPv4, and over IPv6: source, destination, and their ports.
        (_, 0x11) => rest
            .first_chunk::<4>()
            .map(|ip| IpAddr::from(Ipv4Addr::from(*ip)))
            .zip(port(8))
            .filter(|_| rest.len() >= 12),
        (_, 0x21) => rest
            .first_chunk::<16>()
            .map(|ip| IpAddr::from(Ipv6Addr::from(*ip)))
            .zip(port(32))
            .filter(|_| rest.len() >= 36),
        _ => None,
    };
    client.map(|(ip, port)| Some(SocketAddr::new(ip, port))).ok_or(NoHeader::Addresses)
}

/// Reads the header of a connection, and no byte of what follows.
pub(super) async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let invalid = |why: NoHeader| io::Error::new(io::ErrorKind::InvalidData, why);
    let mut fixed = [0; FIXED];
    from.read_exact(&mut fixed).await?;
    let mut space = [0; MOST];
    let told = &mut space[..rest(&fixed).map_err(invalid)?];
    from.read_exact(told).await?;
    client(&fixed, told).map_err(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: [u8; 12] = [192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x34, 0, 80];

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    /// Returns the announced client and the number of bytes left.
    async fn told(bytes: &[u8]) -> Result<(Option<String>, usize), String> {
        let mut from = bytes;
        let client = read(&mut from).await.map_err(|error| error.to_string())?;
        Ok((client.map(|client| client.to_string()), from.len()))
    }

    #[tokio::test]
    async fn a_header_tells_of_its_client() {
        let v6 = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[9], &[0; 16], &[0xff, 0xff], &[1, 187]].concat();
        let more = [&V4[..], &[4, 0, 1, 0]].concat();
        for (what, command, family, rest, client) in [
            ("IPv4", 0x21, 0x11, &V4[..], Some("192.0.2.1:4660")),
            ("IPv4 and more", 0x21, 0x11, &more[..], Some("192.0.2.1:4660")),
            ("IPv6", 0x21, 0x21, &v6[..], Some("[2001:db8::9]:65535")),
            ("a check of the balancer", 0x20, 0x00, &[][..], None),
            ("the same with addresses", 0x20, 0x11, &V4[..], None),
            ("no family", 0x21, 0x00, &V4[..], None),
        ] {
            let bytes = [&header(command, family, rest)[..], b"GET"].concat();
            assert_eq!(told(&bytes).await, Ok((client.map(str::to_owned), 3)), "{what}");
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        let good = header(0x21, 0x11, &V4);
        assert!(told(&good).await.is_ok());
        for length in 0..good.len() {
            assert!(told(&good[..length]).await.is_err(), "cut off after {length} bytes");
        }
        for (what, bytes) in [
            ("HTTP", b"GET / HTTP/1.1\r\nHost: web.example\r\n\r\n".to_vec()),
            ("version 1", b"PROXY TCP4 192.0.2.1 10.0.0.1 4660 80\r\n".to_vec()),
            ("another version", header(0x11, 0x11, &V4)),
            ("another command", header(0x22, 0x11, &V4)),
            ("UDP", header(0x21, 0x12, &V4)),
            ("a Unix socket", header(0x21, 0x31, &[b'/'; 216])),
            ("half the addresses", header(0x21, 0x11, &V4[..10])),
            ("IPv4 as IPv6", header(0x21, 0x21, &V4)),
            ("a long one", header(0x21, 0x11, &[0; MOST + 1])),
        ] {
            assert!(told(&bytes).await.is_err(), "{what}");
        }
        // Each byte of it may be any.
        for at in 0..good.len() {
            for byte in 0..=u8::MAX {
                let mut bytes = good.clone();
                bytes[at] = byte;
                drop(told(&bytes).await); // an answer or a refusal
            }
        }
    }
}
