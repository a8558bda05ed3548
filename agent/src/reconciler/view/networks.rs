//! Networks of the engine and of the host. They are looked at only where something calls services by name.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;
use tokio::time::Instant;
use windlass_core::reconcile::{Desired, Memory, Observed};

use crate::runtime::{Networks, Runtime, RuntimeError, answer};

/// Time between two looks without a change of ours.
const LOOK: Duration = Duration::from_secs(60);
/// Routes that are read.
const MOST_ROUTES: usize = 4096;

/// The networks as they were last listed.
#[derive(Debug, Default)]
pub(super) struct Seen {
    networks: Networks,
    routes: BTreeSet<Ipv4Net>,
    again_at: Option<Instant>,
}

impl Seen {
    /// They may have changed.
    pub(super) const fn changed(&mut self) {
        self.again_at = None;
    }

    /// Looks, if somebody needs it and it is time.
    pub(super) async fn refresh<R: Runtime>(
        &mut self,
        runtime: &R,
        desired: &Desired,
        memory: &Memory,
    ) -> Result<(), RuntimeError> {
        let calls = desired.releases.values().any(|release| !release.release.spec.uses.is_empty());
        if !calls && memory.networks.is_empty() && self.networks.own.is_empty() && self.again_at.is_some() {
            return Ok(());
        }
        if self.again_at.is_some_and(|at| at > Instant::now()) {
            return Ok(());
        }
        match answer(runtime.networks()).await {
            Ok(networks) => self.networks = networks,
            Err(error) if error.is_unavailable() => return Err(error),
            // One that may not be asked this does all else that it is asked.
            Err(error) => tracing::warn!(%error, "the networks of the engine are not known"),
        }
        self.routes = routes(&fs::read_to_string("/proc/net/route").unwrap_or_default());
        self.again_at = Some(Instant::now() + LOOK);
        Ok(())
    }

    /// Adds what was seen to what a decision is made from.
    pub(super) fn add_to(&self, observed: &mut Observed) {
        let own: BTreeSet<Ipv4Net> = self.networks.own.values().copied().collect();
        let routes = self.routes.iter().filter(|route| !own.contains(*route));
        observed.networks = self.networks.own.clone();
        observed.subnets = routes.chain(&self.networks.others).copied().collect();
    }
}

/// The networks that routes of the kernel lead to, but for the default route. Addresses stand there as numbers of the host's
/// byte order.
fn routes(table: &str) -> BTreeSet<Ipv4Net> {
    let number = |text: &str| Some(Ipv4Addr::from(u32::from_str_radix(text, 16).ok()?.to_ne_bytes()));
    let route = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (to, mask) = (number(fields.get(1)?)?, number(fields.get(7)?)?);
        Ipv4Net::with_netmask(to, mask).ok().map(|net| net.trunc()).filter(|net| net.prefix_len() > 0)
    };
    table.lines().skip(1).take(MOST_ROUTES).filter_map(route).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_read_but_for_the_default() {
        let hex = |a, b, c, d| format!("{:08X}", u32::from_ne_bytes([a, b, c, d]));
        let line = |to: &str, mask: &str| format!("eth0\t{to}\t00000000\t0001\t0\t0\t0\t{mask}\t0\t0\t0\n");
        let table = [
            "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n".to_owned(),
            line(&hex(0, 0, 0, 0), &hex(0, 0, 0, 0)),
            line(&hex(10, 210, 1, 0), &hex(255, 255, 255, 0)),
            line(&hex(172, 17, 0, 0), &hex(255, 255, 0, 0)),
            "nonsense\n".to_owned(),
        ];
        let found: Vec<String> = routes(&table.concat()).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.210.1.0/24", "172.17.0.0/16"]);
        assert!(routes("").is_empty());
    }
}
