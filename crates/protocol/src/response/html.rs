//! `html` of a bot, which the widget sets as raw markup of the page it lives in.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use ammonia::Builder;

/// Longest markup that is sanitised, in bytes; a parser of hostile markup is not fed more.
pub(super) const HTML_BYTES_MAX: usize = 64 * 1024;

/// What sanitising gave.
pub(super) enum Sanitised {
    /// It was clean, byte for byte.
    Same,
    Changed(String),
    /// No stable result: sanitising the result would change it again, which is how filters are fooled.
    Unstable,
}

/// Text, emphasis, lists, links, tables, images; no styles, no scripts, no classes, no ids.
static SANITISER: LazyLock<Builder<'static>> = LazyLock::new(|| {
    let mut builder = Builder::default();
    builder
        .tags(HashSet::from([
            "a",
            "b",
            "blockquote",
            "br",
            "code",
            "dd",
            "del",
            "div",
            "dl",
            "dt",
            "em",
            "h1",
            "h2",
            "h3",
            "h4",
            "h5",
            "h6",
            "hr",
            "i",
            "img",
            "ins",
            "li",
            "ol",
            "p",
            "pre",
            "s",
            "small",
            "span",
            "strong",
            "sub",
            "sup",
            "table",
            "tbody",
            "td",
            "th",
            "thead",
            "tr",
            "u",
            "ul",
        ]))
        .tag_attributes(HashMap::from([
            ("a", HashSet::from(["href", "title", "target"])),
            ("img", HashSet::from(["src", "alt", "width", "height", "title"])),
            ("ol", HashSet::from(["start"])),
            ("td", HashSet::from(["colspan", "rowspan"])),
            ("th", HashSet::from(["colspan", "rowspan"])),
        ]))
        .generic_attributes(HashSet::new())
        .url_schemes(HashSet::from(["http", "https", "mailto", "tel"]))
        .link_rel(Some("noopener noreferrer"));
    builder
});

pub(super) fn sanitise(html: &str) -> Sanitised {
    let mut clean: Cow<'_, str> = Cow::Borrowed(html);
    // Twice is the rule for changed markup: once to clean, once to see that it is stable.
    for _ in 0..3 {
        let next = SANITISER.clean(&clean).to_string();
        if next == clean {
            return match clean {
                Cow::Borrowed(_) => Sanitised::Same,
                Cow::Owned(clean) => Sanitised::Changed(clean),
            };
        }
        clean = Cow::Owned(next);
    }
    Sanitised::Unstable
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(html: &str) -> String {
        match sanitise(html) {
            Sanitised::Same => html.to_owned(),
            Sanitised::Changed(html) => html,
            Sanitised::Unstable => String::new(),
        }
    }

    #[test]
    fn s15_scripts_handlers_and_bad_schemes_go_text_stays() {
        for (given, cleaned) in [
            ("<p>hi<script>alert(1)</script></p>", "<p>hi</p>"),
            ("<img src=x onerror=alert(1)>", "<img src=\"x\">"),
            ("<a href=\"javascript:alert(1)\">x</a>", "<a rel=\"noopener noreferrer\">x</a>"),
            ("<a href=\"java&#10;script:alert(1)\">x</a>", "<a rel=\"noopener noreferrer\">x</a>"),
            ("<a href=\"data:text/html,x\">x</a>", "<a rel=\"noopener noreferrer\">x</a>"),
            ("<iframe src=https://e.example></iframe>a", "a"),
            ("<svg><script>alert(1)</script></svg>b", "b"),
            ("<style>*{}</style><b style='x'>c</b>", "<b>c</b>"),
        ] {
            assert_eq!(clean(given), cleaned, "{given}");
        }
    }

    #[test]
    fn links_lists_and_emphasis_stay() {
        let html = "<ul><li><strong>a</strong></li><li><em>b</em></li></ul>";
        assert!(matches!(sanitise(html), Sanitised::Same));
        assert!(
            clean("<a href=\"https://example.com/?a=1\" target=\"_blank\">x</a>")
                .contains("href=\"https://example.com/?a=1\"")
        );
        assert!(clean("<a href=\"tel:+123\">x</a>").contains("tel:+123"));
    }

    proptest::proptest! {
        #[test]
        fn s15_a_result_is_stable(html in "(<|>|a|b|svg|math|style|script|/| |\"|'|=|href|javascript:|onload|&|;|#10|mtext|table|p|title|!--|--|\\]\\]){0,30}") {
            let once = clean(&html);
            proptest::prop_assert_eq!(clean(&once), once.clone());
            let lower = once.to_lowercase();
            proptest::prop_assert!(!lower.contains("<script") && !lower.contains("<svg") && !lower.contains("<style"));
        }
    }
}
