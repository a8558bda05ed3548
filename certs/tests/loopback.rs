//! Members of a fleet over real TCP and TLS: who gets in, who does not and learns why, and what a revocation, an
//! expiry and a renewal do to connections that stand.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "loopback/fleet.rs"]
mod fleet;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use fleet::{Fleet, agent, authority, check, coordinator, demo, now, operator, until, watch};
use rustls::{AlertDescription, ClientConfig, ServerConfig};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::sync::CancellationToken;
use windlass_certs::csr::CertifiedIdentity;
use windlass_certs::identity::Role;
use windlass_certs::join::JoinToken;
use windlass_certs::revocation::Revocations;
use windlass_certs::tls::{
    AcceptOptions, ClientTls, ConnectError, ConnectOptions, ServerTls, TlsError, connect, listen,
};
use windlass_core::Digest;
use windlass_testkit::tls::{client, parts};

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn members_are_known_by_their_certificate() {
    let mut fleet = Fleet::start();
    let tls = fleet.client(&fleet.member(&agent(3)));
    let peer = fleet.greet(&tls).await.unwrap().peer.unwrap();
    assert_eq!(peer.identity.to_string(), "spiffe://demo/agent/web-1");
    assert_eq!((peer.generation, &peer.grant), (3, &None));

    let tls = fleet.client(&fleet.member(&operator()));
    let peer = fleet.greet(&tls).await.unwrap().peer.unwrap();
    assert_eq!(peer.identity.role(), Role::Operator);
    assert_eq!(peer.grant.as_ref().unwrap().to_string(), "admin/*");
    assert_eq!(fleet.stats.snapshot()["done"], 2);
}

#[tokio::test]
async fn first_contact_needs_only_the_token() {
    let mut fleet = Fleet::start();
    let host = "web-1".parse().unwrap();
    let token = JoinToken::new(demo(), host, fleet.ca.fingerprint(), Digest::of(b"trust")).unwrap();
    let info = fleet.greet(&ClientTls::join(&token).unwrap()).await.unwrap();
    assert!(info.peer.is_none(), "a handler sees that nobody is named");

    let other = JoinToken::new(demo(), token.host().clone(), Digest::of(b"x"), Digest::of(b"trust")).unwrap();
    let error = fleet.connect(&ClientTls::join(&other).unwrap()).await.unwrap_err();
    assert!(matches!(error, ConnectError::WrongCa(_)), "{error:?}");
}

#[tokio::test]
async fn another_ca_is_refused_at_both_ends() {
    let fleet = Fleet::start();
    let other = authority(); // the same fleet name, another key
    let stranger = other.issue_new(&agent(1), now()).unwrap();
    // The client pins the other CA: it refuses the coordinator.
    let tls = ClientTls::new(demo(), vec![other.fingerprint()], &stranger, Revocations::new()).unwrap();
    let error = fleet.connect(&tls).await.unwrap_err();
    assert!(matches!(error, ConnectError::WrongCa(_)), "{error:?}");
    assert!(error.hint().is_some() && !error.is_temporary());
    // It pins ours and shows a certificate of the other: the coordinator refuses it, and it learns that.
    let tls = fleet.client(&stranger);
    let error = fleet.connect(&tls).await.unwrap_err();
    assert!(matches!(error, ConnectError::OurCertificateRefused(AlertDescription::UnknownCA)), "{error:?}");
    assert_eq!(fleet.stats.snapshot()["wrong_ca"], 1);
}

#[tokio::test]
async fn an_expired_certificate_gets_no_further_and_may_come_without() {
    let mut fleet = Fleet::start();
    let mut leaf = agent(1);
    leaf.validity = Duration::from_secs(60);
    let old = fleet.ca.issue_new(&leaf, now() - Duration::from_secs(3600)).unwrap();
    let error = fleet.connect(&fleet.client(&old)).await.unwrap_err();
    assert!(matches!(error, ConnectError::OurCertificateExpired), "{error:?}");
    assert_eq!(fleet.stats.snapshot()["expired"], 1);
    let pins = vec![fleet.ca.fingerprint()];
    let anonymous = ClientTls::anonymous(demo(), pins, Revocations::new()).unwrap();
    assert!(fleet.greet(&anonymous).await.unwrap().peer.is_none());
}

#[tokio::test]
async fn a_coordinator_whose_certificate_expired_is_refused() {
    let fleet = Fleet::start();
    let mut leaf = coordinator(1);
    leaf.validity = Duration::from_secs(60);
    let old = fleet.ca.issue_new(&leaf, now() - Duration::from_secs(3600)).unwrap();
    fleet.tls.reload(&old, &[fleet.ca.certificate().clone()]).unwrap();
    let error = fleet.connect(&fleet.client(&fleet.member(&agent(1)))).await.unwrap_err();
    assert!(matches!(error, ConnectError::TheirCertificateExpired(_)), "{error:?}");
}

