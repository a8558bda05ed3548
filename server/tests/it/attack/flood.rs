//! Floods, giant frames and slow drips, below gRPC: a TLS connection with a real certificate, and hand-made HTTP/2.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use windlass_certs::csr::CertifiedIdentity;
use windlass_proto::pb::agent_link_client::AgentLinkClient;

use super::{memory, serves};
use crate::agent::{Agent, Players};
use crate::fleet::{Fleet, LIMIT, until};

const MIB: u64 = 1 << 20;
const CONNECT: &str = "/windlass.v1.AgentLink/Connect";
const SEND_LOGS: &str = "/windlass.v1.AgentLink/SendLogs";
const JOIN: &str = "/windlass.v1.Enrolment/Join";
/// Connections that one agent may have, and calls with logs that it may have open.
const OF_AN_AGENT: usize = 32;

type Raw = TlsStream<TcpStream>;

/// A client that shows any certificate.
pub(super) fn tls(identity: Option<&CertifiedIdentity>) -> ClientConfig {
    windlass_testkit::tls::client(identity, &[&rustls::version::TLS13])
}

/// Shakes hands and waits for the first byte, which a coordinator sends once it has accepted us.
pub(super) async fn dial(address: SocketAddr, config: ClientConfig) -> io::Result<Raw> {
    let tcp = TcpStream::connect(address).await?;
    let name = ServerName::try_from("coordinator.windlass.internal").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await?;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await?;
    stream.write_all(&frame(0x4, 0, 0, &[])).await?; // our settings: all defaults
    read_frame(&mut stream).await?;
    Ok(stream)
}

/// Kind, flags and payload of the next frame.
async fn read_frame(stream: &mut Raw) -> io::Result<(u8, u8, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await?;
    let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
    stream.read_exact(&mut payload).await?;
    Ok((head[3], head[4], payload))
}

/// An HTTP/2 frame.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// Opens a call; nothing is compressed, each field is a literal.
fn open(stream: u32, path: &str) -> Vec<u8> {
    let mut block = Vec::new();
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "coordinator"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap()); // below 127, so one byte says it
            block.extend_from_slice(text.as_bytes());
        }
    }
    frame(0x1, 0x4, stream, &block)
}

/// A gRPC message that says it has `length` bytes, and the first of them.
fn begin(stream: u32, length: u32, body: &[u8]) -> Vec<u8> {
    let mut data = vec![0];
    data.extend(length.to_be_bytes());
    data.extend_from_slice(body);
    frame(0x0, 0, stream, &data)
}

async fn two_hosts(fleet: &Fleet) -> Players {
    let mut players = Players::default();
    for host in ["web-1", "web-2"] {
        players.add(fleet, Agent::joined(fleet, host).await).await;
    }
    players
}

