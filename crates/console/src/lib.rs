//! Pages and files that the program carries with it: plain modern web, no build step.
//!
//! The demo page shows the published widget where it is at hand, and otherwise a small chat of our own
//! in the same dialect.

/// The demo page with the published widget.
pub const WIDGET_PAGE: &str = include_str!("../assets/widget.html");

/// The demo page with a chat of our own.
pub const CHAT_PAGE: &str = include_str!("../assets/chat.html");

/// What the pages load: path, content type, content.
pub const FILES: &[(&str, &str, &str)] = &[
    ("/demo.css", "text/css; charset=utf-8", include_str!("../assets/demo.css")),
    ("/chat.js", "text/javascript; charset=utf-8", include_str!("../assets/chat.js")),
    (
        "/legacy-client.js",
        "text/javascript; charset=utf-8",
        include_str!("../assets/legacy-client.js"),
    ),
];
