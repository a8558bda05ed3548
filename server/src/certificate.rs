//! The task that renews the coordinator's own certificate, at half of its life. Connections that stand are not
//! touched: agents check the certificate at the handshake.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use windlass_certs::tls::ServerTls;

use crate::authority::Authority;
use crate::clock::Clock;
use crate::config::Config;

/// After a renewal that failed, which only a broken CA key explains.
const RETRY: Duration = Duration::from_secs(60);

/// Until `cancel`.
pub(crate) async fn renew(
    config: Config,
    authority: Authority,
    tls: ServerTls,
    clock: Clock,
    cancel: CancellationToken,
) -> anyhow::Result<()> {
    let mut wait = config.lifetimes.coordinator / 2;
    loop {
        tokio::select! {
            () = cancel.cancelled() => return Ok(()),
            () = sleep(wait) => {}
        }
        wait = match issue(&config, &authority, &tls, &clock) {
            Ok(()) => config.lifetimes.coordinator / 2,
            Err(error) => {
                tracing::error!(error = %format!("{error:#}"), "failed to renew the coordinator's certificate");
                RETRY.min(config.lifetimes.coordinator / 4)
            }
        };
    }
}

fn issue(config: &Config, authority: &Authority, tls: &ServerTls, clock: &Clock) -> anyhow::Result<()> {
    let own = authority.own(config.name.clone(), clock.now())?;
    tls.reload(&own, &[authority.ca().certificate().clone()])?;
    tracing::info!(serial = %own.peer().serial, until = %own.peer().not_after, "renewed the coordinator's certificate");
    Ok(())
}