/// Returns whether the other end closes it within the limit.
async fn closes(stream: &mut Raw) -> bool {
    let mut sink = vec![0; 4096];
    let end = async {
        loop {
            match stream.read(&mut sink).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    };
    timeout(LIMIT, end).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn half_messages_take_no_memory_and_keep_nobody_out() {
    let fleet = Fleet::start().await;
    let _players = two_hosts(&fleet).await;
    let rogue = Agent::joined(&fleet, "web-3").await;
    serves(&fleet, 1, "one").await;
    let before = memory();
    let mut held = Vec::new();
    // With one certificate, on more connections than it may have: eight streams each, each half a hello of 8 MiB or half a
    // message of 1 MiB with lines.
    for _ in 0..OF_AN_AGENT + 8 {
        let mut raw = dial(fleet.addr, tls(Some(&rogue.identity))).await.unwrap();
        for n in 0..8 {
            let stream = 2 * n + 1;
            let (path, length) = if n % 2 == 0 { (CONNECT, 8 << 20) } else { (SEND_LOGS, 1 << 20) };
            let sent = async {
                raw.write_all(&open(stream, path)).await?;
                raw.write_all(&begin(stream, length, &[b'{'; 16 << 10])).await
            };
            if sent.await.is_err() {
                break; // it was cut for the next one already
            }
        }
        held.push(raw);
    }
    for raw in &mut held[..8] {
        assert!(closes(raw).await, "the oldest connections make way");
    }
    // Strangers have less to say, and say it as slowly.
    for _ in 0..32 {
        let mut raw = dial(fleet.addr, tls(None)).await.unwrap();
        for n in 0..8 {
            raw.write_all(&open(2 * n + 1, JOIN)).await.unwrap();
            raw.write_all(&begin(2 * n + 1, 60 << 10, &[0; 4 << 10])).await.unwrap();
        }
        held.push(raw);
    }
    serves(&fleet, 2, "two").await;
    let grown = memory().saturating_sub(before) / MIB;
    assert!(grown < 48, "{grown} MiB");
    drop(held);
    // Nor does the identity stay locked out by what it began.
    until("the rogue may call again", async || rogue.connect(&fleet).await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_with_logs_that_say_nothing_are_few_and_end() {
    let fleet = Fleet::start().await;
    let (rogue, other) = (Agent::joined(&fleet, "web-3").await, Agent::joined(&fleet, "web-4").await);
    let silent = async |agent: &Agent| {
        let mut link = AgentLinkClient::new(fleet.channel(&agent.identity).await.unwrap());
        let opened = timeout(LIMIT, link.send_logs(tokio_stream::pending())).await.expect("an answer");
        opened.map(|answer| (link, answer.into_inner()))
    };
    let mut held = Vec::new();
    for _ in 0..OF_AN_AGENT - 1 {
        held.push(silent(&rogue).await.unwrap());
    }
    // A certificate has as many connections as calls, so that the last two share one.
    let (mut link, answer) = silent(&rogue).await.unwrap();
    let refused = link.send_logs(tokio_stream::pending()).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted, "{refused}");
    held.push((link, answer));
    assert!(silent(&other).await.is_ok(), "another host is not kept out");
    for (_, answer) in &mut held {
        let ended = timeout(LIMIT, answer.message()).await.expect("an end").unwrap_err();
        assert_eq!(ended.code(), tonic::Code::DeadlineExceeded, "{ended}");
    }
    until("the host may send logs again", async || silent(&rogue).await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_hello_is_waited_for_for_a_while_and_then_no_longer() {
    let fleet = Fleet::start().await;
    let rogue = Agent::joined(&fleet, "web-3").await;
    let mut raw = dial(fleet.addr, tls(Some(&rogue.identity))).await.unwrap();
    raw.write_all(&open(1, CONNECT)).await.unwrap();
    raw.write_all(&begin(1, 1000, b"{")).await.unwrap();
    // The answer is a status in trailers: frames of type HEADERS on stream 1.
    let answered = async {
        loop {
            match read_frame(&mut raw).await.unwrap() {
                (0x1, ..) => return,
                // A ping: we live.
                (0x6, 0, payload) => raw.write_all(&frame(0x6, 1, 0, &payload)).await.unwrap(),
                _ => {}
            }
        }
    };
    timeout(Duration::from_secs(15), answered).await.expect("the call is ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_out_of_bounds_end_their_connection_and_no_other() {
    let fleet = Fleet::start().await;
    let _players = two_hosts(&fleet).await;
    let rogue = Agent::joined(&fleet, "web-3").await;
    let before = memory();
    let big = vec![0; 1 << 20];
    let headers = {
        let mut block = Vec::new();
        for n in 0..2000 {
            let (name, value) = (format!("x-{n}"), "y".repeat(100));
            block.push(0);
            for text in [&name, &value] {
                block.push(u8::try_from(text.len()).unwrap());
                block.extend_from_slice(text.as_bytes());
            }
        }
        block
    };
    let pieces = |endless: bool| {
        let mut bytes = frame(0x1, 0, 1, &headers[..16_000]);
        for piece in headers[16_000..].chunks(16_000) {
            bytes.extend(frame(0x9, 0, 1, piece));
        }
        if endless {
            (0..64).for_each(|_| bytes.extend(frame(0x9, 0, 1, &headers[..16_000])));
        }
        bytes
    };
    let resets = || {
        (0..4000_u32)
            .flat_map(|n| [open(2 * n + 1, CONNECT), frame(0x3, 0, 2 * n + 1, &[0, 0, 0, 8])].concat())
            .collect()
    };
    #[rustfmt::skip]
    let table: Vec<(&str, Vec<u8>)> = vec![
        ("a frame of 1 MiB", frame(0x0, 0, 1, &big)),
        ("headers without an end", pieces(true)),
        ("200 KiB of headers", pieces(false)),
        ("no HTTP/2 at all", b"GET / HTTP/1.1\r\n\r\n".repeat(10)),
        ("data for a stream that nobody opened", begin(99, 10, b"0123456789")),
        ("streams opened and reset at once", resets()),
    ];
    for (case, bytes) in table {
        for identity in [Some(&rogue.identity), None] {
            let mut raw = dial(fleet.addr, tls(identity)).await.unwrap();
            // The other end may close it before we are done, which is what is wanted.
            let sent = timeout(LIMIT, raw.write_all(&bytes)).await.unwrap_or(Ok(()));
            assert!(sent.is_err() || closes(&mut raw).await, "{case}: it stands");
        }
    }
    let grown = memory().saturating_sub(before) / MIB;
    assert!(grown < 48, "{grown} MiB");
    serves(&fleet, 1, "one").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_never_reads_stalls_itself_and_nobody_else() {
    let fleet = Fleet::start().await;
    let _players = two_hosts(&fleet).await;
    let rogue = Agent::joined(&fleet, "web-3").await;
    let before = memory();
    let mut raw = dial(fleet.addr, tls(Some(&rogue.identity))).await.unwrap();
    let hello = windlass_proto::pb::ConnectRequest {
        message: Some(windlass_proto::pb::connect_request::Message::Hello(rogue.hello())),
    };
    let bytes = prost::Message::encode_to_vec(&hello);
    raw.write_all(&open(1, CONNECT)).await.unwrap();
    raw.write_all(&begin(1, u32::try_from(bytes.len()).unwrap(), &bytes)).await.unwrap();
    // Whatever is asked, each answer is an acknowledgement that is never taken: at some point nothing is read either.
    let beat = windlass_proto::pb::ConnectRequest {
        message: Some(windlass_proto::pb::connect_request::Message::Observation(
            windlass_proto::pb::ObservationReport {
                observation: windlass_proto::json::encode(&rogue.observe(1)),
            },
        )),
    };
    let bytes = prost::Message::encode_to_vec(&beat);
    let one = begin(1, u32::try_from(bytes.len()).unwrap(), &bytes);
    let mut sent = 0_u64;
    while sent < 64 * MIB {
        match timeout(Duration::from_millis(500), raw.write_all(&one)).await {
            Ok(Ok(())) => sent += one.len() as u64,
            Ok(Err(_)) | Err(_) => break,
        }
    }
    assert!(sent < 32 * MIB, "the coordinator reads without end what nobody answers for: {sent} bytes");
    let grown = memory().saturating_sub(before) / MIB;
    assert!(grown < 48, "{grown} MiB");
    serves(&fleet, 1, "one").await;
}

/// The value of a counter in `/metrics`.
async fn metric(fleet: &Fleet, name: &str) -> u64 {
    let mut tcp = TcpStream::connect(fleet.http_addr).await.unwrap();
    tcp.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await.unwrap();
    let mut text = String::new();
    timeout(LIMIT, tcp.read_to_string(&mut text)).await.expect("an answer in time").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0");
    line.trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_again_and_again_loses_the_connection() {
    let fleet = Fleet::start().await;
    let agent = Agent::joined(&fleet, "web-3").await;
    for identity in [None, Some(&agent.identity)] {
        let mut raw = dial(fleet.addr, tls(identity)).await.unwrap();
        let mut answered = 0;
        for n in 0..1000_u32 {
            let mut call = open(2 * n + 1, "/windlass.v1.Control/ListHosts");
            call[4] |= 0x1; // it has no body
            let answer = async {
                raw.write_all(&call).await?;
                while read_frame(&mut raw).await?.0 != 0x1 {}
                io::Result::Ok(())
            };
            if timeout(LIMIT, answer).await.expect("an answer or an end").is_err() {
                break;
            }
            answered += 1;
        }
        assert!((200..400).contains(&answered), "{answered} calls were answered");
    }
    assert!(metric(&fleet, "windlass_dropped_total{what=\"connection\"}").await >= 2);
    assert!(metric(&fleet, "windlass_dropped_total{what=\"line\"}").await >= 50);
    fleet.hosts().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_and_settings_are_read_at_a_pace() {
    let fleet = Fleet::start().await;
    let kinds = [("ping", frame(0x6, 0, 0, &[7; 8])), ("settings", frame(0x4, 0, 0, &[0, 3, 0, 0, 0, 100]))];
    for (kind, one) in kinds {
        let raw = dial(fleet.addr, tls(None)).await.unwrap();
        let (mut reads, mut writes) = tokio::io::split(raw);
        let flood = one.repeat(1000);
        let mut answers = 0_u64;
        let reading = async {
            let mut sink = vec![0; 64 << 10];
            // Each answer has nine bytes at least.
            while let Ok(n @ 1..) = reads.read(&mut sink).await {
                answers += n as u64 / 9;
            }
        };
        let writing = async { while writes.write_all(&flood).await.is_ok() {} };
        // The time is the measure here: what is answered in it.
        drop(timeout(Duration::from_secs(4), async { tokio::join!(reading, writing) }).await);
        assert!(answers < 20_000, "{kind}: {answers} answered in four seconds");
    }
    fleet.hosts().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_requests_for_metrics_keep_nobody_from_them() {
    let fleet = Fleet::start().await;
    let mut held = Vec::new();
    for _ in 0..100 {
        let mut tcp = TcpStream::connect(fleet.http_addr).await.unwrap();
        tcp.write_all(b"GET /metrics HTT").await.unwrap();
        held.push(tcp);
    }
    assert!(metric(&fleet, "windlass_dropped_total{what=\"http\"}").await > 50, "the oldest are cut");
    // And the newest are not waited for.
    for tcp in &mut held {
        let ended = timeout(LIMIT, tcp.read_to_end(&mut Vec::new())).await;
        ended.expect("its head has a deadline").unwrap_or_default();
    }
}
