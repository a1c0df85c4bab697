//! Text to tree: strict JSON, bounded depth, and the two places where browsers are laxer than most parsers.
//!
//! A repeated key keeps its last value and half a surrogate pair becomes U+FFFD; both are reported as
//! `rewritten`, because then the original bytes must not be passed on as if they were understood.

use std::borrow::Cow;

use super::shape::DEPTH_MAX;
use super::tree::{Node, Object};

/// The text is not JSON from this byte on (or nests deeper than [`DEPTH_MAX`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not JSON at byte {at}")]
pub struct SyntaxError {
    pub at: usize,
}

/// Fields of an object: name, and value as written.
pub type RawFields<'a> = Vec<(Cow<'a, str>, &'a str)>;

/// Parses one JSON value and nothing after it. The flag is true when a repeated key or a broken surrogate
/// was read in a way that the text does not spell out.
pub fn parse(text: &str) -> Result<(Node<'_>, bool), SyntaxError> {
    let mut parser = Parser { text, at: 0, rewritten: false };
    let node = parser.value(0)?;
    parser.end()?;
    Ok((node, parser.rewritten))
}

/// Splits an object into its fields without looking into the values: `None` when the value is no object.
/// A repeated name appears repeatedly, in order.
pub fn top_level_fields(text: &str) -> Result<Option<RawFields<'_>>, SyntaxError> {
    let mut parser = Parser { text, at: 0, rewritten: false };
    parser.space();
    if parser.peek() != Some(b'{') {
        parser.value(0)?;
        parser.end()?;
        return Ok(None);
    }
    let mut fields = Vec::new();
    parser.fields(|parser, name| {
        parser.space();
        let start = parser.at;
        parser.value(1)?;
        let raw = parser.slice(start, parser.at)?;
        fields.push((name, raw));
        Ok(())
    })?;
    parser.end()?;
    Ok(Some(fields))
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    rewritten: bool,
}

// === impl Parser ===

impl<'a> Parser<'a> {
    fn value(&mut self, depth: usize) -> Result<Node<'a>, SyntaxError> {
        self.space();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Ok(Node::String(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Node::Bool(true)),
            Some(b'f') => self.word("false", Node::Bool(false)),
            Some(b'n') => self.word("null", Node::Null),
            _ => Err(self.error()),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Node<'a>, SyntaxError> {
        if depth >= DEPTH_MAX {
            return Err(self.error());
        }
        let mut object = Object::new();
        self.fields(|parser, name| {
            let value = parser.value(depth + 1)?;
            object.push(name, value);
            Ok(())
        })?;
        self.rewritten |= object.keep_last_of_repeated();
        Ok(Node::Object(object))
    }

    fn fields(
        &mut self,
        mut each: impl FnMut(&mut Self, Cow<'a, str>) -> Result<(), SyntaxError>,
    ) -> Result<(), SyntaxError> {
        self.expect(b'{')?;
        self.space();
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            self.space();
            let name = self.string()?;
            self.space();
            self.expect(b':')?;
            each(self, name)?;
            self.space();
            if self.take(b'}') {
                return Ok(());
            }
            self.expect(b',')?;
        }
    }

