//! `policy.toml`: what may run on this host at all, said by whoever owns the machine. The coordinator cannot reach
//! it. Without the file the agent refuses to start; what the file does not allow is refused.
//!
//! Reading it is here; deciding by it is [`windlass_core::policy`].

mod file;
mod held;
mod model;
mod mounts;
mod nested;
mod starter;

use std::path::Path;

pub use model::{Policy, PolicyError};
pub use mounts::{Mounts, check_again, check_files, real_path, resolve};
pub use nested::{Bind, check_nested};
pub use starter::{StarterError, write_starter};

/// Reads and checks the file, its owner and its mode.
pub fn load(path: &Path) -> Result<Policy, PolicyError> {
    let text = file::read(path)?;
    file::parse(path, &text)
}

#[cfg(test)]
mod tests;
