//! The fleet simulator: thousands of agents in one process, each with a certificate and a stream of its own, against
//! the released coordinator in a process of its own.
//!
//! ```text
//!  Herd ── N × agent task ══ mTLS, AgentLink ══▶ windlass-server (its memory and processor: /proc/PID)
//!   │          └─▶ Board: who is connected, who has reported, who holds which release since when
//!   └── operator: SubmitRelease, GetRollout
//! ```
//!
//! An agent here does everything on the wire that a real one does, and nothing on a host: hello with facts, heartbeats
//! with statistics at the interval it is told, every plan verified, every release of it fetched once and verified,
//! observations until they are acknowledged, a signed receipt for each plan, the same backoff when the link breaks.
//! A plan is carried out at once.

mod agent;
mod board;
mod coordinator;
mod enrol;
mod herd;
mod observe;
mod papers;

pub use board::{Board, Look};
pub use coordinator::Coordinator;
pub use enrol::{Member, enrol};
pub use herd::{Behaviour, Herd};
pub use papers::{FLEET, Papers, Signed, Wanted};
