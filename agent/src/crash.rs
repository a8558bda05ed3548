//! Points at which a test may have the agent die: before and after each step that leaves something behind. There are none without
//! the feature `crash-points`, see [`windlass_process::crash`].
//!
//! A point belongs to a step, never to a check: there is none in `verify`, `policy` and `guard`, nor in the crates
//! `certs` and `core`. Those tell how far they are, and whoever called them passes the point.

use std::future::Future;

use windlass_certs::files::Stage;
use windlass_process::crash;

/// Every point of the agent.
pub fn points() -> impl Iterator<Item = &'static str> {
    Written::NAMES.iter().flatten().chain(Call::NAMES.iter().flatten()).copied()
}

macro_rules! table {
    ($(#[$about:meta])* enum $table:ident [$count:literal] $names:ident { $($(#[$doc:meta])* $entry:ident = $name:literal,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum $table {
            $($(#[$doc])* $entry,)+
        }

        impl $table {
            const NAMES: &'static [[&'static str; $count]] = &[$($names!($name)),+];

            const fn names(self) -> &'static [&'static str; $count] {
                match self {
                    $(Self::$entry => const { &$names!($name) },)+
                }
            }
        }
    };
}

macro_rules! stages {
    ($name:literal) => {
        [
            concat!($name, ".begun"),
            concat!($name, ".written"),
            concat!($name, ".synced"),
            concat!($name, ".placed"),
            concat!($name, ".done"),
        ]
    };
}

macro_rules! sides {
    ($name:literal) => {
        [concat!($name, ".before"), concat!($name, ".after")]
    };
}

table! {
    /// Files that are written as a whole, with a point at every [`Stage`].
    enum Written[5] stages {
        /// The journal.
        Journal = "agent.journal",
        /// The envelope of a release.
        Release = "agent.release",
        /// The trust document.
        Trust = "agent.trust",
        /// Key and certificate.
        Identity = "agent.identity",
        /// The host's membership.
        Member = "agent.member",
        /// The key of a join under way.
        JoiningKey = "agent.joining_key",
        /// The key that signs receipts.
        ReceiptKey = "agent.receipt_key",
    }
}

table! {
    /// Steps with a point before and one after, however they ended.
    enum Call[2] sides {
        /// Pulling an image.
        Pull = "agent.engine.pull",
        /// Laying down the files of an instance.
        LayDown = "agent.engine.lay_down",
        /// Creating a container.
        Create = "agent.engine.create",
        /// Starting it.
        Start = "agent.engine.start",
        /// Stopping it.
        Stop = "agent.engine.stop",
        /// Having the engine keep it running.
        KeepRunning = "agent.engine.keep_running",
        /// Removing it.
        Remove = "agent.engine.remove",
        /// Removing the files of an instance.
        TakeAway = "agent.engine.take_away",
        /// Removing an image.
        RemoveImage = "agent.engine.remove_image",
        /// Signing a receipt and giving it to the link.
        Receipt = "agent.receipt",
        /// Writing the status file.
        Status = "agent.status",
        /// Removing the key of a join that is done.
        ForgetKey = "agent.forget_key",
    }
}

impl Written {
    /// Passes the point of a stage.
    #[inline]
    pub(crate) fn at(self, stage: Stage) {
        let [begun, written, synced, placed, done] = self.names();
        crash::pass(match stage {
            Stage::Begun => begun,
            Stage::Written => written,
            Stage::Synced => synced,
            Stage::Placed => placed,
            Stage::Done => done,
        });
    }
}

impl Call {
    /// Passes the points before and after `step`.
    #[inline]
    pub(crate) async fn around<T>(self, step: impl Future<Output = T>) -> T {
        let [before, after] = self.names();
        crash::pass(before);
        let done = step.await;
        crash::pass(after);
        done
    }

    /// The same for a step that is done at once.
    #[inline]
    pub(crate) fn around_now<T>(self, step: impl FnOnce() -> T) -> T {
        let [before, after] = self.names();
        crash::pass(before);
        let done = step();
        crash::pass(after);
        done
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_point_has_a_name_of_its_own() {
        let names: Vec<_> = points().collect();
        assert_eq!(names.len(), names.iter().collect::<BTreeSet<_>>().len());
        assert!(names.iter().all(|name| name.starts_with("agent.")));
        assert_eq!(Written::Journal.names()[3], "agent.journal.placed");
    }
}
