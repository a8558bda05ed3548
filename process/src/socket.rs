//! Addresses to listen on, as people write them.

use std::net::{IpAddr, SocketAddr};

/// Reads `IP:PORT`. The error says how to write the text that was given.
pub fn listening(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let like = like(text).unwrap_or_else(|| "0.0.0.0:7443".to_owned());
    Err(format!("write it IP:PORT, like `{like}`"))
}

/// The nearest address: every one of this machine for a port alone, loopback for `localhost`.
fn like(text: &str) -> Option<String> {
    let plain = text.split_once("://").map_or(text, |(_, rest)| rest).trim_end_matches('/');
    if let Ok(address) = plain.parse::<SocketAddr>() {
        return Some(address.to_string());
    }
    if let Ok(address) = plain.parse::<IpAddr>() {
        return Some(SocketAddr::new(address, 7443).to_string());
    }
    let (host, port) = plain.rsplit_once(':').unwrap_or(("", plain));
    let port: u16 = port.parse().ok()?;
    let host = if host == "localhost" { "127.0.0.1" } else { "0.0.0.0" };
    Some(format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_or_told_how_to_write() {
        #[rustfmt::skip]
        let table = [("7443", "0.0.0.0:7443"), (":80", "0.0.0.0:80"), ("localhost:80", "127.0.0.1:80"), ("10.0.0.5", "10.0.0.5:7443"),
            ("http://10.0.0.5:80/", "10.0.0.5:80"), ("::1", "[::1]:7443"), ("web.example.com:80", "0.0.0.0:80"), ("x", "0.0.0.0:7443"),
            ("99999", "0.0.0.0:7443"), ("", "0.0.0.0:7443")];
        for (text, like) in table {
            assert_eq!(listening(text), Err(format!("write it IP:PORT, like `{like}`")), "{text}");
        }
        assert_eq!(listening("127.0.0.1:80").map(|address| address.port()), Ok(80));
    }
}
