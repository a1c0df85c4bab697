//! Says whether the published widget would survive a Response: what it dereferences, in its own order.
//!
//! Written against the observed behaviour of the widget, on another JSON library, and shares no code with
//! the repairs.

use serde_json::{Map, Value};

type Verdict = Result<(), String>;

/// `Err` says what would crash, throw, or run foreign code.
pub(crate) fn widget_would_survive(response: &Value) -> Verdict {
    let response = response.as_object().ok_or("data is no object")?;
    if let Some(speech) = response.get("outputSpeech") {
        speech_survives(speech)?;
    }
    if let Some(speech) = response.get("reprompt") {
        speech_survives(speech)?;
    }
    if let Some(displays) = response.get("displays") {
        for display in displays.as_array().ok_or("displays.map is not a function")? {
            display_survives(display)?;
        }
    }
    if let Some(context) = response.get("context") {
        let context = context.as_object().ok_or("context is no object")?;
        if let Some(active) = context.get("active") {
            for entry in active.as_array().ok_or("active.map is not a function")? {
                let entry = entry.as_object().ok_or("null.name")?;
                if entry.get("name").is_some_and(|name| !name.is_string()) {
                    return Err("context name is no text".into());
                }
            }
        }
    }
    system_survives(response)
}

fn system_survives(response: &Map<String, Value>) -> Verdict {
    let Some(system) = response.get("system") else { return Ok(()) };
    let system = system.as_str().ok_or("system.startsWith is not a function")?;
    if system == "TRANSFER_CALL" {
        return Err("transfer throws".into());
    }
    if system.starts_with("PERMISSION_") {
        if !["PERMISSION_EMAIL", "PERMISSION_LOCATION_PRECISE"].contains(&system) {
            return Err(format!("{system} throws"));
        }
        let data =
            response.get("data").and_then(Value::as_object).ok_or("permission without data")?;
        for field in ["permissionPrimerAccepted", "permissionDenied"] {
            if let Some(speech) = data.get(field) {
                speech_survives(speech)?;
            }
        }
    }
    Ok(())
}

fn speech_survives(speech: &Value) -> Verdict {
    if speech.is_string() {
        return Ok(());
    }
    let speech = speech.as_object().ok_or("speech is neither text nor object")?;
    match speech.get("displayText") {
        None | Some(Value::String(_) | Value::Number(_)) => {}
        Some(Value::Array(list))
            if list.iter().all(|text| text.is_string() || text.is_number()) => {}
        Some(other) => return Err(format!("displayText {other} is no React child")),
    }
    if let Some(html) = speech.get("html") {
        html_survives(html.as_str().ok_or("html is no text")?)?;
    }
    if speech.get("ssml").is_some_and(|ssml| !ssml.is_string()) {
        return Err("ssml is no text".into());
    }
    if let Some(chips) = speech.get("suggestions") {
        for chip in chips.as_array().ok_or("suggestions.map is not a function")? {
            if chip.is_string() {
                continue;
            }
            let chip = chip.as_object().ok_or("chip.title of a non-object")?;
            chip.get("title").and_then(Value::as_str).ok_or("chip without a title")?;
            url_survives(chip.get("url"))?;
        }
    }
    Ok(())
}

/// Crude on purpose: things that must never be seen in sanitised markup.
fn html_survives(html: &str) -> Verdict {
    let lower = html.to_lowercase();
    for bad in ["<script", "<iframe", "<svg", "<math", "<style", "<object", "<embed", "<form"] {
        if lower.contains(bad) {
            return Err(format!("html holds {bad}"));
        }
    }
    let mut in_tag = false;
    let mut quoted = false;
    // What stands since the last space, or since the quote was opened.
    let mut word = String::new();
    for c in lower.chars() {
        match c {
            '<' if !quoted => in_tag = true,
            '>' if !quoted => in_tag = false,
            '"' if in_tag => {
                quoted = !quoted;
                word.clear();
            }
            ' ' if !quoted => word.clear(),
            '=' if in_tag && !quoted && word.starts_with("on") => {
                return Err(format!("html holds a handler {word}"));
            }
            _ => word.push(c),
        }
        if in_tag && quoted && (word == "javascript:" || word == "data:") {
            return Err(format!("html holds an attribute {word}"));
        }
    }
    Ok(())
}

fn display_survives(display: &Value) -> Verdict {
    let display = match display {
        Value::Null => return Err("null.type".into()),
        Value::Object(display) => display,
        _ => return Ok(()),
    };
    let kind = display.get("type").and_then(Value::as_str).unwrap_or_default();
    match kind {
        "CARD" => {
            texts_survive(display, &["title", "content", "subTitle"])?;
            for field in ["smallImageUrl", "largeImageUrl", "imageActionUrl"] {
                url_survives(display.get(field))?;
            }
            buttons_survive(display.get("buttons"))
        }
        "LIST" | "CAROUSEL" | "MultiSelect" => {
            texts_survive(display, &["title"])?;
            let items = display
                .get("items")
                .and_then(Value::as_array)
                .ok_or("items.map is not a function")?;
            for item in items {
                let item = item.as_object().ok_or("null.title")?;
                texts_survive(item, &["id", "title", "description", "token"])?;
                url_survives(item.get("url"))?;
                if let Some(image) = item.get("image") {
                    let image = image.as_object().ok_or("image is no object")?;
                    url_survives(image.get("url"))?;
                    url_survives(image.get("imageActionUrl"))?;
                }
                buttons_survive(item.get("buttons"))?;
            }
            Ok(())
        }
        "ScheduleButton" => texts_survive(display, &["label"]),
        _ => Ok(()),
    }
}

fn texts_survive(owner: &Map<String, Value>, fields: &[&str]) -> Verdict {
    match fields.iter().find(|field| owner.get(**field).is_some_and(|text| !text.is_string())) {
        Some(field) => Err(format!("{field} is no text")),
        None => Ok(()),
    }
}

fn buttons_survive(buttons: Option<&Value>) -> Verdict {
    let Some(buttons) = buttons else { return Ok(()) };
    for button in buttons.as_array().ok_or("buttons.map is not a function")? {
        let button = button.as_object().ok_or("null.openUrlAction")?;
        texts_survive(button, &["title"])?;
        url_survives(button.get("openUrlAction"))?;
    }
    Ok(())
}

fn url_survives(url: Option<&Value>) -> Verdict {
    let Some(url) = url else { return Ok(()) };
    let url = url.as_str().ok_or("address is no text")?;
    // What the URL parser of a browser does first: drop tabs and line ends, trim the rest.
    let seen: String = url.chars().filter(|c| !matches!(c, '\t' | '\n' | '\r')).collect();
    let seen = seen.trim_start_matches(|c: char| c <= ' ').to_lowercase();
    match ["javascript:", "data:", "vbscript:", "blob:", "file:"]
        .iter()
        .find(|bad| seen.starts_with(**bad))
    {
        Some(bad) => Err(format!("address with {bad}")),
        None => Ok(()),
    }
}
