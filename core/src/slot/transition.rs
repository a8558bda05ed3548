//! The closed set of changes of a slot. Everything that ever changes in one goes through [`super::apply`].
//!
//! | transition | from | the slot afterwards |
//! |---|---|---|
//! | Create | nothing | its target is pulled, or runs, alone |
//! | Adopt | anything | as a host's plan has it; recovery only |
//! | Prepare | any | another target is pulled, beside the instance that serves |
//! | Start | any | its target runs, beside the second instance or in its place |
//! | Drain | one that is about to stop | the instances that stop get no new requests, and finish what they have |
//! | LetGo | one with an instance that a restart has replaced | that one stops, or its host stops it by itself |
//! | Rest | two instances | the second one is stopped and kept |
//! | Forget | two instances | the second one is removed |
//! | Promote | any | its target is good |
//! | Keep | two instances | its target is good, and the second one runs on |
//! | Park | any | nothing runs in it; its releases stay as they are |
//! | Resume | a target that is not begun, or parked | its target runs |
//! | Abandon | any | its target is stopped and kept, alone |
//! | Revert | any | an older release is its target again, and good |
//! | Move | any | its target gets other devices: one that runs there is replaced by a new instance |
//! | Stand | any | its target (the good release, where there is one) is stopped, without a second instance |
//! | Restored | one whose host restored the fallback | the fallback is its second instance, and its target is not begun |
//! | Retry, Disarm | any | a target whose content failed there may, or may not, be started once more |
//! | Retain | one that another slot, on another host, has replaced | it is kept for a while, and is no member of the service |
//! | Unpair | a stand-in, or one that is kept | it is a member of the service |
//! | Assign, Withdraw | any | its host runs a hook of the target's release, or stops it; a slot with a new target has no hook |
//! | Leave | any | it is to be empty; it is remembered until its host reports that |

use crate::digest::Digest;
use crate::id::{HostId, SlotId};
use crate::plan::{Order, PlanSlot, Task};
use crate::time::Timestamp;

/// One change of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transition {
    /// A slot comes to be.
    Create {
        /// Its identity.
        id: SlotId,
        /// Its host.
        host: HostId,
        /// The release it is to have.
        release: Digest,
        /// Whether its target runs at once; otherwise its image is pulled.
        runs: bool,
        /// Whether that release is good.
        good: bool,
        /// Whether it is started although its content failed before.
        retry: bool,
        /// Its devices.
        gpus: Vec<String>,
        /// The slot that it stands in for.
        stands_in_for: Option<SlotId>,
    },
    /// The part of a plan that a host holds becomes the slot.
    Adopt {
        /// The host.
        host: HostId,
        /// The part.
        part: Box<PlanSlot>,
        /// When its second instance is removed, if that only stands by.
        until: Timestamp,
    },
    /// The image of another target is pulled; the instance that serves goes on beside it.
    Prepare {
        /// The target.
        release: Digest,
        /// The release of the instance that serves; it may be the target.
        incumbent: Option<Digest>,
        /// Whether the target is good.
        good: bool,
        /// The release that is restored if a target on trial fails.
        fallback: Option<Digest>,
        /// Whether it is started although its content failed before.
        retry: bool,
        /// The target's devices.
        gpus: Vec<String>,
        /// Whether the instance before was stopped for the target before, and nothing serves since.
        stopped: bool,
    },
    /// The target starts.
    Start {
        /// Which instance goes first.
        order: Order,
        /// The generation that it has at least.
        generation: u64,
        /// Whether the second instance makes way, whichever goes first.
        makes_way: bool,
        /// Whether an instance that it replaces as a restart goes on until it is let go.
        keeps_older: bool,
    },
    /// The instances that a restart has replaced stop.
    LetGo {
        /// Whether that is left to their host: it reads no plan which keeps them, or nothing has replaced them after all.
        by_host: bool,
    },
    /// Instances that are about to stop get no new requests, and finish what they have.
    Drain {
        /// Whether the target is one of them.
        target: bool,
        /// Whether the second instance is one of them.
        other: bool,
    },
    /// The second instance stops and is kept.
    Rest {
        /// When it is removed, if that is settled.
        until: Option<Timestamp>,
    },
    /// The target is good; the second instance runs on beside it, for a quick way back.
    Keep {
        /// When it stops.
        until: Timestamp,
    },
    /// The second instance is removed.
    Forget,
    /// The target is good.
    Promote {
        /// Whether it serves, so that the second instance stops.
        serves: bool,
        /// When a second instance that stands by is removed.
        until: Timestamp,
    },
    /// Nothing runs in it.
    Park {
        /// Whether another instance is to start in its place: until that serves, the slot counts as down.
        makes_way: bool,
    },
    /// The target runs as it did.
    Resume,
    /// The target stops and is kept, without a second instance and without another try.
    Abandon,
    /// An older release becomes the target again.
    Revert {
        /// The release, which is good.
        to: Digest,
        /// The release that runs alongside it.
        beside: Option<Digest>,
        /// Which instance goes first.
        order: Order,
        /// Whether it starts now.
        starts: bool,
    },
    /// Nothing runs in it until a person says so.
    Stand {
        /// The release that it starts with then.
        good: Option<Digest>,
    },
    /// The target gets other devices of its host.
    Move {
        /// The devices.
        gpus: Vec<String>,
        /// Which instance goes first, where the target runs.
        order: Order,
        /// Whether the instance that runs goes on until it is let go.
        keeps_older: bool,
    },
    /// The instance that the host has restored, in the place of one that failed, is the second instance from now on.
    Restored {
        /// Its release.
        release: Digest,
    },
    /// The target may be started once more although its content failed there.
    Retry,
    /// The target may not be started again.
    Disarm,
    /// Its instance runs on for a while, and it is no member any more.
    Retain {
        /// When it is removed.
        until: Timestamp,
    },
    /// It is a member from now on.
    Unpair,
    /// The host runs a hook of the target's release, once.
    Assign {
        /// The hook and its rollout.
        task: Task,
    },
    /// The host runs none, and stops one that runs.
    Withdraw,
    /// The slot is to be empty.
    Leave,
    /// Another release, found on other hosts, becomes the target: recovery only.
    BringTo {
        /// The release.
        release: Digest,
        /// Whether it is good.
        good: bool,
        /// The release that is restored if it fails.
        fallback: Option<Digest>,
    },
}

impl Transition {
    /// Whether the transition stops an instance that serves, which then drains first. False for steps of a host by itself, and
    /// for transitions that only record what a host runs.
    pub const fn stops(&self) -> bool {
        match self {
            Self::Prepare { .. }
            | Self::Rest { .. }
            | Self::Forget
            | Self::Promote { .. }
            | Self::Start { .. }
            | Self::LetGo { by_host: false }
            | Self::Park { .. }
            | Self::Abandon
            | Self::Revert { .. }
            | Self::Move { order: Order::StopFirst, .. }
            | Self::Stand { .. }
            | Self::Leave => true,
            Self::Create { .. }
            | Self::Adopt { .. }
            | Self::Drain { .. }
            | Self::Keep { .. }
            | Self::LetGo { by_host: true }
            | Self::Move { order: Order::StartFirst, .. }
            | Self::Resume
            | Self::Restored { .. }
            | Self::Retry
            | Self::Disarm
            | Self::Retain { .. }
            | Self::Unpair
            | Self::Assign { .. }
            | Self::Withdraw
            | Self::BringTo { .. } => false,
        }
    }
}
