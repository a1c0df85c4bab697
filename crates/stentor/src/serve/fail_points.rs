//! Texts that make a router fail, for tests alone: an ordinary binary does not have them.

use std::sync::Arc;

use stentor_router::FailPoint;
use stentor_types::InputKind;

/// A text that begins so ends the process without a word.
const ABORT: &str = "fail-point: abort";
/// A text that begins so makes the rules panic.
const PANIC: &str = "fail-point: panic";

/// The fail point of a router.
pub(super) fn of_router() -> Option<FailPoint> {
    Some(Arc::new(|input| {
        let InputKind::Say(say) = &input.kind else { return };
        let text = say.text.as_deref().unwrap_or_default();
        if text.starts_with(ABORT) {
            std::process::abort();
        }
        #[expect(clippy::panic, reason = "it is what is asked for")]
        if text.starts_with(PANIC) {
            panic!("a fail point");
        }
    }))
}
