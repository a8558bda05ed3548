//! `web`, the sample service that the lab deploys: a small HTTP server whose every misbehaviour is a
//! variable (see [`behaviour`]). Two subcommands serve as exec probe and as job:
//!
//! ```text
//! web                      serve on $PORT
//! web probe [PATH]         GET http://127.0.0.1:$PORT/health, exit 0 when it answers 2xx
//! web job CODE [MILLIS]    print a line, wait, exit with CODE
//! ```
//!
//! As `python -m app.test_prediction` it is the job of a model that needs a GPU: it exits with 0 where one was given to it.

mod behaviour;
mod http;
mod server;
mod signal;

use std::net::TcpListener;
use std::process::exit;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use behaviour::Behaviour;
use server::Server;

fn main() {
    let terminations = signal::Terminations::block();
    let behaviour = Behaviour::from(|name| std::env::var(name).ok()).unwrap_or_else(|error| {
        eprintln!("web: {error}");
        exit(2)
    });
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => serve(behaviour, terminations),
        ["probe"] => probe(&behaviour, "/health"),
        ["probe", path] => probe(&behaviour, path),
        ["job", code] => job(code, "0"),
        ["job", code, millis] => job(code, millis),
        ["-m", "app.test_prediction"] => predict(std::env::var("NVIDIA_VISIBLE_DEVICES").ok().as_deref()),
        _ => {
            eprintln!("usage: web | web probe [PATH] | web job CODE [MILLIS]");
            exit(2)
        }
    }
}

fn probe(behaviour: &Behaviour, path: &str) {
    let url = format!("http://127.0.0.1:{}{path}", behaviour.port);
    match http::get(&url, Duration::from_secs(3)) {
        Ok((200..=299, _)) => {}
        Ok((status, body)) => {
            println!("{url}: {status} {body}");
            exit(1)
        }
        Err(error) => {
            println!("{url}: {error}");
            exit(1)
        }
    }
}

fn job(code: &str, millis: &str) {
    println!("web: job runs for {millis} ms, then exits {code}");
    thread::sleep(Duration::from_millis(millis.parse().unwrap_or(0)));
    exit(code.parse().unwrap_or(2))
}

fn predict(devices: Option<&str>) {
    match devices {
        None | Some("" | "void" | "none") => {
            eprintln!("web: no GPU was given to this container");
            exit(1)
        }
        Some(devices) => println!("web: a prediction on {devices} is right"),
    }
}

fn serve(behaviour: Behaviour, terminations: signal::Terminations) {
    let Behaviour { version, instance, port, .. } = &behaviour;
    println!("web: version {version} starts as {instance} on port {port}");
    if let Some(code) = behaviour.exit_at_start {
        eprintln!("web: error: cannot open the ledger: no such file");
        eprintln!("web: fatal: giving up, exit code {code}");
        exit(code)
    }
    let listener = TcpListener::bind(("0.0.0.0", *port)).unwrap_or_else(|error| {
        eprintln!("web: cannot listen on port {port}: {error}");
        exit(3)
    });
    let server = Arc::new(Server::new(behaviour));
    start_mischief(&server);
    let watched = Arc::clone(&server);
    thread::spawn(move || watched.end_on_sigterm(&terminations));
    for stream in listener.incoming().flatten() {
        if server.is_draining() {
            break; // dropping the listener refuses newcomers at once
        }
        let server = Arc::clone(&server);
        let _ = thread::Builder::new().stack_size(128 * 1024).spawn(move || {
            let _ = server.connection(&stream); // an error is the client's: it sees a closed connection
        });
    }
    drop(listener);
    loop {
        thread::park(); // the thread that drains exits the process
    }
}

/// Starts one thread for each thing that shall happen by itself.
fn start_mischief(server: &Arc<Server>) {
    let behaviour = server.behaviour();
    if let Some(after) = behaviour.exit_after {
        let code = behaviour.exit_code;
        thread::spawn(move || {
            thread::sleep(after);
            eprintln!("web: error: lost the ledger after {after:?}, exit code {code}");
            exit(code)
        });
    }
    if behaviour.hog_memory_mb > 0 {
        let (megabytes, after) = (behaviour.hog_memory_mb, behaviour.hog_after);
        thread::spawn(move || {
            thread::sleep(after);
            println!("web: takes {megabytes} MiB of memory");
            // Non-zero bytes: zeroed pages would not be resident.
            std::mem::forget((0..megabytes).map(|_| vec![1u8; 1 << 20]).collect::<Vec<_>>());
        });
    }
    if let Some(tick) = behaviour.log_tick {
        let server = Arc::clone(server);
        thread::spawn(move || {
            for beat in 1u64.. {
                thread::sleep(tick);
                println!("web: beat {beat}, {} requests", server.answered());
            }
        });
    }
}
