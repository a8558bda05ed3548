//! The ingress on real sockets, before endpoints that behave well and badly.
#![expect(clippy::unwrap_used, reason = "a test fails loudly")]

mod endpoints;
mod ends;
mod grpc;
mod inner;
mod requests;
mod smuggling;
mod tls;
mod weights;
mod world;
