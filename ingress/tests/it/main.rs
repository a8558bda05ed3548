//! The ingress on real sockets, before endpoints that behave well and badly.
#![expect(clippy::unwrap_used, reason = "a test fails loudly")]

mod balancers;
mod early;
mod endpoints;
mod ends;
mod expects;
mod frames;
mod grpc;
mod hangs;
mod held;
mod inner;
mod limits;
mod requests;
mod slow_clients;
mod smuggling;
mod smuggling_h2;
mod standbys;
mod streams;
mod tls;
mod uploads;
mod weights;
mod world;
