//! Seeing it, with the shipped programs: an audit log whose coordinator was tampered with, operators on two machines, and,
//! on real engines, logs, and why a service does not run.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod audit;
mod backups;
mod desk;
mod flood;
mod limits;
mod logs;
mod operators;
mod usage;
mod why;
