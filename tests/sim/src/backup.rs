//! The coordinator's disk is gone, and an export of its store from a while ago is all there is: hosts are ahead.

use std::sync::Arc;

use anyhow::Context as _;
use windlass_server::embedded::EmbeddedError;
use windlass_server::import_backup;
use windlass_server::store::dump;
use windlass_server::store::memory::MemoryStore;

use crate::center::{Backing, Center};
use crate::context::Context;
use crate::event::Event;
use crate::operator::Action;
use crate::world::World;

impl Backing {
    /// An empty store of the same kind. The one before is gone.
    fn anew(&self, backups: u64) -> Self {
        match self {
            Self::Memory(_) => Self::Memory(Arc::new(MemoryStore::new())),
            Self::Sled(folder) => Self::Sled(folder.join(format!("restored-{backups}"))),
        }
    }
}

impl Center {
    /// Exports the store, if the coordinator runs.
    pub async fn back_up(&mut self, context: &mut Context) {
        let Some(store) = self.store() else { return };
        let mut backup = Vec::new();
        match dump::export(&*store, &mut backup).await {
            Ok(_) => self.backup = Some(backup),
            Err(error) => context.checks.fail(format!("the store cannot be exported: {error}")),
        }
    }

    /// It dies, and what it is started with is the newest export. Answers whether there was one.
    async fn set_back(&mut self, context: &mut Context) -> bool {
        let Some(backup) = self.backup.take() else { return false };
        self.die(context).await;
        if let Err(error) = self.import(&backup).await {
            context.checks.fail(format!("the backup cannot be imported: {error:#}"));
        }
        true
    }

    async fn import(&mut self, backup: &[u8]) -> anyhow::Result<()> {
        self.backups += 1;
        self.backing = self.backing.anew(self.backups);
        let store = self.backing.open().await?;
        import_backup(&*store, &mut &*backup, self.now()).await.context("failed to read it")?;
        Ok(())
    }
}

impl World {
    /// The coordinator's disk is gone.
    pub(crate) async fn set_back(&mut self) {
        if !self.center.set_back(&mut self.context).await {
            return;
        }
        self.context.say(|| "the coordinator is restored from a backup".to_owned());
        let now = self.context.now;
        self.context.checks.set_back(&self.hosts, now);
        let at = self.context.now + self.context.dice.seconds(1, 60);
        self.context.queue.push(at, Event::Act(Action::Republish));
    }

    /// The holder of the root keys publishes again the documents that the coordinator has no more.
    pub(crate) async fn republish(&mut self) -> Result<(), EmbeddedError> {
        let Some(embedded) = &self.center.embedded else { return Ok(()) };
        let (version, _) = embedded.trust_after(0);
        for (version, (envelope, floors)) in self.trusts.range(version + 1..) {
            self.context.say(|| format!("trust {version} is published again"));
            embedded.publish_trust(envelope.clone()).await?;
            self.floors.clone_from(floors);
        }
        Ok(())
    }
}
