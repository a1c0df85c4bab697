//! Cards, lists, carousels and the other things a bot can show.
//!
//! Only the types that the widget draws are looked into; an unknown display renders nothing there and
//! passes as it is.

use crate::json::{Node, Object};
use crate::text::is_safe_url;

use super::removed::{Repairs, Why};

/// What a text field may hold besides a string.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Texts {
    StringsOnly,
    /// Numbers become their digits.
    NumbersToo,
}

pub(super) fn repair(response: &mut Object<'_>, repairs: &mut Repairs) {
    repair_entries(response, "displays", "displays", repairs, |display, repairs| match display {
        Node::Object(display) => {
            repair_display(display, repairs);
            true
        }
        // The widget renders nothing for these and survives.
        Node::String(_) | Node::Number(_) => true,
        _ => false,
    });
}

/// Keeps an array an array and drops the entries for which `keep` says no.
pub(super) fn repair_entries<'a>(
    owner: &mut Object<'a>,
    field: &str,
    path: &str,
    repairs: &mut Repairs,
    mut keep: impl FnMut(&mut Node<'a>, &mut Repairs) -> bool,
) {
    let Some(value) = owner.get_mut(field) else { return };
    let Node::Array(entries) = value else {
        repairs.note(path, why_of(value));
        owner.remove(field);
        return;
    };
    entries.retain_mut(|entry| {
        let why = why_of(entry);
        let stays = keep(entry, repairs);
        if !stays {
            repairs.note(&format!("{path}[]"), why);
        }
        stays
    });
}

fn repair_display(display: &mut Object<'_>, repairs: &mut Repairs) {
    const PATH: &str = "displays[]";
    match display.str("type") {
        Some("CARD") => {
            for field in ["title", "content", "subTitle"] {
                repair_text(display, field, PATH, Texts::NumbersToo, repairs);
            }
            for field in ["smallImageUrl", "largeImageUrl", "imageActionUrl"] {
                repair_url(display, field, PATH, repairs);
            }
            repair_buttons(display, "displays[].buttons", repairs);
        }
        Some("LIST" | "CAROUSEL") => {
            repair_text(display, "title", PATH, Texts::NumbersToo, repairs);
            repair_url(display, "url", PATH, repairs);
            repair_buttons(display, "displays[].buttons", repairs);
            repair_items(display, repairs);
        }
        Some("MultiSelect") => {
            repair_text(display, "title", PATH, Texts::NumbersToo, repairs);
            repair_items(display, repairs);
        }
        Some("ScheduleButton") => repair_text(display, "label", PATH, Texts::NumbersToo, repairs),
        _ => {}
    }
}

/// The widget cannot draw a list without an array of items; an empty one it can.
fn repair_items(display: &mut Object<'_>, repairs: &mut Repairs) {
    const PATH: &str = "displays[].items";
    repair_entries(display, "items", PATH, repairs, |item, repairs| match item {
        Node::Object(item) => {
            repair_item(item, repairs);
            true
        }
        _ => false,
    });
    if display.get("items").is_none() {
        display.set("items", Node::Array(Vec::new()));
        repairs.note(PATH, Why::Missing);
    }
}

fn repair_item(item: &mut Object<'_>, repairs: &mut Repairs) {
    const PATH: &str = "displays[].items[]";
    for field in ["id", "title", "description", "token"] {
        repair_text(item, field, PATH, Texts::NumbersToo, repairs);
    }
    repair_url(item, "url", PATH, repairs);
    match item.get_mut("image") {
        None => {}
        Some(Node::Object(image)) => {
            repair_url(image, "url", "displays[].items[].image", repairs);
            repair_url(image, "imageActionUrl", "displays[].items[].image", repairs);
            repair_text(
                image,
                "accessibilityText",
                "displays[].items[].image",
                Texts::NumbersToo,
                repairs,
            );
        }
        Some(other) => {
            repairs.note("displays[].items[].image", why_of(other));
            item.remove("image");
        }
    }
    repair_buttons(item, "displays[].items[].buttons", repairs);
}

fn repair_buttons(owner: &mut Object<'_>, path: &str, repairs: &mut Repairs) {
    let entry_path = format!("{path}[]");
    repair_entries(owner, "buttons", path, repairs, |button, repairs| match button {
        Node::Object(button) => {
            repair_text(button, "title", &entry_path, Texts::NumbersToo, repairs);
            repair_url(button, "openUrlAction", &entry_path, repairs);
            true
        }
        _ => false,
    });
}

/// A text field: a string stays, a number may become its digits, anything else goes.
pub(super) fn repair_text(
    owner: &mut Object<'_>,
    field: &'static str,
    owner_path: &str,
    texts: Texts,
    repairs: &mut Repairs,
) {
    let why = match owner.get_mut(field) {
        None | Some(Node::String(_)) => return,
        Some(value) => match (&*value, texts) {
            (Node::Number(digits), Texts::NumbersToo) => {
                *value = Node::from(*digits);
                repairs.note(&format!("{owner_path}.{field}"), Why::NumberAsText);
                return;
            }
            (other, _) => why_of(other),
        },
    };
    owner.remove(field);
    repairs.note(&format!("{owner_path}.{field}"), why);
}

/// An address: a string that may be followed, or nothing.
pub(super) fn repair_url(
    owner: &mut Object<'_>,
    field: &'static str,
    owner_path: &str,
    repairs: &mut Repairs,
) {
    let why = match owner.get(field) {
        None => return,
        Some(Node::String(url)) if is_safe_url(url) => return,
        Some(Node::String(_)) => Why::UnsafeUrl,
        Some(other) => why_of(other),
    };
    owner.remove(field);
    repairs.note(&format!("{owner_path}.{field}"), why);
}

/// True when at least one display draws something.
pub(super) fn is_visible(displays: Option<&Node<'_>>) -> bool {
    let displays = displays.and_then(Node::as_array).unwrap_or_default();
    displays.iter().filter_map(Node::as_object).any(|display| match display.get("items") {
        Some(Node::Array(items)) => !items.is_empty(),
        _ => true,
    })
}

fn why_of(bad: &Node<'_>) -> Why {
    if bad.is_null() { Why::Null } else { Why::WrongType }
}
