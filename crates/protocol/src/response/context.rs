//! `context.active`: the widget reads the names of its entries.

use crate::json::{Node, Object};

use super::displays::repair_entries;
use super::removed::{Repairs, Why};

pub(super) fn repair(response: &mut Object<'_>, repairs: &mut Repairs) {
    match response.get_mut("context") {
        None => {}
        Some(Node::Object(context)) => {
            repair_entries(context, "active", "context.active", repairs, |entry, _| {
                entry.as_object().is_some_and(|entry| match entry.get("name") {
                    None => true,
                    Some(name) => name.as_str().is_some(),
                })
            });
        }
        Some(other) => {
            repairs.note("context", if other.is_null() { Why::Null } else { Why::WrongType });
            response.remove("context");
        }
    }
}
