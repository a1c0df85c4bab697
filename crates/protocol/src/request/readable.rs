//! Words for people: what a Request without text looks like in a transcript.

use bytes::Bytes;

use crate::json::{Node, Object, parse};

use super::{RequestKind, VisitorRequest};

/// What the visitor did, for people: the text if there is one, else e.g. "Launch".
pub fn readable_text(request: &VisitorRequest) -> String {
    request.text.clone().unwrap_or_else(|| request.label.clone())
}

/// A recorded Request ([`VisitorRequest::for_record`]) as another widget can show it: with a `rawQuery`,
/// for without one it draws a blank row. Comes back as it is when it has one, or is no Request.
pub fn relay_body(for_record: &Bytes) -> Bytes {
    let Some((Node::Object(mut request), _)) =
        std::str::from_utf8(for_record).ok().and_then(|text| parse(text).ok())
    else {
        return for_record.clone();
    };
    if request.str("rawQuery").is_some() {
        return for_record.clone();
    }
    let kind = request.str("type").map(RequestKind::from_type);
    let text = match kind {
        Some(Ok(kind)) => label(&kind, &request),
        _ => return for_record.clone(),
    };
    request.set("rawQuery", text);
    request.to_bytes()
}

/// The SDK's own wording for its transcripts.
pub(super) fn label(kind: &RequestKind, request: &Object<'_>) -> String {
    match kind {
        RequestKind::Launch => "Launch".to_owned(),
        RequestKind::Intent => request.str("intentId").unwrap_or("Intent").to_owned(),
        RequestKind::OptionSelect => match request.str("title") {
            Some(title) => format!("Selected \"{title}\""),
            None => {
                format!("Selected item with token {}", request.str("token").unwrap_or_default())
            }
        },
        RequestKind::PermissionGrant => match request.get("granted").and_then(Node::as_bool) {
            Some(true) => "Permission granted".to_owned(),
            _ => "Permission denied".to_owned(),
        },
        RequestKind::Custom(name) => name.clone(),
    }
}
