//! The coordinator in-process, over mTLS on loopback: real listener, real store, agents that play a part.
#![expect(clippy::unwrap_used, reason = "in tests a panic is the answer")]

mod actors;
mod agent;
mod attack;
mod before;
mod crash;
mod decision_log;
mod enrolment;
mod fleet;
mod gates;
mod gpus;
mod link;
mod logs;
mod operators;
mod quarantine;
mod recovery;
mod release;
mod restart;
mod rollouts;
mod routes;
mod scopes;
mod services;
mod telemetry;
mod unknown;
mod watch_fleet;
mod words;
