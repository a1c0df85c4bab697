//! Pages and files that the program carries with it: plain modern web, no build step.
//!
//! The demo page shows the published widget where it is at hand, and otherwise a small chat of our own
//! in the same dialect.

/// The demo page with the published widget.
pub const WIDGET_PAGE: &str = include_str!("../assets/widget.html");

/// The demo page with a chat of our own.
pub const CHAT_PAGE: &str = include_str!("../assets/chat.html");

/// The agents' page.
pub const AGENTS_PAGE: &str = include_str!("../assets/agents.html");

/// The page of an agent about one session, with the published widget.
pub const AGENTS_WIDGET_PAGE: &str = include_str!("../assets/agents-widget.html");

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";

/// What the pages load: path, content type, content.
pub const FILES: &[(&str, &str, &str)] = &[
    ("/stentor.js", JAVASCRIPT, include_str!("../assets/stentor.js")),
    ("/stentor/events.js", JAVASCRIPT, include_str!("../assets/stentor/events.js")),
    ("/stentor/lines.js", JAVASCRIPT, include_str!("../assets/stentor/lines.js")),
    ("/stentor/session.js", JAVASCRIPT, include_str!("../assets/stentor/session.js")),
    ("/stentor/store.js", JAVASCRIPT, include_str!("../assets/stentor/store.js")),
    ("/agents/agents.css", CSS, include_str!("../assets/agents/agents.css")),
    ("/agents/alerts.js", JAVASCRIPT, include_str!("../assets/agents/alerts.js")),
    ("/agents/chat.js", JAVASCRIPT, include_str!("../assets/agents/chat.js")),
    ("/agents/kept.js", JAVASCRIPT, include_str!("../assets/agents/kept.js")),
    ("/agents/list.js", JAVASCRIPT, include_str!("../assets/agents/list.js")),
    ("/agents/main.js", JAVASCRIPT, include_str!("../assets/agents/main.js")),
    ("/agents/transcript.js", JAVASCRIPT, include_str!("../assets/agents/transcript.js")),
    ("/agents/words.js", JAVASCRIPT, include_str!("../assets/agents/words.js")),
    ("/agents-widget.js", JAVASCRIPT, include_str!("../assets/agents-widget.js")),
    ("/demo.css", CSS, include_str!("../assets/demo.css")),
    ("/chat.js", JAVASCRIPT, include_str!("../assets/chat.js")),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s15_pages_have_no_inline_scripts_and_every_file_they_load_is_there() {
        for page in [WIDGET_PAGE, CHAT_PAGE, AGENTS_PAGE, AGENTS_WIDGET_PAGE] {
            for tag in page.split("<script").skip(1) {
                assert!(tag.split('>').next().is_some_and(|tag| tag.contains("src=")), "{tag}");
            }
            let loaded = page.split("src=\"").chain(page.split("stylesheet\" href=\"")).skip(1);
            for path in loaded.filter_map(|rest| rest.split('"').next()) {
                let known = FILES.iter().any(|(known, ..)| *known == path);
                assert!(known || path.starts_with("/widget/") || path.starts_with("<!"), "{path}");
            }
        }
    }
}
