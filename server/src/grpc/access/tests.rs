use std::collections::BTreeSet;

use windlass_certs::ca::{CertificateAuthority, Leaf};
use windlass_certs::csr::TlsKey;
use windlass_certs::identity::Identity;
use windlass_core::Timestamp;

use super::*;

fn fleet() -> FleetId {
    "demo".parse().unwrap()
}

fn peer(kind: &str) -> Option<PeerIdentity> {
    let ca = CertificateAuthority::generate(fleet(), Timestamp::ZERO).unwrap();
    let leaf = match kind {
        "stranger" => return None,
        "agent" => Leaf::agent(Identity::agent(fleet(), "web-1".parse().unwrap()), 1),
        "coordinator" => Leaf::coordinator(Identity::coordinator(fleet(), "c-1".parse().unwrap()), 1),
        grant => {
            let identity = Identity::operator(fleet(), &"alice".parse().unwrap());
            Leaf::operator(identity, grant.parse().unwrap(), 1)
        }
    };
    let csr = TlsKey::generate().unwrap().csr().unwrap();
    Some(ca.issue(&csr, &leaf, Timestamp::from_millis(1_000_000)).unwrap().peer)
}

/// Every role against every kind of method. A reader checks this table.
#[test]
fn role_by_method() {
    let callers = [
        "stranger",
        "agent",
        "coordinator",
        "viewer/test",
        "viewer/*",
        "deployer/test",
        "admin/test",
        "admin/*",
    ];
    #[rustfmt::skip]
    let table = [
        ("/windlass.v1.Enrolment/Join",           [true,  true,  true,  true,  true,  true,  true,  true]),
        ("/windlass.v1.AgentLink/Connect",        [false, true,  false, false, false, false, false, false]),
        ("/windlass.v1.Control/ListHosts",        [false, false, false, true,  true,  true,  true,  true]),
        ("/windlass.v1.Control/SubmitRelease",    [false, false, false, false, false, true,  true,  true]),
        ("/windlass.v1.Control/CreateHostToken",  [false, false, false, false, false, false, false, true]),
        ("/windlass.v1.Control/PreviewRecovery",  [false, false, false, false, true,  false, false, true]),
        ("/windlass.v1.Control/Recover",          [false, false, false, false, false, false, false, true]),
        ("/windlass.v1.Control/PublishTrust",     [false, false, false, false, false, false, false, true]),
        ("/windlass.v1.Control/StreamAudit",      [false, false, false, false, true,  false, false, true]),
        ("/grpc.health.v1.Health/Check",          [false, true,  true,  true,  true,  true,  true,  true]),
        ("/windlass.v1.Control/Unheard",          [false, false, false, false, false, false, false, false]),
        ("",                                      [false, false, false, false, false, false, false, false]),
    ];
    for (at, kind) in callers.iter().enumerate() {
        let peer = peer(kind);
        for (path, want) in &table {
            assert_eq!(decide(path, &fleet(), peer.as_ref()).is_ok(), want[at], "{kind} {path}");
        }
    }
}

#[test]
fn a_certificate_of_another_fleet_is_refused() {
    let other: FleetId = "other".parse().unwrap();
    let status = decide("/grpc.health.v1.Health/Check", &other, peer("admin/*").as_ref()).unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
}

/// A method that is added to a `.proto` must be added to the table, or nobody can call it.
#[test]
fn the_table_has_every_method_of_ours_once() {
    let described: BTreeSet<String> = methods().into_iter().collect();
    let listed: Vec<String> = TABLE.iter().map(|(path, _)| (*path).to_owned()).collect();
    let ours: BTreeSet<String> =
        listed.iter().filter(|path| path.starts_with("/windlass.")).cloned().collect();
    assert_eq!(described, ours);
    assert_eq!(listed.len(), listed.iter().collect::<BTreeSet<_>>().len());
}

fn methods() -> Vec<String> {
    let set = prost_types_set();
    let mut paths = Vec::new();
    for file in set.file {
        for service in &file.service {
            for method in &service.method {
                paths.push(format!("/{}.{}/{}", file.package(), service.name(), method.name()));
            }
        }
    }
    paths
}

fn prost_types_set() -> prost_types::FileDescriptorSet {
    prost::Message::decode(windlass_proto::DESCRIPTORS).unwrap()
}
