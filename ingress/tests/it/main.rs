//! The ingress on real sockets, before endpoints that behave well and badly.

mod endpoints;
mod ends;
mod grpc;
mod requests;
mod smuggling;
mod tls;
mod weights;
mod world;
