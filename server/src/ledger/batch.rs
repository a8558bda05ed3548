//! The changes, audit entries and events that one closure wants stored together.

use windlass_core::Timestamp;
use windlass_core::audit::Fact;

use super::change::Change;
use super::state::State;

/// An event to be stored.
pub(super) struct Happening {
    pub(super) kind: &'static str,
    pub(super) subject: String,
    pub(super) message: String,
    pub(super) actor: Option<String>,
}

/// The changes that a closure wants stored.
pub(crate) struct WriteBatch<'a> {
    /// The state before.
    pub state: &'a State,
    /// Now.
    pub now: Timestamp,
    pub(super) changes: Vec<Change>,
    pub(super) facts: Vec<Fact>,
    pub(super) events: Vec<Happening>,
}

impl WriteBatch<'_> {
    /// Stores a record. What a rollout has decided is stored with it, whoever changed it.
    pub(crate) fn change(&mut self, mut change: Change) {
        if let Change::Rollout(rollout) = &mut change {
            let id = rollout.id.clone();
            let fresh = rollout.log.take_fresh().into_iter();
            self.changes.extend(fresh.map(|decision| Change::Decision(id.clone(), Box::new(decision))));
        }
        self.changes.push(change);
    }

    /// Writes an audit entry.
    pub(crate) fn audit(&mut self, fact: Fact) {
        self.facts.push(fact);
    }

    /// Tells people.
    pub(crate) fn event(
        &mut self,
        kind: &'static str,
        subject: impl Into<String>,
        message: impl Into<String>,
    ) {
        self.tell(kind, None, subject.into(), message.into());
    }

    /// Tells people what `actor` caused.
    pub(crate) fn event_by(
        &mut self,
        actor: &str,
        kind: &'static str,
        subject: impl Into<String>,
        message: impl Into<String>,
    ) {
        self.tell(kind, Some(actor.to_owned()), subject.into(), message.into());
    }

    fn tell(&mut self, kind: &'static str, actor: Option<String>, subject: String, message: String) {
        self.events.push(Happening { kind, subject, message, actor });
    }
}
