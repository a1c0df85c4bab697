//! Dead letters: what the router gave up on, told to whoever looks after it.
//!
//! Each is logged and counted here, whatever the log does with the copy: a log of one process has no place for it.

use prost::Message;
use stentor_cluster::Log;
use stentor_wire::pb;
use tracing::error;

use crate::Shared;

impl<L: Log, S, B> Shared<L, S, B> {
    /// Keeps what is known of something that was given up on. `letter` brings all but time.
    pub(crate) fn bury(&self, mut letter: pb::DeadLetter) {
        letter.at = self.clock.now().0;
        self.metrics.buried(letter.reason());
        let session = letter.session.as_deref().and_then(|id| stentor_wire::session_id(id).ok());
        let session = session.map(|session| session.to_string());
        error!(
            app = letter.app,
            session,
            what = letter.what,
            reason = letter.reason().as_str_name(),
            detail = letter.detail,
            "something was given up on"
        );
        self.log.bury(letter.encode_to_vec().into());
    }
}
