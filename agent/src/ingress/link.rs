//! The ingress's end of the socket. The agent may be away for as long as it likes.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use windlass_certs::files::FileError;
use windlass_core::traffic::{IngressReport, REPORT_EVERY, REPORT_QUIET};
use windlass_core::{FleetId, HostId, Timestamp};
use windlass_process::{Backoff, backoff, report};

use super::follower::Follower;
use super::report::Reporter;
use crate::traffic::wire::{self, Down, MOST_DOWN, MOST_UP, PROTOCOL, Up};

/// The interval at which the ingress reports its documents, so that the agent sends a lost one again.
const HAS_EVERY: Duration = Duration::from_secs(60);

/// The task.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) socket: PathBuf,
    pub(super) follower: Arc<Follower>,
    pub(super) reporter: Reporter,
    pub(super) cancel: CancellationToken,
}

impl Link {
    /// Connects again and again until it is cancelled.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(3));
        let mut said = false;
        loop {
            let ended = tokio::select! {
                () = self.cancel.cancelled() => return Ok(()),
                ended = self.once(&mut said, &mut backoff) => ended,
            };
            self.reporter.linked(false);
            if let Err(error) = ended
                && !said
            {
                said = true;
                let (socket, error) = (self.socket.display(), report::chain(&error));
                if self.follower.has().1.is_empty() {
                    tracing::warn!(%socket, %error, "no agent answers, and there is no table yet: is --data the folder of an agent that runs?");
                } else {
                    tracing::warn!(%socket, %error, "no link to the agent; the last tables stay in force");
                }
            }
            tokio::select! {
                () = self.cancel.cancelled() => return Ok(()),
                () = sleep(backoff.next(backoff::random())) => {}
            }
        }
    }

    async fn once(&self, said: &mut bool, backoff: &mut Backoff) -> io::Result<()> {
        let (mut from, mut to) = tokio::io::split(UnixStream::connect(&self.socket).await?);
        let (trust, tables) = self.follower.has();
        wire::write(&mut to, &Up::Hello { protocol: PROTOCOL, trust, tables }, MOST_UP).await?;
        let hello = timeout(wire::WRITE, wire::read(&mut from, MOST_DOWN)).await;
        let (fleet, host, reach) = match hello.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))? {
            Some(Down::Hello { protocol: PROTOCOL, fleet, host, reach }) => (fleet, host, reach),
            Some(Down::Hello { protocol, .. }) => {
                let why = format!("the agent speaks version {protocol}, this ingress {PROTOCOL}");
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
            Some(_) | None => return Err(io::ErrorKind::UnexpectedEof.into()),
        };
        self.follower.greet(&fleet, &host, reach).await.map_err(io::Error::other)?;
        tracing::info!(%host, "connected to the agent");
        self.reporter.linked(true);
        // One that cannot keep what it is told would else connect again at once, for as long as its disk is full.
        let kept_all = || {
            *said = false;
            backoff.reset();
        };
        tokio::select! {
            ended = self.hear(&mut from, &fleet, &host, kept_all) => ended,
            ended = self.send_reports(&mut to) => ended,
        }
    }

    async fn hear(
        &self,
        from: &mut (impl AsyncRead + Unpin),
        fleet: &FleetId,
        host: &HostId,
        mut kept_all: impl FnMut(),
    ) -> io::Result<()> {
        loop {
            match wire::read(from, MOST_DOWN).await? {
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
                Some(Down::Trust { envelopes }) => {
                    let taken = self.follower.take_trust(fleet.clone(), host.clone(), envelopes).await;
                    taken.map_err(|error| unwritten("a trust document", &error))?;
                }
                Some(Down::Table { envelope }) => {
                    self.follower.take_table(Arc::from(envelope.into_bytes())).await;
                }
                Some(Down::Holds { holds }) => self.follower.take_holds(host, holds).await,
                Some(Down::Networks { networks }) => {
                    let taken = self.follower.take_networks(networks).await;
                    taken.map_err(|error| unwritten("the inner networks", &error))?;
                }
                Some(Down::Told) => {
                    kept_all();
                    self.follower.told();
                }
                Some(Down::Hello { .. } | Down::Unknown) => {}
            }
        }
    }

    /// Reports at once when a table was taken, every two seconds while something changes, and every ten otherwise. Says every
    /// minute which documents it has.
    async fn send_reports(&self, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let mut last: Option<(IngressReport, Instant)> = None;
        let mut reported_at = Instant::now();
        loop {
            if reported_at.elapsed() >= HAS_EVERY {
                reported_at = Instant::now();
                let (trust, tables) = self.follower.has();
                wire::write(to, &Up::Has { trust, tables }, MOST_UP).await?;
            }
            let report = self.reporter.report();
            let timeless = IngressReport { at: Timestamp::ZERO, ..report.clone() };
            let due = last.as_ref().is_none_or(|(before, at)| {
                *before != timeless || at.elapsed() + REPORT_EVERY / 2 > REPORT_QUIET
            });
            if due {
                wire::write(to, &Up::Report(Box::new(report.fitted())), MOST_UP).await?;
                last = Some((timeless, Instant::now()));
            }
            self.reporter.sent();
            tokio::select! {
                () = self.follower.news.notified() => {}
                () = sleep(REPORT_EVERY) => self.follower.again().await,
            }
        }
    }
}

/// Ends the connection: the next one asks for what this one could not keep.
fn unwritten(what: &str, error: &FileError) -> io::Error {
    io::Error::other(format!("{what} could not be kept: {}", report::chain(error)))
}

#[cfg(test)]
mod tests {
    use windlass_ingress::{Ingress, Limits};

    use super::super::state::State;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_link_says_every_minute_what_it_has() {
        let dir = tempfile::tempdir().unwrap();
        let (state, tables) = State::open(&dir.path().join("state")).unwrap();
        let follower = Arc::new(Follower::new(Ingress::new(Limits::default(), 0), state, tables));
        let reporter = Reporter::new(follower.clone(), 1, Timestamp::ZERO, &[]);
        let (socket, cancel) = (dir.path().join("none"), CancellationToken::new());
        let link = Link { socket, follower, reporter, cancel };
        let (mut to, mut from) = tokio::io::duplex(1 << 20);
        let hears = async {
            let (begun, mut said_at, mut reports) = (Instant::now(), Vec::new(), 0);
            while said_at.len() < 3 {
                match wire::read::<Up>(&mut from, MOST_UP).await.unwrap().unwrap() {
                    Up::Has { trust: 0, tables } if tables.is_empty() => said_at.push(begun.elapsed()),
                    Up::Report(_) => reports += 1,
                    other => panic!("{other:?}"),
                }
            }
            (said_at, reports)
        };
        let (said_at, reports) = tokio::select! {
            heard = hears => heard,
            ended = link.send_reports(&mut to) => panic!("{ended:?}"),
        };
        let most = HAS_EVERY + REPORT_EVERY;
        let mut before = Duration::ZERO;
        for at in said_at {
            assert!(
                at - before >= HAS_EVERY && at - before <= most,
                "{:?} after the one before",
                at - before
            );
            before = at;
        }
        assert!(reports > 3, "{reports} reports");
    }
}
