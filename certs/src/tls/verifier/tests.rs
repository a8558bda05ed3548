use std::time::Duration;

use windlass_core::Timestamp;

use super::*;
use crate::ca::{CA_VALIDITY, CertificateAuthority, Leaf};
use crate::csr::CertifiedIdentity;
use crate::identity::Identity;

fn now() -> Timestamp {
    "2026-11-22T12:00:00.000Z".parse().unwrap()
}

fn at(time: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_millis(time.as_millis().try_into().unwrap()))
}

struct World {
    ca: CertificateAuthority,
    revocations: Revocations,
}

impl World {
    fn new() -> Self {
        let ca = CertificateAuthority::generate("demo".parse().unwrap(), now()).unwrap();
        Self { ca, revocations: Revocations::new() }
    }

    fn agent(&self, generation: u64) -> CertifiedIdentity {
        let web1 = Identity::agent("demo".parse().unwrap(), "web-1".parse().unwrap());
        self.ca.issue_new(&Leaf::agent(web1, generation), now()).unwrap()
    }

    fn coordinator(&self, name: &str) -> CertifiedIdentity {
        let main = Identity::coordinator("demo".parse().unwrap(), name.parse().unwrap());
        self.ca.issue_new(&Leaf::coordinator(main, 1), now()).unwrap()
    }

    fn clients(&self, fleet: &str) -> Arc<FleetClients> {
        let roots = [self.ca.certificate().clone()];
        FleetClients::new(fleet.parse().unwrap(), &roots, self.revocations.clone()).unwrap()
    }

    fn servers(&self) -> Arc<FleetServers> {
        let pins = vec![self.ca.fingerprint()];
        FleetServers::new("demo".parse().unwrap(), pins, self.revocations.clone())
    }
}

