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

/// Every role against every method. A reader checks this table; it is written out, so that a change of the other one
/// shows here.
#[test]
fn role_by_method() {
    let callers = [
        "stranger",
        "agent",
        "coordinator",
        "viewer/test",
        "viewer/*",
        "deployer/test",
        "approver/test",
        "admin/test",
        "admin/*",
    ];
    #[rustfmt::skip]
    let table = [
        ("/windlass.v1.Enrolment/Join",                 [true , true , true , true , true , true , true , true , true ]),
        ("/windlass.v1.Enrolment/JoinOperator",         [true , true , true , true , true , true , true , true , true ]),
        ("/windlass.v1.Enrolment/Challenge",            [true , true , true , true , true , true , true , true , true ]),
        ("/windlass.v1.Enrolment/Renew",                [true , true , true , true , true , true , true , true , true ]),
        ("/windlass.v1.AgentLink/Connect",              [false, true , false, false, false, false, false, false, false]),
        ("/windlass.v1.AgentLink/FetchRelease",         [false, true , false, false, false, false, false, false, false]),
        ("/windlass.v1.AgentLink/FetchTrust",           [false, true , false, false, false, false, false, false, false]),
        ("/windlass.v1.AgentLink/SendLogs",             [false, true , false, false, false, false, false, false, false]),
        ("/windlass.v1.Control/CreateHostToken",        [false, false, false, false, false, false, false, false, true ]),
        ("/windlass.v1.Control/SteerHost",              [false, false, false, false, false, false, false, false, true ]),
        ("/windlass.v1.Control/PreviewRecovery",        [false, false, false, false, true , false, false, false, true ]),
        ("/windlass.v1.Control/Recover",                [false, false, false, false, false, false, false, false, true ]),
        ("/windlass.v1.Control/ListHosts",              [false, false, false, true , true , true , true , true , true ]),
        ("/windlass.v1.Control/GetHost",                [false, false, false, true , true , true , true , true , true ]),
        ("/windlass.v1.Control/GetService",             [false, false, false, true , true , true , true , true , true ]),
        ("/windlass.v1.Control/Preview",                [false, false, false, true , true , true , true , true , true ]),
        ("/windlass.v1.Control/SubmitRelease",          [false, false, false, false, false, true , true , true , true ]),
        ("/windlass.v1.Control/ListReleases",           [false, false, false, true , true , true , true , true , true ]),
        ("/windlass.v1.Control/GetRelease",             [false, false, false, true , true , true , true , true , true ]),
        ("/windlass.v1.Control/Rollback",               [false, false, false, false, false, true , true , true , true ]),
        ("/windlass.v1.Control/ListQuarantine",         [false, false, false, true , true , true , true , true , true ]),
        ("/windlass.v1.Control/ClearQuarantine",        [false, false, false, false, false, true , true , true , true ]),
        ("/windlass.v1.Control/GetVersion",             [false, false, false, true , true , true , true , true , true ]),
        ("/windlass.v1.Control/ListRollouts",           [false, false, false, true , true , true , true , true , true ]),
        ("/windlass.v1.Control/GetRollout",             [false, false, false, true , true , true , true , true , true ]),
        ("/windlass.v1.Control/ExplainRollout",         [false, false, false, true , true , true , true , true , true ]),
        ("/windlass.v1.Control/WatchRollout",           [false, false, false, true , true , true , true , true , true ]),
        ("/windlass.v1.Control/SteerRollout",           [false, false, false, false, false, true , true , true , true ]),
        ("/windlass.v1.Control/SteerService",           [false, false, false, false, false, true , true , true , true ]),
        ("/windlass.v1.Control/GetStatus",              [false, false, false, true , true , true , true , true , true ]),
        ("/windlass.v1.Control/StreamLogs",             [false, false, false, true , true , true , true , true , true ]),
        ("/windlass.v1.Control/StreamEvents",           [false, false, false, true , true , true , true , true , true ]),
        ("/windlass.v1.Control/AddOperator",            [false, false, false, false, false, false, false, false, true ]),
        ("/windlass.v1.Control/ListOperators",          [false, false, false, false, true , false, false, false, true ]),
        ("/windlass.v1.Control/GetHistory",             [false, false, false, true , true , true , true , true , true ]),
        ("/windlass.v1.Control/WatchFleet",             [false, false, false, true , true , true , true , true , true ]),
        ("/windlass.v1.Control/ListRoutes",             [false, false, false, true , true , true , true , true , true ]),
        ("/windlass.v1.Control/ForgetIngress",          [false, false, false, false, false, false, false, false, true ]),
        ("/windlass.v1.Control/RevokeOperator",         [false, false, false, false, false, false, false, false, true ]),
        ("/windlass.v1.Control/GetTrust",               [false, false, false, true , true , true , true , true , true ]),
        ("/windlass.v1.Control/PublishTrust",           [false, false, false, false, false, false, false, false, true ]),
        ("/windlass.v1.Control/StreamAudit",            [false, false, false, false, true , false, false, false, true ]),
        ("/grpc.health.v1.Health/Check",                [false, true , true , true , true , true , true , true , true ]),
        ("/grpc.health.v1.Health/Watch",                [false, true , true , true , true , true , true , true , true ]),
        ("/grpc.health.v1.Health/List",                 [false, true , true , true , true , true , true , true , true ]),
        ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",[false, true , true , true , true , true , true , true , true ]),
        ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",[false, true , true , true , true , true , true , true , true ]),
        ("/windlass.v1.Control/Unheard",                [false, false, false, false, false, false, false, false, false]),
        ("",                                            [false, false, false, false, false, false, false, false, false]),
    ];
    for (path, _) in TABLE {
        assert!(table.iter().any(|(known, _)| known == path), "{path} is not in this table");
    }
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

#[test]
fn every_method_that_is_not_known_to_read_has_a_quota() {
    let writing: Vec<&str> = TABLE.iter().map(|(path, _)| *path).filter(|path| writes(path)).collect();
    for path in ["Enrolment/Renew", "AgentLink/Connect", "Control/SubmitRelease", "Control/SteerHost"] {
        assert!(writing.contains(&format!("/windlass.v1.{path}").as_str()), "{path}: {writing:?}");
    }
    for path in
        ["Control/GetStatus", "Control/StreamLogs", "AgentLink/FetchRelease", "Control/PreviewRecovery"]
    {
        assert!(!writes(&format!("/windlass.v1.{path}")), "{path}");
    }
    assert!(writes("/windlass.v1.Control/NewOne"));
}
