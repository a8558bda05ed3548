//! A clock that a scenario sets for one program: Debian's libfaketime before its libc. The machine's own clock, that of
//! the engines and of everybody else, stays. What cannot be set on a real machine (the monotonic clock), is not here.

use std::fs;
use std::path::{Path, PathBuf};

use crate::process::Process;

/// The wall clock of one program.
#[derive(Debug)]
pub struct FakeClock {
    file: PathBuf,
}

impl FakeClock {
    /// Puts a program on a clock of its own, which shows the right time at first. It is started again for that.
    ///
    /// # Panics
    /// If libfaketime is not installed; `tests/lab/install.sh` does that.
    #[track_caller]
    pub fn of(process: &mut Process, folder: &Path, name: &str) -> Self {
        let clock = Self { file: folder.join(format!("clock-{name}")) };
        clock.set("+0");
        process.set("LD_PRELOAD", library());
        process.set("FAKETIME_TIMESTAMP_FILE", &clock.file);
        process.set("FAKETIME_NO_CACHE", "1");
        process.set("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        process.set("DONT_FAKE_MONOTONIC", "1");
        process.set("NO_FAKE_STAT", "1");
        process.start_again();
        clock
    }

    /// Sets it: `+2h`, `-2h`, `+0`.
    ///
    /// # Panics
    /// If the lab's folder cannot be written.
    pub fn set(&self, offset: &str) {
        // Renamed into place: the program reads it at every look at its clock.
        let beside = self.file.with_extension("new");
        fs::write(&beside, format!("{offset}\n")).expect("the lab's folder can be written");
        fs::rename(beside, &self.file).expect("the lab's folder can be written");
    }
}

#[track_caller]
fn library() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").expect("a system has libraries").flatten();
    let found =
        folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1")).find(|path| path.exists());
    found.expect("libfaketime is installed (tests/lab/install.sh)")
}