#[tokio::test]
async fn a_coordinator_whose_certificate_was_revoked_is_refused() {
    let fleet = Fleet::start();
    let revocations = Revocations::new();
    let pins = vec![fleet.ca.fingerprint()];
    let tls = ClientTls::new(demo(), pins, &fleet.member(&agent(1)), revocations.clone()).unwrap();
    fleet.connect(&tls).await.unwrap();
    revocations.revoke_identity(&coordinator(1).identity, 1);
    let error = fleet.connect(&tls).await.unwrap_err();
    assert!(matches!(error, ConnectError::TheirCertificateRevoked(_)), "{error:?}");
}

#[tokio::test]
async fn roles_belong_to_their_end() {
    let fleet = Fleet::start();
    let (host, main) = (fleet.member(&agent(1)), fleet.member(&coordinator(2)));
    // By our own types it cannot even be configured ...
    let pins = vec![fleet.ca.fingerprint()];
    let roots = [fleet.ca.certificate().clone()];
    let server = ServerTls::new(&host, &roots, Revocations::new());
    assert!(matches!(server, Err(TlsError::WrongRole(Role::Agent))));
    let refused = ClientTls::new(demo(), pins, &main, Revocations::new());
    assert!(matches!(refused, Err(TlsError::WrongRole(Role::Coordinator))));
    // ... and whoever writes their own TLS does not get in: a stolen agent playing coordinator,
    let (mut tasks, address) = foreign_server(&host).await;
    let error = connect(&address, &fleet.client(&host), &ConnectOptions::default()).await.unwrap_err();
    assert!(matches!(error, ConnectError::WrongPeer { .. }), "{error:?}");
    tasks.abort_all();
    // and a coordinator's certificate used as a client's.
    let config = client(Some(&main), &[&rustls::version::TLS13]);
    assert!(handshake(&fleet, config).await.is_err());
    assert_eq!(fleet.stats.snapshot()["wrong_peer"], 1);
}

#[tokio::test]
async fn tls_1_2_is_refused() {
    let fleet = Fleet::start();
    let host = fleet.member(&agent(1));
    assert!(handshake(&fleet, client(Some(&host), &[&rustls::version::TLS12])).await.is_err());
    assert!(handshake(&fleet, client(Some(&host), &[&rustls::version::TLS13])).await.is_ok());
    assert_eq!(fleet.stats.snapshot()["protocol"], 1);
}

#[tokio::test]
async fn no_session_is_resumed() {
    let fleet = Fleet::start();
    // This client would resume if it were given a ticket.
    let config = client(Some(&fleet.member(&agent(1))), &[&rustls::version::TLS13]);
    for _ in 0..3 {
        let kind = handshake(&fleet, config.clone()).await.unwrap();
        assert_eq!(kind, rustls::HandshakeKind::Full);
    }
}

#[tokio::test]
async fn a_revocation_cuts_live_streams_at_once() {
    let mut fleet = Fleet::start();
    let (bad, good) = (fleet.member(&agent(1)), fleet.member(&operator()));
    let bad_tls = fleet.client(&bad);
    let bad_channel = fleet.connect(&bad_tls).await.unwrap();
    let good_channel = fleet.connect(&fleet.client(&good)).await.unwrap();
    let mut stream = watch(&bad_channel).await;
    let info = fleet.seen.recv().await.unwrap();
    check(&good_channel).await.unwrap();
    assert_eq!(fleet.revocations.live(), 2);

    assert_eq!(fleet.revocations.revoke_serial(bad.peer().serial.clone()), 1);
    timeout(SOON, info.cancel.cancelled()).await.expect("handlers are told");
    let end = timeout(SOON, stream.message()).await.expect("the stream ends");
    assert!(end.is_err(), "{end:?}");
    until("the connection is gone", || fleet.revocations.live() == 1).await;
    let error = fleet.connect(&bad_tls).await.unwrap_err();
    assert!(matches!(error, ConnectError::OurCertificateRevoked), "{error:?}");
    check(&good_channel).await.expect("others are not touched");
}

#[tokio::test]
async fn evicted_host_joins_with_a_later_generation_banned_never() {
    let mut fleet = Fleet::start();
    let (first, second) = (fleet.member(&agent(1)), fleet.member(&agent(2)));
    let identity = first.peer().identity.clone();
    fleet.revocations.revoke_identity(&identity, 1);
    assert!(fleet.connect(&fleet.client(&first)).await.is_err());
    let tls = fleet.client(&second);
    fleet.greet(&tls).await.unwrap();
    fleet.revocations.revoke_identity(&identity, u64::MAX);
    assert!(fleet.connect(&tls).await.is_err());
}

