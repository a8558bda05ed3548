//! Results go to stdout, and only from here; logs and errors go to stderr.

use std::io::{self, Write};

/// Writes lines to stdout. A reader that has gone (`| head`) is no error.
pub fn lines(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

/// Writes lines to stderr; there is nobody left to tell if that fails.
pub fn complain(text: &str) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}
