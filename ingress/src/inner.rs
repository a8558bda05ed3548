//! Calls of services by name, from containers of this host: at the gateway of an inner network, a host name is a service of
//! the network's environment, and the port is that of its container.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;

use windlass_core::EnvironmentId;
use windlass_core::network::InnerNetwork;

use crate::target::Target;

/// Most addresses of inner networks at which one ingress listens.
pub const MOST_INNER: usize = 24;

/// An inner network with the targets of its names.
#[derive(Debug)]
pub(crate) struct Inner {
    network: InnerNetwork,
    /// By container port, then by the name of the service.
    ports: HashMap<u16, HashMap<String, Arc<Target>>>,
}

/// The place where a connection came in, if that is the gateway of an inner network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Door {
    pub(crate) gateway: Ipv4Addr,
    pub(crate) port: u16,
}

/// A name that leads nowhere just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoTarget {
    /// Nothing of the network calls it.
    NotCalled,
    /// No table has the service with this port.
    NotThere,
}

impl Inner {
    pub(crate) fn new(network: InnerNetwork) -> Self {
        Self { network, ports: HashMap::new() }
    }

    pub(crate) const fn environment(&self) -> &EnvironmentId {
        &self.network.environment
    }

    pub(crate) fn gateway(&self) -> Ipv4Addr {
        self.network.gateway()
    }

    /// Adds a port of a service, if something of the network calls it.
    pub(crate) fn add(&mut self, target: &Arc<Target>, container: u16) {
        let name = &target.service.service;
        if self.network.uses.contains(name) {
            let names = self.ports.entry(container).or_default();
            names.entry(name.to_string()).or_insert_with(|| Arc::clone(target));
        }
    }

    /// The target of a name at a port.
    pub(crate) fn find(&self, port: u16, host: &str) -> Result<&Arc<Target>, NoTarget> {
        if let Some(target) = self.ports.get(&port).and_then(|names| names.get(host)) {
            return Ok(target);
        }
        let called = self.network.uses.iter().any(|name| name.as_str() == host);
        Err(if called { NoTarget::NotThere } else { NoTarget::NotCalled })
    }

    /// Whether a client is in the network. Others reach its gateway too, through the host, and are no containers of the
    /// environment.
    fn holds(&self, client: IpAddr) -> bool {
        matches!(client.to_canonical(), IpAddr::V4(address) if self.network.subnet.contains(&address))
    }
}

/// The inner networks of a host, by gateway.
#[derive(Debug, Default)]
pub(crate) struct Networks(HashMap<Ipv4Addr, Inner>);

impl Networks {
    pub(crate) fn add(&mut self, inner: Inner) {
        self.0.insert(inner.gateway(), inner);
    }

    pub(crate) fn get(&self, gateway: Ipv4Addr) -> Option<&Inner> {
        self.0.get(&gateway)
    }

    /// The addresses at which names are called.
    pub(crate) fn listens(&self) -> BTreeSet<SocketAddrV4> {
        let of = |(gateway, inner): (&Ipv4Addr, &Inner)| {
            inner.ports.keys().map(|port| SocketAddrV4::new(*gateway, *port)).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(of).collect()
    }

    /// The door through which a connection to `local` came in; an error if its client has no business there.
    pub(crate) fn door(&self, local: SocketAddr, client: IpAddr) -> Result<Option<Door>, Stranger> {
        let IpAddr::V4(gateway) = local.ip().to_canonical() else { return Ok(None) };
        let Some(inner) = self.0.get(&gateway).filter(|inner| inner.ports.contains_key(&local.port())) else {
            return Ok(None);
        };
        if inner.holds(client) { Ok(Some(Door { gateway, port: local.port() })) } else { Err(Stranger) }
    }
}

/// A client at a gateway that is not in its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stranger;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::tests::target;

    fn network() -> InnerNetwork {
        InnerNetwork {
            environment: "production".parse().unwrap(),
            subnet: "10.210.3.0/24".parse().unwrap(),
            uses: ["api", "later"].into_iter().map(|name| name.parse().unwrap()).collect(),
        }
    }

    fn networks() -> Networks {
        let mut inner = Inner::new(network());
        inner.add(&target("api"), 8000);
        inner.add(&target("other"), 8000);
        inner.add(&target("other"), 9000);
        let mut networks = Networks::default();
        networks.add(inner);
        networks
    }

    #[test]
    fn a_name_leads_to_its_service_at_its_port() {
        let networks = networks();
        let inner = networks.get(Ipv4Addr::new(10, 210, 3, 1)).unwrap();
        assert_eq!(inner.find(8000, "api").unwrap().service.service.as_str(), "api");
        for (port, host, why) in [
            (8000, "other", NoTarget::NotCalled),
            (8000, "later", NoTarget::NotThere),
            (9000, "api", NoTarget::NotThere),
            (8000, "API", NoTarget::NotCalled),
        ] {
            assert_eq!(inner.find(port, host).unwrap_err(), why, "{host}:{port}");
        }
        let listens: Vec<String> = networks.listens().iter().map(ToString::to_string).collect();
        assert_eq!(listens, ["10.210.3.1:8000"], "nobody calls anything at 9000");
    }

    #[test]
    fn only_clients_of_the_network_come_in_at_its_gateway() {
        let networks = networks();
        let door = |local: &str, client: &str| networks.door(local.parse().unwrap(), client.parse().unwrap());
        let inside = Door { gateway: Ipv4Addr::new(10, 210, 3, 1), port: 8000 };
        assert_eq!(door("10.210.3.1:8000", "10.210.3.7"), Ok(Some(inside)));
        assert_eq!(door("[::ffff:10.210.3.1]:8000", "::ffff:10.210.3.7"), Ok(Some(inside)));
        assert_eq!(door("10.210.3.1:8000", "10.210.4.7"), Err(Stranger), "of another environment");
        assert_eq!(door("10.210.3.1:80", "10.210.4.7"), Ok(None), "nobody is called at this port");
        assert_eq!(door("192.168.1.1:8000", "10.210.3.7"), Ok(None));
        assert_eq!(door("[::1]:8000", "::1"), Ok(None));
    }
}