#[tokio::test]
async fn a_connection_ends_when_its_certificate_does() {
    let mut fleet = Fleet::start();
    let mut leaf = agent(1);
    leaf.validity = Duration::from_secs(2);
    let brief = fleet.member(&leaf);
    let channel = fleet.connect(&fleet.client(&brief)).await.unwrap();
    let mut stream = watch(&channel).await;
    let info = fleet.seen.recv().await.unwrap();
    assert!(timeout(SOON, stream.message()).await.expect("the stream ends").is_err());
    assert!(info.cancel.is_cancelled());
    assert!(now() >= brief.peer().not_after, "and not before");
}

#[tokio::test]
async fn a_connection_without_a_certificate_does_not_stay() {
    let options =
        AcceptOptions { anonymous_lifetime: Duration::from_millis(300), ..AcceptOptions::default() };
    let fleet = Fleet::start_with(authority(), options);
    let pins = vec![fleet.ca.fingerprint()];
    let anonymous = ClientTls::anonymous(demo(), pins, Revocations::new()).unwrap();
    let channel = fleet.connect(&anonymous).await.unwrap();
    let mut stream = watch(&channel).await;
    assert!(timeout(SOON, stream.message()).await.expect("the stream ends").is_err());
}

#[tokio::test]
async fn renewals_reach_the_next_connection_and_leave_this_one_alone() {
    let mut fleet = Fleet::start();
    let tls = fleet.client(&fleet.member(&agent(1)));
    let standing = fleet.connect(&tls).await.unwrap();
    check(&standing).await.unwrap();
    assert_eq!(fleet.seen.recv().await.unwrap().peer.unwrap().generation, 1);
    // The coordinator moves to a new CA; the trust document names both for a while.
    let next = authority();
    let own = next.issue_new(&coordinator(2), now()).unwrap();
    fleet.tls.reload(&own, &[fleet.ca.certificate().clone(), next.certificate().clone()]).unwrap();
    let error = fleet.connect(&tls).await.unwrap_err();
    assert!(matches!(error, ConnectError::WrongCa(_)), "{error:?}");
    tls.pin(vec![fleet.ca.fingerprint(), next.fingerprint()]);
    assert_eq!(fleet.greet(&tls).await.unwrap().peer.unwrap().generation, 1);
    tls.reload(&next.issue_new(&agent(2), now()).unwrap()).unwrap();
    assert_eq!(fleet.greet(&tls).await.unwrap().peer.unwrap().generation, 2);
    check(&standing).await.expect("the old connection goes on");
}

#[tokio::test]
async fn strangers_are_bounded_in_number_and_time() {
    let options = AcceptOptions {
        handshakes: 2,
        handshakes_per_address: 2,
        hello_timeout: Duration::from_millis(500),
        ..AcceptOptions::default()
    };
    let mut fleet = Fleet::start_with(authority(), options);
    // Two that say nothing have both places: the oldest gives one, the other runs out of time.
    let silent = [connect_tcp(&fleet).await, connect_tcp(&fleet).await];
    let tls = fleet.client(&fleet.member(&agent(1)));
    fleet.greet(&tls).await.unwrap();
    until("the oldest gave its place", || fleet.stats.snapshot()["crowded"] == 1).await;
    until("the other one is not waited for", || fleet.stats.snapshot()["timeout"] == 1).await;
    drop(silent);
    let mut noise = connect_tcp(&fleet).await;
    noise.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    until("noise is counted", || fleet.stats.snapshot()["protocol"] == 1).await;
    drop(connect_tcp(&fleet).await);
    until("a hang-up is counted", || fleet.stats.snapshot()["closed"] == 1).await;
}

/// Connections that say six bytes and then nothing, from so many addresses of this machine; as many as there are places
/// twice over, and on and on.
async fn half_hellos(to: std::net::SocketAddr, addresses: u16) {
    let mut held = std::collections::VecDeque::new();
    for n in (0..addresses).cycle() {
        let socket = TcpSocket::new_v4().unwrap();
        let [high, low] = n.to_be_bytes();
        socket.bind(([127, 77, high, low.max(1)], 0).into()).unwrap();
        if let Ok(Ok(mut tcp)) = timeout(SOON, socket.connect(to)).await {
            drop(tcp.write_all(&[0x16, 3, 1, 2, 0, 1]).await);
            held.push_back(tcp);
        }
        if held.len() > 600 {
            held.pop_front();
        }
        // Not faster than they are accepted: one that is closed before takes no place.
        if n % 2 == 0 {
            sleep(Duration::from_millis(1)).await;
        }
    }
}