fn meets(servers: &FleetServers, chain: &[CertificateDer<'static>], time: Timestamp) -> bool {
    let name = ServerName::try_from("coordinator").unwrap();
    servers.verify_server_cert(&chain[0], &chain[1..], &name, &[], at(time)).is_ok()
}

#[test]
fn client_is_a_member_and_brings_few_certificates() {
    let world = World::new();
    let agent = world.agent(1);
    let leaf = &agent.chain()[0];
    let many = |count: usize| vec![world.ca.certificate().clone(); count];
    let verified = |fleet, more: &[CertificateDer<'_>], time| {
        world.clients(fleet).verify_client_cert(leaf, more, at(time)).is_ok()
    };
    assert_eq!(
        world.clients("demo").root_hint_subjects().len(),
        1,
        "a client is told whose certificate to show"
    );
    assert!(verified("demo", &many(3), now()) && !verified("demo", &many(4), now()));
    assert!(!verified("other", &many(1), now()));
    assert!(!verified("demo", &many(1), agent.peer().not_after + Duration::from_secs(60)), "too late");
    let coordinator = world.coordinator("main");
    let asked = world.clients("demo").verify_client_cert(&coordinator.chain()[0], &[], at(now()));
    assert!(asked.is_err(), "no coordinator is a client");
    world.revocations.revoke_identity(&agent.peer().identity, 1);
    assert!(!verified("demo", &many(1), now()));
}

#[test]
fn expired_certificate_is_read_as_of_its_end_revoked_never() {
    let (world, other) = (World::new(), World::new());
    let agent = world.agent(1);
    let read = |world: &World, fleet: &str, leaf: &[u8]| {
        let roots = [world.ca.certificate().clone()];
        verify_expired(&fleet.parse().unwrap(), &roots, &world.revocations, leaf)
    };
    let leaf = &agent.chain()[0];
    assert_eq!(read(&world, "demo", leaf).unwrap(), *agent.peer());
    assert!(read(&world, "other", leaf).is_err() && read(&other, "demo", leaf).is_err());
    assert!(read(&world, "demo", b"nonsense").is_err());
    world.revocations.revoke_identity(&agent.peer().identity, 1);
    assert!(read(&world, "demo", leaf).is_err());
}

#[test]
fn a_coordinator_shows_a_ca_that_is_pinned_and_in_force() {
    let (world, other) = (World::new(), World::new());
    let (main, ca) = (world.coordinator("main"), world.ca.certificate().clone());
    let leaf = main.chain()[0].clone();
    let servers = world.servers();
    assert!(meets(&servers, main.chain(), now()));
    assert!(!meets(&servers, std::slice::from_ref(&leaf), now()), "the leaf alone");
    assert!(!meets(&other.servers(), main.chain(), now()), "another pin");
    assert!(!meets(&servers, world.agent(1).chain(), now()), "an agent");
    // Only so many certificates are looked at.
    let behind = |count: usize| {
        let mut chain = vec![leaf.clone()];
        chain.resize(count, other.ca.certificate().clone());
        chain.push(ca.clone());
        chain
    };
    assert!(meets(&servers, &behind(3), now()) && !meets(&servers, &behind(4), now()));
    servers.pin(vec![other.ca.fingerprint()]);
    assert!(!meets(&servers, main.chain(), now()), "its pin was taken away");
    servers.pin(vec![world.ca.fingerprint(), Digest::of(&leaf)]);
    assert!(!meets(&servers, &[leaf.clone(), leaf], now()), "a pinned leaf is no CA");
}

#[test]
fn a_ca_counts_within_its_dates() {
    let world = World::new();
    let der = world.ca.certificate();
    let first = now() - crate::ca::BACKDATE;
    let last = now() + CA_VALIDITY;
    let second = Duration::from_secs(1);
    let table = [(first - second, false), (first, true), (now(), true), (last - second, true), (last, false)];
    for (time, want) in table {
        assert_eq!(ca_is_in_force(der, at(time)), want, "{time}");
    }
    assert!(!ca_is_in_force(&[der.as_ref(), &[0]].concat(), at(now())), "bytes behind the end");
    assert!(!ca_is_in_force(&world.agent(1).chain()[0], at(now())), "a leaf");
}

#[test]
fn what_was_accepted_before_it_was_revoked_is_known_and_bounded() {
    let world = World::new();
    let servers = world.servers();
    let all: Vec<_> = (0..=REMEMBERED).map(|n| world.coordinator(&format!("c{n}"))).collect();
    for one in &all {
        assert!(meets(&servers, one.chain(), now()) && meets(&servers, one.chain(), now()), "twice is once");
    }
    // The first was pushed out by the last; the second is still known.
    world.revocations.revoke_serial(all[0].peer().serial.clone());
    assert!(!servers.trusts_revoked());
    world.revocations.revoke_serial(all[1].peer().serial.clone());
    assert!(servers.trusts_revoked());
    assert!(!meets(&servers, all[1].chain(), now()));
    servers.forget_revoked();
    assert!(!servers.trusts_revoked());
    world.revocations.revoke_serial(all[2].peer().serial.clone());
    assert!(servers.trusts_revoked(), "the others were not forgotten");
}

#[test]
fn a_ca_below_ours_certifies_nobody() {
    let world = World::new();
    let below = World { ca: world.ca.subordinate(now()), revocations: Revocations::new() };
    let chain = |own: &CertifiedIdentity| {
        vec![own.chain()[0].clone(), below.ca.certificate().clone(), world.ca.certificate().clone()]
    };
    let agent = chain(&below.agent(1));
    assert!(world.clients("demo").verify_client_cert(&agent[0], &agent[1..], at(now())).is_err());
    assert!(!meets(&world.servers(), &chain(&below.coordinator("main")), now()));
    let fleet = "demo".parse().unwrap();
    assert!(
        verify_expired(&fleet, &[world.ca.certificate().clone()], &world.revocations, &agent[0]).is_err()
    );
    assert!(verify_issued(&fleet, &[world.ca.fingerprint()], &agent).is_err());
    // Its own root, the same leaf is one: what is refused is the step between.
    assert!(below.clients("demo").verify_client_cert(&agent[0], &[], at(now())).is_ok());
}
