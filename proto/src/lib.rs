//! The messages on the network: generated types, and the one place that sets sizes and deadlines.
//!
//! Structure that routes a call is protobuf. Documents (releases, plans, receipts) are signed bytes,
//! and views and observations are JSON of core types, so that each shape is defined once; `json`
//! reads them with a bound.
#![warn(missing_docs)]

pub mod json;
pub mod limits;
mod padding;

pub use padding::Padded;

/// Generated types of `windlass.v1`.
#[expect(
    missing_docs,
    clippy::allow_attributes,
    reason = "generated; the .proto files are the documentation"
)]
pub mod pb {
    tonic::include_proto!("windlass.v1");
}

/// Descriptors of all services, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
