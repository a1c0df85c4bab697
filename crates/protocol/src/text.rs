//! Small rules for text that people will see.

/// Longest name shown to others, in characters. The widget's header fits about 30.
pub const DISPLAY_NAME_CHARS_MAX: usize = 80;

/// A name fit to be shown to others: no control or direction characters, no runs of blanks, at most
/// [`DISPLAY_NAME_CHARS_MAX`] characters. `None` when nothing is left.
pub fn sanitise_display_name(name: &str) -> Option<String> {
    let mut clean = String::new();
    let mut chars = 0;
    let mut blank_pending = false;
    for c in name.chars() {
        if c.is_whitespace() {
            blank_pending = chars > 0;
            continue;
        }
        if c.is_control() || is_invisible(c) {
            continue;
        }
        if chars + usize::from(blank_pending) >= DISPLAY_NAME_CHARS_MAX {
            break;
        }
        if blank_pending {
            clean.push(' ');
            chars += 1;
            blank_pending = false;
        }
        clean.push(c);
        chars += 1;
    }
    (chars > 0).then_some(clean)
}

/// Characters that change the direction or take no room: they make one name look like another.
/// U+200D stays, emoji families are joined by it.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{200b}' | '\u{200c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// True when a browser may follow this address from a page: relative, or one of http, https, mailto, tel.
///
/// Blanks and control characters are ignored the way browsers ignore them, so that `java\nscript:` is
/// seen for what it is.
pub fn is_safe_url(url: &str) -> bool {
    let mut scheme = String::new();
    for c in url.chars().filter(|c| !c.is_control() && !c.is_whitespace() && !is_invisible(*c)) {
        match c {
            ':' => return matches!(scheme.as_str(), "http" | "https" | "mailto" | "tel"),
            '/' | '?' | '#' | '\\' => return true,
            _ => scheme.extend(c.to_lowercase()),
        }
    }
    true
}

/// Words of a speech markup text: tags out, the five entities back to characters, blanks folded.
pub fn plain_text_of_ssml(ssml: &str) -> String {
    let mut text = String::with_capacity(ssml.len());
    let mut rest = ssml;
    while let Some((before, tag)) = rest.split_once('<') {
        text.push_str(before);
        // A tag separates words: `one<break/>two`.
        text.push(' ');
        rest = tag.split_once('>').map_or("", |(_, after)| after);
    }
    text.push_str(rest);
    let text = text
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&apos;", "'")
        .replace("&amp;", "&");
    let mut folded = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        let closes = word.chars().all(|c| matches!(c, '.' | ',' | '!' | '?' | ';' | ':'));
        if !folded.is_empty() && !closes {
            folded.push(' ');
        }
        folded.push_str(word);
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_names_lose_control_and_direction_characters() {
        assert_eq!(sanitise_display_name("  Ann\u{202e}\n  \u{0}Lee "), Some("Ann Lee".into()));
        assert_eq!(sanitise_display_name("\u{200b}\t"), None);
        assert_eq!(sanitise_display_name(&"x".repeat(500)).unwrap().len(), DISPLAY_NAME_CHARS_MAX);
        assert_eq!(sanitise_display_name(&"é ".repeat(99)).unwrap().chars().count(), 79);
    }

    #[test]
    fn s15_only_four_schemes_and_relative_addresses_are_safe() {
        for good in [
            "https://a.b/c:d",
            "HTTP://x",
            "mailto:a@b",
            "tel:+1",
            "/x:y",
            "//h/p",
            "?q=a:b",
            "#f",
            "page",
            "",
        ] {
            assert!(is_safe_url(good), "{good}");
        }
        for bad in [
            "javascript:alert(1)",
            "java\nscript:x",
            " \u{1}JavaScript:x",
            "data:text/html,x",
            "vbscript:x",
            "blob:x",
            "file:///etc",
        ] {
            assert!(!is_safe_url(bad), "{bad}");
        }
    }

    #[test]
    fn speech_markup_becomes_plain_words() {
        for (ssml, text) in [
            (
                "<speak>Hello <emphasis>there</emphasis>. Tom &amp; Co</speak>",
                "Hello there. Tom & Co",
            ),
            ("one<break time='1s'/>two", "one two"),
            ("<speak></speak>", ""),
            ("a <unclosed", "a"),
            ("&amp;lt;", "&lt;"),
        ] {
            assert_eq!(plain_text_of_ssml(ssml), text);
        }
    }
}
