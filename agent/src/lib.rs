//! The agent of one host: believes only what is signed, runs it, watches it, and rolls back by itself.
//!
//! | part | what it does |
//! |---|---|
//! | [`join`], [`renew`], [`member`] | how this host came to be a member, and stays one |
//! | [`link`] | the stream to a coordinator |
//! | [`document_store`], [`verify`], [`policy`] | what is believed: verify, journal, publish |
//! | [`state`], [`data`] | what survives a crash |
//! | [`reconciler`], [`runtime`], [`guard`], [`probe`], [`stats`], [`gpu`] | what runs, how it does |
//! | `ask`, `hostcheck`, `exchange` | warm-up, smoke tests, and checks before a start |
//! | [`watchdog`] | ends an agent that stands still |
//! | [`receipt`], [`status`] | what is said about it |
//! | [`ingress`], [`traffic`] | the ingress beside the agent, and the socket between them |
//! | [`cli`], [`doctor`], [`inventory`], [`import`], [`install`], [`clear`] | for people |
//!
//! Stopping, upgrading or killing the agent never stops a workload.
#![warn(missing_docs)]

mod ask;
pub mod clear;
pub mod cli;
pub mod clock;
pub mod config;
pub mod counters;
pub mod crash;
pub mod data;
pub mod doctor;
pub mod document_store;
pub mod engine;
mod exchange;
pub mod facts;
pub mod failure;
#[cfg(test)]
mod fixture;
pub mod gpu;
pub mod guard;
mod hostcheck;
pub mod import;
pub mod ingress;
pub mod install;
pub mod inventory;
pub mod join;
pub mod lease;
pub mod link;
pub mod member;
mod metrics;
pub mod output;
pub mod policy;
pub mod probe;
mod readers;
pub mod receipt;
pub mod reconciler;
pub mod renew;
pub mod run;
pub mod runtime;
pub mod state;
pub mod stats;
pub mod status;
pub mod traffic;
pub mod verify;
pub mod watchdog;
