//! The end of an endpoint's drain: every connection to it ends.

use std::sync::{Arc, Weak};

use tokio_util::sync::CancellationToken;

use crate::upstream::driver::Wire;

use super::Endpoint;

impl Endpoint {
    /// Ends every connection to it, from now on: its drain is over.
    pub(crate) fn cut(&self) {
        self.cut.token.cancel();
        let wires = std::mem::take(&mut *self.cut.wires());
        wires.iter().filter_map(Weak::upgrade).for_each(|wire| wire.cut());
    }

    /// Whether its drain is over.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut.token.is_cancelled()
    }

    /// Cancelled when its drain is over.
    pub(crate) const fn until_cut(&self) -> &CancellationToken {
        &self.cut.token
    }

    /// Lets one of its connections be ended from here.
    pub(crate) fn connected(&self, wire: &Arc<Wire>) {
        self.cut.wires().push(Arc::downgrade(wire));
        // Either who cuts it finds the connection, or this one finds it cut.
        if self.is_cut() {
            wire.cut();
        }
    }
}