    fn array(&mut self, depth: usize) -> Result<Node<'a>, SyntaxError> {
        if depth >= DEPTH_MAX {
            return Err(self.error());
        }
        self.expect(b'[')?;
        let mut entries = Vec::new();
        self.space();
        if self.take(b']') {
            return Ok(Node::Array(entries));
        }
        loop {
            entries.push(self.value(depth + 1)?);
            self.space();
            if self.take(b']') {
                return Ok(Node::Array(entries));
            }
            self.expect(b',')?;
        }
    }

    fn number(&mut self) -> Result<Node<'a>, SyntaxError> {
        let start = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        let digits = self.slice(start, self.at)?;
        // Beyond the range of a double some readers say infinity and some refuse the whole body.
        match digits.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Node::Number(digits)),
            _ => Err(SyntaxError { at: start }),
        }
    }

    fn digits(&mut self) -> Result<(), SyntaxError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(self.error()) } else { Ok(()) }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, SyntaxError> {
        self.expect(b'"')?;
        let mut owned: Option<String> = None;
        loop {
            let start = self.at;
            while !matches!(self.peek(), None | Some(b'"' | b'\\' | 0..=0x1f)) {
                self.at += 1;
            }
            let plain = self.slice(start, self.at)?;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(match owned {
                        Some(text) => Cow::Owned(text + plain),
                        None => Cow::Borrowed(plain),
                    });
                }
                Some(b'\\') => {
                    self.at += 1;
                    let text = owned.get_or_insert_default();
                    text.push_str(plain);
                    let escaped = self.escape()?;
                    owned.get_or_insert_default().push(escaped);
                }
                _ => return Err(self.error()),
            }
        }
    }

    fn escape(&mut self) -> Result<char, SyntaxError> {
        let kind = self.peek().ok_or(self.error())?;
        self.at += 1;
        Ok(match kind {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => self.code_point()?,
            _ => return Err(SyntaxError { at: self.at - 1 }),
        })
    }

    fn code_point(&mut self) -> Result<char, SyntaxError> {
        let high = self.hex4()?;
        if (0xd800..0xdc00).contains(&high) && self.text.get(self.at..self.at + 2) == Some("\\u") {
            let before_low = self.at;
            self.at += 2;
            let low = self.hex4()?;
            if (0xdc00..0xe000).contains(&low) {
                let joined = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(joined).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = before_low;
        }
        Ok(char::from_u32(high).unwrap_or_else(|| {
            self.rewritten = true;
            char::REPLACEMENT_CHARACTER
        }))
    }

    fn hex4(&mut self) -> Result<u32, SyntaxError> {
        let digits = self.slice(self.at, self.at + 4)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(self.error());
        }
        let value = u32::from_str_radix(digits, 16).map_err(|_| self.error())?;
        self.at += 4;
        Ok(value)
    }

    fn word(&mut self, word: &str, node: Node<'a>) -> Result<Node<'a>, SyntaxError> {
        if self.text.get(self.at..self.at + word.len()) != Some(word) {
            return Err(self.error());
        }
        self.at += word.len();
        Ok(node)
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn end(&mut self) -> Result<(), SyntaxError> {
        self.space();
        if self.at == self.text.len() { Ok(()) } else { Err(self.error()) }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn expect(&mut self, byte: u8) -> Result<(), SyntaxError> {
        if self.take(byte) { Ok(()) } else { Err(self.error()) }
    }

    fn slice(&self, start: usize, end: usize) -> Result<&'a str, SyntaxError> {
        self.text.get(start..end).ok_or(SyntaxError { at: start })
    }

    fn error(&self) -> SyntaxError {
        SyntaxError { at: self.at }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rewrite(text: &str) -> (String, bool) {
        let (node, rewritten) = parse(text).unwrap();
        let mut out = Vec::new();
        node.write(&mut out);
        (String::from_utf8(out).unwrap(), rewritten)
    }

    #[test]
    fn i19_order_and_digits_survive() {
        let text = r#"{"z":1.0,"a":12345678901234567890123,"m":1e2,"s":"\u00e9\n"}"#;
        assert_eq!(
            rewrite(text),
            (r#"{"z":1.0,"a":12345678901234567890123,"m":1e2,"s":"é\n"}"#.into(), false)
        );
    }

    #[test]
    fn the_last_of_a_repeated_key_counts_as_in_browsers() {
        assert_eq!(rewrite(r#"{"a":1,"b":2,"a":{}}"#), (r#"{"a":{},"b":2}"#.into(), true));
    }

    #[test]
    fn half_a_surrogate_pair_is_replaced() {
        assert_eq!(rewrite(r#""\ud83d\ude00""#), ("\"😀\"".into(), false));
        assert_eq!(rewrite(r#""\ud83d-\ud83d\u0041""#), ("\"\u{fffd}-\u{fffd}A\"".into(), true));
    }

    proptest! {
        #[test]
        fn accepts_what_serde_json_accepts(text in "[\\[\\]{}:,\"\\\\ a-u0-9.eE+-]{0,24}") {
            let ours = parse(&text).is_ok_and(|(_, rewritten)| !rewritten);
            let theirs = serde_json::from_str::<serde_json::Value>(&text).is_ok();
            // A repeated key is fine for serde_json too; surrogates are not.
            prop_assert_eq!(parse(&text).is_ok() && (ours || theirs), theirs);
        }

        #[test]
        fn never_panics(text in ".*") {
            let _ = parse(&text);
            let _ = top_level_fields(&text);
        }

        #[test]
        fn any_string_comes_back(text in ".*") {
            let mut out = Vec::new();
            super::super::push_string(&mut out, &text);
            let back: String = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(&back, &text);
            let out = String::from_utf8(out).unwrap();
            prop_assert_eq!(parse(&out).unwrap().0, Node::from(text));
        }
    }
}
