//! Writes an app's settings into the widget's bundle, which has a place for them.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use stentor_apps::App;
use stentor_types::SessionId;

/// The place, inside a string in double quotes; it occurs once.
const PLACE: &[u8] = b"{{INJECT}}";

/// The widget's settings for an app: the app's own, and where to connect to; for an agent's page also about
/// which session it is.
pub(super) fn settings(app: &App, url: &str, session: Option<SessionId>) -> String {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let others = query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("appId="));
    let app_id = format!("appId={}", app.id);
    let session = session.map(|session| format!("session={session}"));
    let own = std::iter::once(app_id.as_str()).chain(session.as_deref());
    let query: Vec<_> = own.chain(others).collect();
    let mut settings: Map<String, Value> =
        app.widget.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    settings.insert(
        "connection".to_owned(),
        json!({ "type": "websocketraw", "serverUrl": format!("{base}?{}", query.join("&")) }),
    );
    Value::Object(settings).to_string()
}

/// The bundle with the settings in their place; the bundle itself if it has none.
pub(super) fn into(bundle: &Bytes, settings: &str) -> Bytes {
    let Some(at) = bundle.windows(PLACE.len()).position(|window| window == PLACE) else {
        return bundle.clone();
    };
    let (before, rest) = bundle.split_at(at);
    let after = rest.get(PLACE.len()..).unwrap_or_default();
    let settings = escaped(settings);
    let mut whole = Vec::with_capacity(bundle.len() + settings.len());
    whole.extend_from_slice(before);
    whole.extend_from_slice(settings.as_bytes());
    whole.extend_from_slice(after);
    whole.into()
}

/// As it must stand between double quotes in JavaScript. `<` as well, in case somebody puts the bundle into
/// a page.
fn escaped(text: &str) -> String {
    let escape = |c: char| -> Cow<'static, str> {
        match c {
            '"' => "\\\"".into(),
            '\\' => "\\\\".into(),
            '\n' => "\\n".into(),
            '\r' => "\\r".into(),
            '<' | '\u{2028}' | '\u{2029}' => format!("\\u{:04x}", u32::from(c)).into(),
            c if c.is_control() => format!("\\u{:04x}", u32::from(c)).into(),
            c => c.to_string().into(),
        }
    };
    text.chars().map(escape).collect()
}
