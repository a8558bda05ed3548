//! Strangers who flood a coordinator as it is shipped: members get in, and log, memory and descriptors stay small.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use tokio::time::timeout;
use tonic::codegen::{Service, http};
use windlass_certs::ca::CertificateAuthority;
use windlass_certs::revocation::Revocations;
use windlass_certs::tls::{ClientTls, ConnectOptions, connect};
use windlass_tests::http::get;
use windlass_tests::process::resident_kib;
use windlass_tests::wait;

use crate::desk::Desk;

/// Longer than anything here takes on a busy machine; a member that is kept out waits for ever.
const LIMIT: Duration = Duration::from_secs(20);

/// Connections that say six bytes, from so many addresses, until it is dropped.
struct Flood {
    stop: Arc<AtomicBool>,
    opened: Arc<AtomicU64>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Flood {
    fn start(to: &str, addresses: u8) -> Self {
        let to: SocketAddr = to.parse().unwrap();
        let (stop, opened) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted) = (stop.clone(), opened.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(half_hellos(to, addresses, &stopped, &counted));
        });
        Self { stop, opened, thread: Some(thread) }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

async fn half_hellos(to: SocketAddr, addresses: u8, stop: &AtomicBool, opened: &AtomicU64) {
    let mut held = VecDeque::new();
    for n in (0..addresses).cycle() {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let socket = TcpSocket::new_v4().unwrap();
        let from = if addresses == 1 { [127, 0, 0, 1] } else { [127, 1, 0, n.max(1)] };
        socket.bind((from, 0).into()).unwrap();
        if let Ok(Ok(mut tcp)) = timeout(LIMIT, socket.connect(to)).await {
            drop(tcp.write_all(&[0x16, 3, 1, 2, 0, 1]).await);
            held.push_back(tcp);
            opened.fetch_add(1, Ordering::Relaxed);
        }
        if held.len() > 600 {
            held.pop_front();
        }
    }
}

fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

#[test]
fn strangers_who_flood_keep_nobody_out_and_fill_nothing() {
    let desk = Desk::new();
    let alice = desk.person("alice");
    let log = || std::fs::metadata(desk.path("server.log")).unwrap().len();
    let (memory, before) = (resident_kib(desk.pid()).unwrap(), log());

    for (n, addresses) in [1, 200].into_iter().enumerate() {
        let flood = Flood::start(&desk.server, addresses);
        wait::until("the flood is on", LIMIT, || {
            let opened = flood.opened.load(Ordering::Relaxed);
            if opened > 800 { Ok(()) } else { Err(format!("{opened} connections")) }
        });
        let begun = Instant::now();
        alice.ok(&["host", "ls"]);
        let member = begun.elapsed();
        // A newcomer has proven nothing yet.
        let name = format!("bob-{n}");
        let made =
            alice.ok(&["operator", "add", &name, "--role", "viewer", "--everywhere", "-o", "json"]).json();
        let token = made["token"].as_str().unwrap();
        let begun = Instant::now();
        desk.person(&name).ok(&["operator", "join", "--server", &desk.server, "--token", token]);
        let newcomer = begun.elapsed();
        println!("{addresses} addresses: a member in {member:?}, a newcomer in {newcomer:?}");
        assert!(member < LIMIT && newcomer < LIMIT, "{member:?}, {newcomer:?}");
        let open = descriptors(desk.pid());
        assert!(open < 1000, "{open} descriptors");
    }

    // Half requests for metrics: others get theirs, and what agents need is not touched.
    // Fewer than one address may open at once, however fast this is: the next one is looked at.
    let held: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut tcp = TcpStream::connect(&desk.http).unwrap();
            drop(tcp.write_all(b"GET /metrics HTT")); // one too many is cut at once
            tcp
        })
        .collect();
    let shown = get(&desk.http, "/metrics", LIMIT).unwrap();
    assert!(shown.body.contains("windlass_tls_handshakes_total{outcome=\"crowded\"}"), "{}", shown.body);
    let open = descriptors(desk.pid());
    assert!(open < 1000, "{open} descriptors");
    alice.ok(&["host", "ls"]);
    drop(held);

    let refused = refused_calls(&desk, 600);
    assert!(refused >= 50, "{refused} were answered");
    let text = std::fs::read_to_string(desk.path("server.log")).unwrap();
    let longest = text.lines().filter(|line| line.contains("denied a call")).map(str::len).max();
    let longest = longest.expect("it is said that calls are denied");
    assert!(longest <= 256, "{longest} bytes in a line");
    let grown = log() - before;
    assert!(grown < 32 << 10, "the log has grown by {grown} bytes");
    let grown = resident_kib(desk.pid()).unwrap().saturating_sub(memory) >> 10;
    assert!(grown < 64, "{grown} MiB");
    println!("log, memory after all: {} bytes, {grown} MiB more", log() - before);
}

/// Calls of a stranger for methods that nobody has, of 8 KiB each. How many were answered.
fn refused_calls(desk: &Desk, count: usize) -> usize {
    let ca = CertificateAuthority::load(&desk.data().join("ca")).unwrap();
    let tls =
        ClientTls::anonymous("demo".parse().unwrap(), vec![ca.fingerprint()], Revocations::new()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut answered = 0;
        let mut channel = connect(&desk.server, &tls, &ConnectOptions::default()).await.unwrap();
        for n in 0..count {
            let path = format!("http://coordinator/{n}{}", "x".repeat(8000));
            let request = http::Request::post(path).header("content-type", "application/grpc");
            let request = request.body(tonic::body::Body::empty()).unwrap();
            let call = async {
                poll_fn(|cx| channel.poll_ready(cx)).await?;
                channel.call(request).await
            };
            answered += usize::from(timeout(LIMIT, call).await.is_ok_and(|answer| answer.is_ok()));
        }
        answered
    })
}
