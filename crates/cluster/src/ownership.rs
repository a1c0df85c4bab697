//! The port to whoever knows which router serves which partition.
//!
//! Ownership is for speed only: that two owners never both commit is the log's compare-and-set. What it
//! has to prevent alone are answers that stand on nothing but a stale owner's memory.

use std::{error::Error, fmt, future::Future};

use bytes::Bytes;
use stentor_types::Partition;
use tokio::sync::oneshot;

/// What a router is told about the partitions that it serves, in order.
#[derive(Debug)]
pub enum OwnershipChange {
    /// Serve it from now on.
    Take {
        /// Which.
        partition: Partition,
        /// Told when everything that is due in it has been taken up.
        taken_up: oneshot::Sender<()>,
    },
    /// Finish what has begun in it, and serve it no longer.
    Release {
        /// Which.
        partition: Partition,
        /// Told when nothing of it is open any more.
        released: oneshot::Sender<()>,
    },
    /// Somebody else serves it already: drop everything, and answer nobody.
    Lost {
        /// Which.
        partition: Partition,
    },
}

/// Who owns what, as far as this router can know.
pub trait Ownership: fmt::Debug + Send + Sync + 'static {
    /// Whether nobody else can have taken the partition yet. Cheap: asked before every answer that
    /// stands on memory alone. False says nothing about who has it.
    fn holds(&self, partition: Partition) -> bool;

    /// Whether the partition is this router's by the record that all routers share. Asked when
    /// [`Self::holds`] is false, and when somebody else had written to a session. False if the record
    /// cannot be read. Cancel safe.
    fn confirm(&self, partition: Partition) -> impl Future<Output = bool> + Send;

    /// Up to which version of the rules everybody who may ever read what is written can read. What is newer
    /// must not be written yet.
    fn finalized(&self) -> u32 {
        u32::MAX
    }

    /// Something in the partition is for readers of this version of the rules, and this router has a lower
    /// one: somebody else must serve it. False if there is nobody else.
    fn is_beyond(&self, _: Partition, _: u32) -> bool {
        false
    }

    /// What was last written by [`Self::set_trying`], by whichever owner. Nothing at a router that has no
    /// successor.
    ///
    /// # Errors
    /// It cannot be read just now.
    fn trying(
        &self,
        partition: Partition,
    ) -> impl Future<Output = Result<Option<Bytes>, Box<dyn Error + Send + Sync>>> + Send {
        let _ = partition;
        async { Ok(None) }
    }

    /// Writes down for the next owner of a partition what this one is about to try. When this returns, it
    /// survives the loss of this process.
    ///
    /// # Errors
    /// It may not have been written.
    fn set_trying(
        &self,
        partition: Partition,
        trying: Bytes,
    ) -> impl Future<Output = Result<(), Box<dyn Error + Send + Sync>>> + Send {
        let _ = (partition, trying);
        async { Ok(()) }
    }
}
