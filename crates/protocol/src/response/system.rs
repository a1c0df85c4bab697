//! `system`, and the `data` that some of its values need.

use crate::json::{Node, Object};

use super::displays::{Texts, repair_text};
use super::removed::{Repairs, Why};
use super::speech;

pub(super) fn repair(response: &mut Object<'_>, repairs: &mut Repairs) {
    let why = match response.get("system") {
        None => return,
        Some(Node::String(system)) if system == "TRANSFER_CALL" => Why::Unsupported,
        Some(Node::String(system)) if !system.starts_with("PERMISSION_") => return,
        Some(Node::String(system)) if is_known_permission(system) => {
            repair_permission_data(response, repairs);
            return;
        }
        Some(Node::String(_)) => Why::Unsupported,
        Some(other) if other.is_null() => Why::Null,
        Some(_) => Why::WrongType,
    };
    // The message itself is still worth showing.
    response.remove("system");
    repairs.note("system", why);
}

/// The only two that the widget draws; on any other it throws and the message is lost.
pub(super) fn is_known_permission(system: &str) -> bool {
    matches!(system, "PERMISSION_EMAIL" | "PERMISSION_LOCATION_PRECISE")
}

/// A permission prompt reads its texts from `data`, which must be there.
fn repair_permission_data(response: &mut Object<'_>, repairs: &mut Repairs) {
    match response.get_mut("data") {
        Some(Node::Object(data)) => {
            for (field, path) in [
                ("permissionPrimerAccepted", "data.permissionPrimerAccepted"),
                ("permissionDenied", "data.permissionDenied"),
            ] {
                speech::repair_named(data, field, path, repairs);
            }
            repair_text(data, "permissionRequestTTSContext", "data", Texts::NumbersToo, repairs);
        }
        given => {
            let why = match given {
                None => Why::Missing,
                Some(value) if value.is_null() => Why::Null,
                Some(_) => Why::WrongType,
            };
            response.set("data", Object::new());
            repairs.note("data", why);
        }
    }
}
