//! Dead letters: what was given up on, as it is kept for operators.

use bytes::Bytes;

use crate::pb;

/// What is kept of what was said. The rest is in the log, where it is in any.
pub const LETTER_BODY_MAX: usize = 16 * 1024;

/// A copy of what was said, cut off where it is too long to be kept, and how long it was.
#[must_use]
pub fn letter_body(body: &Bytes) -> (Bytes, u64) {
    let kept = body.slice(..body.len().min(LETTER_BODY_MAX));
    (kept, u64::try_from(body.len()).unwrap_or(u64::MAX))
}

/// What is known of an input without deciding about it; nothing of what only the bot may see.
#[must_use]
pub fn letter_of_input(input: &pb::ConnectionInput) -> pb::DeadLetter {
    use pb::connection_input::Kind;
    let mut letter = pb::DeadLetter::default();
    let (what, session) = match &input.kind {
        Some(Kind::Say(say)) => {
            letter.client.clone_from(&say.client);
            letter.counter = say.counter;
            (letter.body, letter.body_bytes) = letter_body(&say.body);
            ("message", Some(&say.session))
        }
        Some(Kind::Refuse(refuse)) => {
            letter.client.clone_from(&refuse.client);
            letter.counter = refuse.counter;
            ("refused message", Some(&refuse.session))
        }
        Some(Kind::Attach(attach)) => ("attachment", attach.session.as_ref()),
        Some(Kind::Detach(detach)) => ("detachment", Some(&detach.session)),
        Some(Kind::Control(control)) => ("change of control", Some(&control.session)),
        Some(Kind::Draft(draft)) => ("draft", Some(&draft.session)),
        Some(Kind::End(end)) => ("end", Some(&end.session)),
        None => ("nothing", None),
    };
    what.clone_into(&mut letter.what);
    letter.session = session.cloned();
    letter
}
