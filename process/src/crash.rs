//! Named points at which a test has this process die as by `kill -9`: no destructor runs, nothing is flushed.
//!
//! They stand before and after each step that leaves something behind: a file, a transaction, a call to an engine.
//! Only a build with the feature `crash-points` has them, and no program that is shipped is one; in all others
//! [`pass`] is nothing. No code that verifies a document or applies a policy may have one, so that what a test sees
//! refused is refused by the very code that is shipped; `.ci/layering.sh` checks both.
//!
//! | variable | says |
//! |---|---|
//! | `WINDLASS_CRASH_AT` | `NAME` or `NAME:N`: die at the first, or the N-th pass of that point |
//! | `WINDLASS_STALL_AT` | the same, but whoever passes it stands still there, for ever |
//! | `WINDLASS_CRASH_LOG` | a file: each point is appended when it is passed first, and `dies at NAME` before the end |

/// Passes the point `name`: nothing, or the end of the process.
#[cfg(not(feature = "crash-points"))]
#[inline(always)]
pub const fn pass(_name: &'static str) {}

#[cfg(feature = "crash-points")]
pub use armed::pass;

/// A table of points: an enum with the name of each, and all of them in `NAMES`. A point that is not in the table
/// cannot be passed.
#[macro_export]
macro_rules! crash_points {
    ($(#[$about:meta])* $vis:vis enum $table:ident { $($point:ident = $name:literal,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $vis enum $table {
            $(#[doc = concat!("`", $name, "`")] $point,)+
        }

        impl $table {
            /// Every name, in the order of the table.
            pub const NAMES: &'static [&'static str] = &[$($name),+];

            /// The point's name.
            $vis const fn name(self) -> &'static str {
                match self {
                    $(Self::$point => $name,)+
                }
            }

            /// Passes the point.
            #[inline(always)]
            $vis fn pass(self) {
                $crate::crash::pass(self.name());
            }
        }
    };
}

#[cfg(feature = "crash-points")]
mod armed {
    use std::collections::BTreeMap;
    use std::fs::File;
    use std::io::Write;
    use std::sync::{LazyLock, Mutex, PoisonError};

    struct Points {
        at: Option<(String, u64)>,
        stall: Option<(String, u64)>,
        log: Option<File>,
        passed: BTreeMap<&'static str, u64>,
    }

    static POINTS: LazyLock<Mutex<Points>> = LazyLock::new(|| {
        let set = |name| std::env::var(name).ok().filter(|text: &String| !text.is_empty());
        let point = |name| {
            set(name).map(|text| match text.rsplit_once(':') {
                Some((name, n)) => (name.to_owned(), n.parse().expect("a point is NAME or NAME:N")),
                None => (text, 1),
            })
        };
        let (at, stall) = (point("WINDLASS_CRASH_AT"), point("WINDLASS_STALL_AT"));
        let open = |path| File::options().create(true).append(true).open(path);
        let log =
            set("WINDLASS_CRASH_LOG").map(|path| open(path).expect("WINDLASS_CRASH_LOG can be written"));
        Mutex::new(Points { at, stall, log, passed: BTreeMap::new() })
    });

    /// Passes the point `name`: it is written down, and the process ends here if it was told to.
    pub fn pass(name: &'static str) {
        let mut points = POINTS.lock().unwrap_or_else(PoisonError::into_inner);
        let times = points.passed.entry(name).or_default();
        *times += 1;
        let times = *times;
        if times == 1 {
            points.note(format!("{name}\n"));
        }
        if points.at.as_ref().is_some_and(|(at, n)| at == name && *n == times) {
            points.note(format!("dies at {name}\n"));
            die();
        }
        if points.stall.as_ref().is_some_and(|(at, n)| at == name && *n == times) {
            points.note(format!("stalls at {name}\n"));
            drop(points);
            loop {
                std::thread::park();
            }
        }
    }

    impl Points {
        /// One write per line, as several processes share the file.
        fn note(&mut self, line: String) {
            if let Some(log) = &mut self.log {
                log.write_all(line.as_bytes()).expect("WINDLASS_CRASH_LOG can be written");
            }
        }
    }

    /// With the lock held, so that no other thread gets past a point meanwhile.
    fn die() -> ! {
        let me = rustix::process::getpid();
        match rustix::process::kill_process(me, rustix::process::Signal::KILL) {
            Ok(()) | Err(_) => std::process::abort(), // if the kernel would not
        }
    }
}
