//! Names of machines. The resolver may take as long as it likes, and knows no deadline; so it is asked by a thread of its
//! own, of which there are a few at most, and never by those that others need for their files.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use tokio::sync::{Semaphore, oneshot};

/// Names that are looked up at a time; more wait.
static PLACES: Semaphore = Semaphore::const_new(4);
/// Stack of the resolver's thread.
const STACK: usize = 1024 * 1024;

/// The addresses of `host:port`, which is at least one. Waits for ever if the resolver does: whoever asks has a
/// deadline.
///
/// # Errors
/// There is no such name.
pub async fn lookup(address: &str) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = address.parse() {
        return Ok(vec![address]);
    }
    let place = PLACES.acquire().await.map_err(io::Error::other)?;
    let (tell, told) = oneshot::channel();
    let name = address.to_owned();
    std::thread::Builder::new().name("lookup".to_owned()).stack_size(STACK).spawn(move || {
        let found = name.to_socket_addrs().map(Iterator::collect::<Vec<_>>);
        drop(place);
        drop(tell.send(found)); // whoever asked may have gone
    })?;
    let found = told.await.map_err(io::Error::other)??;
    if found.is_empty() {
        Err(io::Error::new(io::ErrorKind::NotFound, "it has no address"))
    } else {
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_and_addresses_are_found() {
        assert_eq!(lookup("192.0.2.1:7443").await.unwrap(), ["192.0.2.1:7443".parse().unwrap()]);
        assert_eq!(lookup("[::1]:80").await.unwrap(), ["[::1]:80".parse().unwrap()]);
        assert!(lookup("localhost:80").await.unwrap().iter().all(|found| found.ip().is_loopback()));
        assert!(lookup("no port").await.is_err());
        assert_eq!(PLACES.available_permits(), 4, "places are given back");
    }
}
