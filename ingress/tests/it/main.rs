//! The ingress on real sockets, before endpoints that behave well and badly.
#![expect(clippy::unwrap_used, reason = "a test fails loudly")]

mod balancers;
mod early;
mod endpoints;
mod ends;
mod expects;
mod grpc;
mod hangs;
mod inner;
mod limits;
mod requests;
mod slow_clients;
mod smuggling;
mod standbys;
mod streams;
mod tls;
mod uploads;
mod weights;
mod world;
