//! What is asked of the owner of a session, in order.

use stentor_protocol::v2::{Code, Resume};
use stentor_types::{ClientInstance, SessionId};
use stentor_wire::{client_to_bytes, pb, pb::connection_input::Kind, session_to_bytes};

/// Counted for each job beside its text.
const OVERHEAD_BYTES: usize = 256;

/// One thing to be asked.
#[derive(Debug)]
pub(super) enum Job {
    /// A place in the session.
    Open(Opening),
    /// A place again: the session has forgotten the connection.
    Reopen,
    /// A message.
    Say(Box<Saying>),
    /// A message that cannot be taken; its number is used up.
    Refuse { mid: u64, why: Unfit },
    /// Something that staff do.
    Deed { reference: u64, deed: Deed },
    /// To forget the connection. `aloud`: the client asked for it.
    Leave { aloud: bool },
}

/// How a session is to be opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening {
    pub(super) reference: u64,
    pub(super) resume: Option<Resume>,
    /// It was asked for under a name of the visitor's own, which may lead elsewhere by now: the session that it led to
    /// before may have been erased.
    pub(super) by_name: bool,
}

/// A message as the owner is to see it.
#[derive(Debug)]
pub(super) struct Saying {
    pub(super) mid: u64,
    pub(super) text: Option<String>,
    pub(super) greeting: bool,
    pub(super) note: bool,
    pub(super) body: bytes::Bytes,
    pub(super) request: bytes::Bytes,
}

/// Why a message cannot be taken, whoever sends it.
#[derive(Debug)]
pub(super) struct Unfit {
    pub(super) code: Code,
    /// Names the field.
    pub(super) text: String,
}

/// Something that staff do.
#[derive(Debug)]
pub(super) enum Deed {
    Take(Option<String>),
    Release,
    Draft(u64, pb::DraftAction),
    End,
}

// === impl Job ===

impl Job {
    pub(super) fn bytes(&self) -> usize {
        let text = match self {
            Self::Say(say) => say.body.len() + say.request.len(),
            Self::Refuse { why, .. } => why.text.len(),
            Self::Open(_) | Self::Reopen | Self::Deed { .. } | Self::Leave { .. } => 0,
        };
        text.saturating_add(OVERHEAD_BYTES)
    }

    /// Whether it makes a difference in which order it is done with others.
    pub(super) const fn says_something(&self) -> bool {
        matches!(self, Self::Say(_) | Self::Refuse { .. } | Self::Deed { .. })
    }

    /// Whether jobs behind it must wait for its answer.
    pub(super) const fn stands_alone(&self) -> bool {
        matches!(self, Self::Open(_) | Self::Reopen | Self::Leave { .. })
    }

    /// The input for a session that is known.
    pub(super) fn input(&self, session: SessionId, client: ClientInstance) -> Option<Kind> {
        let session = session_to_bytes(session);
        let by = Some(client_to_bytes(client));
        Some(match self {
            Self::Open(_) | Self::Reopen => return None,
            Self::Say(say) => Kind::Say(pb::SayInput {
                session,
                counter: say.mid,
                client_time: None,
                text: say.text.clone(),
                greeting: say.greeting,
                body: say.body.clone(),
                request: say.request.clone(),
                note: say.note,
                client: by,
            }),
            Self::Refuse { mid, .. } => {
                let (counter, poison) = (*mid, false);
                Kind::Refuse(pb::RefuseInput { session, counter, client: by, poison })
            }
            Self::Deed { deed: Deed::Take(name), .. } => {
                let display_name = name.clone();
                Kind::Control(pb::ControlInput { session, take: true, display_name })
            }
            Self::Deed { deed: Deed::Release, .. } => {
                Kind::Control(pb::ControlInput { session, take: false, display_name: None })
            }
            Self::Deed { deed: Deed::Draft(turn, action), .. } => {
                let action = (*action).into();
                Kind::Draft(pb::DraftInput { session, turn: *turn, action })
            }
            Self::Deed { deed: Deed::End, .. } => Kind::End(pb::EndInput { session }),
            Self::Leave { .. } => Kind::Detach(pb::DetachInput { session, delivered: None }),
        })
    }
}
