//! Seeing it, with the shipped programs and no engine: an audit log whose coordinator was tampered with, and operators
//! on two machines.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod audit;
mod backups;
mod desk;
mod flood;
mod operators;
