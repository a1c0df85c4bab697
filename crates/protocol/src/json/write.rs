//! Writes JSON without spaces; the same tree always gives the same bytes.

use super::tree::{Node, Object};

impl Node<'_> {
    /// Appends this value as JSON.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Node::Null => out.extend_from_slice(b"null"),
            Node::Bool(true) => out.extend_from_slice(b"true"),
            Node::Bool(false) => out.extend_from_slice(b"false"),
            Node::Number(digits) => out.extend_from_slice(digits.as_bytes()),
            Node::String(text) => push_string(out, text),
            Node::Array(entries) => {
                out.push(b'[');
                for (place, entry) in entries.iter().enumerate() {
                    if place > 0 {
                        out.push(b',');
                    }
                    entry.write(out);
                }
                out.push(b']');
            }
            Node::Object(object) => object.write(out),
        }
    }
}

impl Object<'_> {
    /// Appends this object as JSON.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        for (place, (name, value)) in self.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            push_string(out, name);
            out.push(b':');
            value.write(out);
        }
        out.push(b'}');
    }

    pub fn to_bytes(&self) -> bytes::Bytes {
        let mut out = Vec::with_capacity(256);
        self.write(&mut out);
        out.into()
    }
}

/// Appends `text` as a JSON string, quotes included.
pub fn push_string(out: &mut Vec<u8>, text: &str) {
    const HEX: [u8; 16] = *b"0123456789abcdef";
    out.push(b'"');
    let mut clean = text.as_bytes();
    while let Some(place) = clean.iter().position(|byte| needs_escape(*byte)) {
        let (before, rest) = clean.split_at(place);
        out.extend_from_slice(before);
        let Some((special, after)) = rest.split_first() else { break };
        match special {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control => {
                out.extend_from_slice(b"\\u00");
                for nibble in [control >> 4, control & 0xf] {
                    out.extend(HEX.get(usize::from(nibble)));
                }
            }
        }
        clean = after;
    }
    out.extend_from_slice(clean);
    out.push(b'"');
}

fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}
