//! `windlass-agent ingress`, the program itself, with the agent's end of its socket in the test.

mod follows;
mod http;
mod succeeds;
mod world;
