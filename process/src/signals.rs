//! When to stop: SIGTERM or SIGINT asks, a second one insists.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Ends when the process is asked to stop. A second signal after that exits at once, with 128 plus its
/// number, so that a shutdown that hangs never needs `kill -9`.
///
/// If the handlers cannot be installed (no runtime with I/O), it logs that and never ends.
pub async fn shutdown() {
    let handlers = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (Ok(mut terminate), Ok(mut interrupt)) = handlers else {
        tracing::error!("cannot listen for signals; only SIGKILL will stop this process");
        return std::future::pending().await;
    };
    let name = first(&mut terminate, &mut interrupt).await.0;
    tracing::info!(signal = name, "stopping; a second signal exits at once");
    insist(terminate, interrupt);
}

async fn first(terminate: &mut Signal, interrupt: &mut Signal) -> (&'static str, i32) {
    tokio::select! {
        _ = terminate.recv() => ("SIGTERM", 15),
        _ = interrupt.recv() => ("SIGINT", 2),
    }
}

/// Watches for the second signal while the process winds down.
#[expect(clippy::disallowed_methods, reason = "must outlive every owner: it guards the end of the process")]
fn insist(mut terminate: Signal, mut interrupt: Signal) {
    tokio::spawn(async move {
        let (name, number) = first(&mut terminate, &mut interrupt).await;
        tracing::warn!(signal = name, "second signal, exiting at once");
        exit(128 + number);
    });
}

#[expect(clippy::exit, reason = "this is what a second signal asks for")]
fn exit(code: i32) {
    std::process::exit(code);
}
