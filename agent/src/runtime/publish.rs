//! The addresses on which ports are published.

use std::io::ErrorKind;
use std::net::{IpAddr, UdpSocket};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use windlass_core::condition::{Condition, ConditionCode};

/// Time for which a look at an interface's addresses counts: every probe asks for it.
const FRESH: Duration = Duration::from_secs(1);

/// Whether an interface of this host has an address. A fact of the machine, which changes at any time.
#[derive(Debug, Clone, Copy)]
struct Has {
    address: IpAddr,
    is_gone: bool,
    asked: Instant,
}

/// The newest answer of the kernel: a host is reached at one address.
static NEWEST: Mutex<Option<Has>> = Mutex::new(None);

/// The addresses on which the ports of a host are published that is reached at `address`: loopback only if that is its
/// address; else every address, those of IPv6 too if its own is one.
pub(crate) fn published_on(address: &str) -> &'static [&'static str] {
    match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) if address.is_loopback() => &["127.0.0.1"],
        Ok(IpAddr::V6(address)) if address.is_loopback() => &["::1"],
        Ok(IpAddr::V6(_)) => &["0.0.0.0", "::"],
        Err(_) if address == "localhost" => &["127.0.0.1"],
        Ok(IpAddr::V4(_)) | Err(_) => &["0.0.0.0"],
    }
}

/// The address at which this host reaches what it has published itself: that under which others reach it while an interface
/// has it, else loopback. An address may go while instances serve on, or be a router's, which does not lead back.
pub(crate) fn reached_at(address: &str) -> &str {
    let Ok(ip) = address.parse::<IpAddr>() else { return address };
    let is_gone = is_gone(&mut NEWEST.lock().unwrap_or_else(PoisonError::into_inner), ip, Instant::now());
    match published_on(address).last() {
        Some(&"0.0.0.0") if is_gone => "127.0.0.1",
        Some(&"::") if is_gone => "::1",
        Some(_) | None => address,
    }
}

/// The condition of a host that others reach at `address`, while no interface has that.
pub(crate) fn address_gone(address: &str) -> Option<Condition> {
    let ip = address.parse::<IpAddr>().ok()?;
    let is_gone = is_gone(&mut NEWEST.lock().unwrap_or_else(PoisonError::into_inner), ip, Instant::now());
    is_gone.then(|| {
        let message = format!(
            "no interface of this host has {address}, where others reach its published ports; its own probes go by loopback. \
             With another address now, let it join again with `--address`, into a new folder; where a router translates the \
             address, say so with `behind_nat = true` in policy.toml"
        );
        Condition::new(ConditionCode::AddressGone, None, message)
    })
}

/// Whether no interface has `address`; the answer counts for [`FRESH`].
fn is_gone(newest: &mut Option<Has>, address: IpAddr, now: Instant) -> bool {
    let known = newest.filter(|of| of.address == address && now.saturating_duration_since(of.asked) < FRESH);
    if let Some(known) = known {
        return known.is_gone;
    }
    let bound = UdpSocket::bind((address, 0));
    let is_gone = bound.is_err_and(|error| error.kind() == ErrorKind::AddrNotAvailable);
    *newest = Some(Has { address, is_gone, asked: now });
    is_gone
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_the_host_has_lost_is_not_probed() {
        let table = [
            ("127.0.0.1", "127.0.0.1"),
            ("localhost", "localhost"),
            ("web-1.example.com", "web-1.example.com"),
            ("203.0.113.9", "127.0.0.1"),
            ("2001:db8::5", "::1"),
        ];
        for (address, want) in table {
            assert_eq!(reached_at(address), want, "{address}");
        }
    }

    #[test]
    fn an_address_on_no_interface_is_a_condition() {
        for own in ["127.0.0.1", "localhost", "web-1.example.com"] {
            assert_eq!(address_gone(own), None, "{own}");
        }
        let gone = address_gone("203.0.113.9").unwrap();
        assert!(gone.code == ConditionCode::AddressGone && gone.slot.is_none());
        assert!(gone.message.contains("203.0.113.9") && gone.message.contains("behind_nat"), "{gone}");
    }

    #[test]
    fn an_address_is_asked_for_again_after_a_second() {
        let (own, now) = (IpAddr::from([127, 0, 0, 77]), Instant::now());
        let mut newest = Some(Has { address: own, is_gone: true, asked: now });
        assert!(is_gone(&mut newest, own, now + FRESH / 2), "the answer of this second");
        assert!(!is_gone(&mut newest, own, now + FRESH), "the kernel is asked");
        assert!(
            is_gone(&mut newest, [203, 0, 113, 9].into(), now + FRESH),
            "another address has its own answer"
        );
    }

    #[test]
    fn ports_are_published_where_the_host_is_reached() {
        let table: [(&str, &[&str]); 7] = [
            ("127.0.0.1", &["127.0.0.1"]),
            ("localhost", &["127.0.0.1"]),
            ("::1", &["::1"]),
            ("10.0.0.5", &["0.0.0.0"]),
            ("web-1.example.com", &["0.0.0.0"]),
            ("2001:db8::5", &["0.0.0.0", "::"]),
            ("fd00::5", &["0.0.0.0", "::"]),
        ];
        for (address, want) in table {
            assert_eq!(published_on(address), want, "{address}");
        }
    }
}
