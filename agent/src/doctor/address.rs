//! The check of the address at which others reach this host.

use std::net::{IpAddr, ToSocketAddrs as _, UdpSocket};

use super::finding::Finding;

/// Whether the address under which others reach the host's ports is one of its own. One that a router translates is not. A name
/// has to have an address here. An agent that runs keeps to the address that it was started with, not to a newer `configured` one.
pub(super) fn examine(address: &str, configured: Option<&str>, behind_nat: bool) -> Finding {
    if let Some(other) = configured.filter(|other| *other != address) {
        return Finding::warn(
            "address",
            format!("the agent runs with {address}, and its configuration names {other}"),
            "start the agent again; containers run on",
        );
    }
    let Ok(ip) = address.trim_matches(['[', ']']).parse::<IpAddr>() else {
        return match (address, 0).to_socket_addrs() {
            Ok(_) => Finding::ok("address", format!("{address}, a name")),
            Err(error) => Finding::warn(
                "address",
                format!("it is reached by the name {address}, which has no address here: {error}"),
                "others look its published ports up by that name: mend the name, or start the agent with `--address`",
            ),
        };
    };
    match UdpSocket::bind((ip, 0)) {
        Ok(_) => Finding::ok("address", address),
        Err(_) if behind_nat => {
            Finding::ok("address", format!("{address}, which a router translates (`behind_nat`)"))
        }
        Err(error) => Finding::warn(
            "address",
            format!("it is reached at {address}, which no interface of this host has: {error}"),
            "others reach its published ports there, and its own probes go by loopback meanwhile: if the host has another address \
             now, start the agent with `--address`, or `address` in agent.toml; if a router translates the address, say so with \
             `behind_nat = true` in policy.toml",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn an_address_that_the_host_has_lost_is_a_warning() {
        for (own, want) in
            [("127.0.0.1", Verdict::Ok), ("localhost", Verdict::Ok), ("192.0.2.77", Verdict::Warn)]
        {
            let found = examine(own, None, false);
            assert_eq!(found.verdict, want, "{}", found.detail);
        }
        assert!(examine("banana.invalid", None, true).hint.unwrap().contains("mend the name"));
        assert!(examine("192.0.2.77", None, false).hint.unwrap().contains("--address"));
        assert_eq!(examine("192.0.2.77", None, true).hint, None, "a router translates it");
    }

    #[test]
    fn an_address_that_waits_for_a_start_is_a_warning() {
        let found = examine("127.0.0.1", Some("127.0.0.2"), false);
        assert_eq!(found.verdict, Verdict::Warn);
        assert!(found.hint.unwrap().contains("start the agent again"));
        assert_eq!(examine("127.0.0.1", Some("127.0.0.1"), false).verdict, Verdict::Ok);
    }
}
