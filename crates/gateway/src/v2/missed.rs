//! What follows for a seat when fan-out was lost, or may have been: events are fetched, the session is attached
//! to again.
//!
//! Messages are numbered by their client, not by the connection: whatever has no answer is simply sent again, under
//! whichever name the gateway goes by.

use stentor_cluster::Ingress;
use stentor_types::GatewayId;

use super::{jobs::Job, seat::Seat};
use crate::engine::Frames;

impl<B: Ingress> Seat<B> {
    /// It is this seat's turn to look.
    pub(super) fn catch_up(&mut self, name: GatewayId) {
        self.is_behind = false;
        self.looks = true;
        if let Some(fetching) = &mut self.fetching {
            fetching.hurry();
        }
        if self.name_of_gateway != name {
            // The same jobs again, under the new name.
            self.doubt_what_is_asked();
            self.reattach();
            return;
        }
        if let Some(asking) = &mut self.asking {
            asking.hurry();
        }
        if let Some(shown) = &mut self.shown {
            shown.doubt();
        }
    }

    /// It has its turn, and the client does not have everything yet.
    pub(super) fn is_catching_up(&self) -> bool {
        let reopening = matches!(self.jobs.front(), Some(Job::Reopen));
        let behind = self.shown.as_ref().is_some_and(super::shown::Shown::is_behind);
        self.looks && (reopening || behind)
    }

    /// Goes by the gateway's name from now on, if there is something to ask.
    pub(super) fn take_name(&mut self, name: GatewayId) {
        // Whoever leaves is known under the old name.
        let leaves = matches!(self.jobs.front(), Some(Job::Leave { .. }));
        if self.name_of_gateway == name || self.jobs.is_empty() || leaves {
            return;
        }
        self.reattach();
        self.name_of_gateway = name;
    }

    /// A place again before anything else is asked, unless that is what is asked first.
    fn reattach(&mut self) {
        let first = self.jobs.front();
        let stands = matches!(first, Some(Job::Open(_) | Job::Reopen | Job::Leave { .. }));
        if self.shown.is_some() && !stands {
            self.jobs.push_front(Job::Reopen);
        }
    }

    /// The session cannot be attached to for so long that the client is told to send everything again.
    pub(super) fn fail_behind(&mut self, frames: &mut Frames) {
        let reopening = self.jobs.pop_front();
        self.fail_all(frames);
        self.jobs.extend(reopening);
        self.jobs.rotate_right(1.min(self.jobs.len()));
    }
}
