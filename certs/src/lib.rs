//! Identity and trust: who may make what run, and how anyone can check it.
//!
//! Two kinds of keys that never mix: Ed25519 keys sign documents ([`keys`], [`dsse`], [`trust`]); TLS keys
//! open connections ([`csr`], [`ca`], [`identity`], [`tls`]). Nothing here decides what runs; this crate answers
//! "is it signed by those who may" and "who is at the other end".
//!
//! Everything that reads bytes of others is bounded before it allocates. `README.md` beside this crate tells
//! operators how to run a fleet's keys.
#![warn(missing_docs)]

pub mod ca;
pub mod csr;
pub mod dsse;
pub mod files;
pub mod identity;
pub mod join;
pub mod json;
pub mod keys;
pub mod random;
pub mod revocation;
pub mod tls;
pub mod trust;
