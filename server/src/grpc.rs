//! The gRPC side: who may call what, parsing, delegating, rendering. Nothing is decided here.

pub(crate) mod access;
mod control;
mod enrolment;
mod in_flight;
mod link;
mod parts;
mod serve;
pub(crate) mod status;

pub(crate) use serve::services;
