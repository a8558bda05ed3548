//! Recovery: the store is older than its fleet. A backup was restored, or the disk lost what had been promised.
//!
//! ```text
//! import ─┐                                     ┌─ same plan ─────────────────▶ compared
//!         ├▶ open: nothing is decided, nobody ──┤
//! found ──┘  gets a plan; hosts say hello       └─ ahead ─▶ lists kept releases ──▶ held ─▶ an admin
//!                                                               (same slots: taken over)       │
//!            ended: the fleet goes on ◀── all compared, or an admin says so ◀───────────────────┘
//! ```
//!
//! A bare number moves nothing. A host proves that an earlier life of this coordinator had come further by the plan that
//! it holds, which we signed, and by the releases in it, which operators signed. What those say is shown to an admin as
//! the difference to the store, and taken over when the admin says so; what runs goes on all along. A host that comes
//! after that is held for itself. What is made of the plans is decided in [`windlass_core::recovery`].

mod begin;
mod compare;
mod error;
mod go_on;
mod look;
mod memory;
mod proposal;
mod shown;
mod unvouched;

pub(crate) use begin::{Proof, import_proven};
pub use begin::{Restored, import_backup};
pub(crate) use compare::{Hello, compare};
pub(crate) use error::RecoveryError;
pub(crate) use go_on::{Answer, adopt_unchanged, end_if_settled, go_on};
pub(crate) use look::{of_host, preview};
pub(crate) use memory::Recoveries;
pub(crate) use shown::{listed, shown};
pub use unvouched::Dropped;
pub(crate) use unvouched::{Confirmed, Vouching};

/// The next step of a person.
pub(crate) const HINT: &str = "`windlass host recover` shows what the hosts hold, and goes on";
