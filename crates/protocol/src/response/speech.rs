//! What the bot says: `outputSpeech`, `reprompt`, and the speeches inside `data`.

use crate::json::{Node, Object};
use crate::text::plain_text_of_ssml;

use super::displays::{Texts, repair_text, repair_url};
use super::html::{self, Sanitised};
use super::removed::{Repairs, Why};

/// Repairs the speech in a field; one that cannot be read at all goes.
pub(super) fn repair_field(owner: &mut Object<'_>, field: &'static str, repairs: &mut Repairs) {
    repair_named(owner, field, field, repairs);
}

/// Like [`repair_field`] for a speech that is not at the top; `path` is its pattern.
pub(super) fn repair_named(owner: &mut Object<'_>, field: &str, path: &str, repairs: &mut Repairs) {
    match owner.get_mut(field) {
        None | Some(Node::String(_)) => {}
        Some(Node::Object(speech)) => repair(speech, path, repairs),
        Some(other) => {
            repairs.note(path, if other.is_null() { Why::Null } else { Why::WrongType });
            owner.remove(field);
        }
    }
}

fn repair(speech: &mut Object<'_>, path: &str, repairs: &mut Repairs) {
    repair_display_text(speech, path, repairs);
    repair_text(speech, "ssml", path, Texts::StringsOnly, repairs);
    repair_html(speech, &format!("{path}.html"), repairs);
    repair_suggestions(speech, &format!("{path}.suggestions"), repairs);
    if let Some(locales) = speech.get_mut("locales") {
        sanitise_all_html(locales, &format!("{path}.locales.html"), repairs);
    }
    show_ssml(speech, repairs);
}

/// Text, a number and a list of texts are harmless; anything else is fatal.
fn repair_display_text(speech: &mut Object<'_>, path: &str, repairs: &mut Repairs) {
    let harmless = match speech.get("displayText") {
        None | Some(Node::String(_) | Node::Number(_)) => true,
        Some(Node::Array(entries)) => entries.iter().all(|entry| entry.as_text().is_some()),
        Some(_) => false,
    };
    if !harmless {
        speech.remove("displayText");
        repairs.note(&format!("{path}.displayText"), Why::WrongType);
    }
}

fn repair_html(speech: &mut Object<'_>, path: &str, repairs: &mut Repairs) {
    let Some(value) = speech.get_mut("html") else { return };
    let why = match value {
        Node::String(text) if text.len() > html::HTML_BYTES_MAX => Why::TooLong,
        Node::String(text) => match html::sanitise(text) {
            Sanitised::Same => return,
            Sanitised::Changed(clean) => {
                repairs.note(path, Why::UnsafeHtml);
                // Empty markup would win over nothing; the text may say what the markup no longer does.
                if clean.trim().is_empty() {
                    speech.remove("html");
                } else {
                    *value = clean.into();
                }
                return;
            }
            Sanitised::Unstable => Why::UnsafeHtml,
        },
        Node::Null => Why::Null,
        _ => Why::WrongType,
    };
    repairs.note(path, why);
    let words = speech.remove("html").as_ref().and_then(Node::as_str).map(plain_text_of_ssml);
    // Markup that cannot be made safe still has words; `displayText` is drawn as text, never as markup.
    let has_text = speech.get("displayText").is_some() || speech.get("ssml").is_some();
    if let (Some(words), false) = (words, has_text) {
        speech.set("displayText", words);
    }
}

/// Chips: a text, or an object with a title that is a text.
fn repair_suggestions(speech: &mut Object<'_>, path: &str, repairs: &mut Repairs) {
    let Some(value) = speech.get_mut("suggestions") else { return };
    let Node::Array(chips) = value else {
        repairs.note(path, if value.is_null() { Why::Null } else { Why::WrongType });
        speech.remove("suggestions");
        return;
    };
    let entry_path = format!("{path}[]");
    chips.retain_mut(|chip| match chip {
        Node::String(_) => true,
        Node::Number(digits) => {
            *chip = Node::from(*digits);
            repairs.note(&entry_path, Why::NumberAsText);
            true
        }
        Node::Object(object) => {
            repair_text(object, "title", &entry_path, Texts::NumbersToo, repairs);
            repair_url(object, "url", &entry_path, repairs);
            let has_title = object.get("title").is_some();
            if !has_title {
                repairs.note(&entry_path, Why::Missing);
            }
            has_title
        }
        other => {
            repairs.note(&entry_path, if other.is_null() { Why::Null } else { Why::WrongType });
            false
        }
    });
}

/// The published widget is not seen to read `locales`; markup in it is cleaned all the same.
fn sanitise_all_html(node: &mut Node<'_>, path: &str, repairs: &mut Repairs) {
    match node {
        Node::Object(object) => {
            repair_html(object, path, repairs);
            for value in object.values_mut() {
                sanitise_all_html(value, path, repairs);
            }
        }
        Node::Array(entries) => {
            for entry in entries {
                sanitise_all_html(entry, path, repairs);
            }
        }
        _ => {}
    }
}

/// Speech markup alone is drawn as a blank row: its words become the text.
fn show_ssml(speech: &mut Object<'_>, repairs: &mut Repairs) {
    let is_blank = |field| match speech.get(field) {
        None => true,
        Some(Node::String(text)) => text.is_empty(),
        Some(_) => false,
    };
    if !(is_blank("displayText") && is_blank("html")) {
        return;
    }
    let words = speech.str("ssml").map(plain_text_of_ssml).unwrap_or_default();
    if !words.is_empty() {
        speech.set("displayText", words);
        repairs.note_added();
    }
}

/// True when the widget draws something for it.
pub(super) fn is_visible(speech: Option<&Node<'_>>) -> bool {
    match speech {
        Some(Node::String(text)) => !text.trim().is_empty(),
        Some(Node::Object(speech)) => {
            let text = match speech.get("displayText") {
                Some(Node::String(text)) => !text.trim().is_empty(),
                Some(Node::Array(entries)) => !entries.is_empty(),
                Some(_) => true,
                None => false,
            };
            let html = speech.str("html").is_some_and(|html| !html.trim().is_empty());
            let chips = speech
                .get("suggestions")
                .and_then(Node::as_array)
                .is_some_and(|chips| !chips.is_empty());
            text || html || chips
        }
        _ => false,
    }
}