/// A flood in a thread of its own, as it would come from another machine; it ends when the token is tripped.
fn flood_from(to: std::net::SocketAddr, addresses: u16, end: CancellationToken) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { end.run_until_cancelled(half_hellos(to, addresses)).await });
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_half_hellos_keeps_no_member_out() {
    for addresses in [1, 200] {
        let mut fleet = Fleet::start();
        let end = CancellationToken::new();
        let _ends = end.clone().drop_guard();
        let flood = flood_from(fleet.address, addresses, end);
        until("all places are taken", || {
            let counts = fleet.stats.snapshot();
            counts["crowded"] + counts["throttled"] > 100
        })
        .await;
        let mut took = Vec::new();
        for generation in 1..=5 {
            let tls = fleet.client(&fleet.member(&agent(generation)));
            let begun = std::time::Instant::now();
            fleet.greet(&tls).await.expect("a member gets in");
            took.push(begun.elapsed());
        }
        println!("from {addresses} addresses: {took:?}");
        assert!(!flood.is_finished(), "it goes on all the while");
    }
}

#[tokio::test]
async fn whoever_does_not_answer_is_named() {
    let fleet = Fleet::start();
    let tls = fleet.client(&fleet.member(&agent(1)));
    let (address, free) = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        (listener.local_addr().unwrap().to_string(), listener)
    };
    let options = ConnectOptions { connect_timeout: Duration::from_millis(200), ..ConnectOptions::default() };
    let error = connect(&address, &tls, &options).await.unwrap_err();
    assert!(matches!(error, ConnectError::Timeout { .. }), "{error:?}");
    drop(free);
    let error = connect(&address, &tls, &ConnectOptions::default()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable { .. }) && error.is_temporary(), "{error:?}");
    let taken = listen(fleet.address, fleet.tls.clone(), AcceptOptions::default()).unwrap_err();
    assert!(taken.hint().unwrap().contains("another process"));
}

async fn connect_tcp(fleet: &Fleet) -> TcpStream {
    TcpStream::connect(fleet.address).await.unwrap()
}

/// A handshake up to the first byte of the coordinator.
async fn handshake(fleet: &Fleet, config: ClientConfig) -> std::io::Result<rustls::HandshakeKind> {
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, connect_tcp(fleet).await).await?;
    stream.read_u8().await?;
    Ok(stream.get_ref().1.handshake_kind().unwrap())
}

/// Someone's own server with a stolen identity.
async fn foreign_server(identity: &CertifiedIdentity) -> (JoinSet<()>, String) {
    let (chain, key) = parts(identity);
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        drop(TlsAcceptor::from(Arc::new(config)).accept(tcp).await);
    });
    (tasks, address)
}

#[tokio::test]
async fn one_certificate_has_a_few_connections_and_the_newest_win() {
    let fleet = Fleet::start();
    let tls = fleet.client(&fleet.member(&agent(1)));
    let mut streams = Vec::new();
    for _ in 0..36 {
        let channel = fleet.connect(&tls).await.unwrap();
        streams.push(watch(&channel).await);
    }
    until("the oldest are cut", || fleet.revocations.live() == 32).await;
    for mut old in streams.drain(..4) {
        let ended = timeout(SOON, old.message()).await.expect("a stream that was cut ends");
        assert!(!matches!(ended, Ok(Some(_))), "{ended:?}");
    }
    let other = fleet.client(&fleet.member(&operator()));
    check(&fleet.connect(&other).await.unwrap()).await.expect("others come in");
    for stream in &mut streams {
        assert!(timeout(Duration::from_millis(1), stream.message()).await.is_err(), "the newest stand");
    }
}

#[tokio::test]
async fn an_address_that_floods_loses_its_own_connections() {
    let options = AcceptOptions { anonymous_per_address: 4, anonymous: 4, ..AcceptOptions::default() };
    let fleet = Fleet::start_with(authority(), options);
    let stranger = ClientTls::anonymous(demo(), vec![fleet.ca.fingerprint()], Revocations::new()).unwrap();
    let mut streams = Vec::new();
    for _ in 0..10 {
        let channel = fleet.connect(&stranger).await.unwrap();
        streams.push(watch(&channel).await);
    }
    for mut old in streams.drain(..6) {
        let ended = timeout(SOON, old.message()).await.expect("a stream that was cut ends");
        assert!(!matches!(ended, Ok(Some(_))), "{ended:?}");
    }
    let member = fleet.client(&fleet.member(&agent(1)));
    check(&fleet.connect(&member).await.unwrap()).await.expect("members do not take part in that");
}
