//! The harness of the real-engine scenarios in `tests/engine/`: several hosts on this machine, each a network
//! namespace with a Docker Engine of its own, a real registry, and the three shipped programs.
//!
//! ```text
//!  Cli ── windlass ──▶ coordinator (10.214.0.1:7443) ◀── windlass-agent on h1 ── Engine h1 ── web, web
//!                          Fleet owns every process      windlass-agent on h2 ── Engine h2 ── web, web
//!                          and ends it by its pid        …  each inside its host's network namespace
//!  Watch ── GET /version of every container, all along, without asking the coordinator
//! ```
//!
//! The programs are those of a release build: `$WINDLASS_BIN`, else `release/` of the target folder. The lab is
//! `tests/lab`; the scenarios' own stands in `/var/tmp/windlass-tests` with network 10.214.0, beside any other.
//! A scenario holds a lane of the lab: with `WINDLASS_LAB_LANES=2`, two run side by side, the second in a lab of its
//! own (`/var/tmp/windlass-tests-1`, 10.214.1), however the tests are started.
//!
//! Nothing here sleeps but [`wait::until`], between two looks.

pub mod busy;
pub mod census;
pub mod choke;
pub mod cli;
pub mod clock;
pub mod course;
pub mod crash;
pub mod datastores;
pub mod disk;
pub mod endpoints;
pub mod engine;
pub mod example;
pub mod fleet;
pub mod fleetsim;
pub mod host;
pub mod http;
pub mod ingress;
pub mod lab;
pub mod load;
pub mod long;
pub mod many;
pub mod process;
pub mod rogue;
pub mod service;
pub mod wait;
pub mod watch;

pub use busy::Busy;
pub use census::Census;
pub use choke::Choke;
pub use cli::{Cli, Output};
pub use clock::FakeClock;
pub use datastores::Datastores;
pub use disk::Disk;
pub use endpoints::Endpoints;
pub use example::Example;
pub use fleet::{Fleet, FleetOptions};
pub use host::Host;
pub use lab::Lab;
pub use load::{Answers, Load};
pub use long::{Download, Tunnel, Upload};
pub use many::Many;
pub use process::Process;
pub use service::Service;
pub use watch::Watch;
