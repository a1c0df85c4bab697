//! The account of what was repaired.

/// Most lines of the account; field patterns come from our code, so there are about fifty in all.
const REMOVED_MAX: usize = 64;

/// One kind of repair in one answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// Field pattern such as `displays[].items[].title`: built from our own words, safe as a label.
    pub field: String,
    pub why: Why,
    /// How often in this answer.
    pub count: u32,
}

/// Why a part was removed or changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Why {
    /// A type that crashes the widget or makes it throw.
    WrongType,
    /// A null where the widget reads a field.
    Null,
    /// A number where only text is safe; its digits stay as text.
    NumberAsText,
    /// The field is missing and the widget cannot do without it; an empty one was put there.
    Missing,
    /// A value that the widget throws on.
    Unsupported,
    /// An address with a scheme that must not be followed from a page.
    UnsafeUrl,
    /// Markup outside what is allowed (or only written differently).
    UnsafeHtml,
    /// Longer than can be looked at.
    TooLong,
}

/// Collects repairs; remembers whether the bytes must be written anew.
#[derive(Debug)]
pub(super) struct Repairs {
    changed: bool,
    removed: Vec<Removed>,
}

// === impl Why ===

impl Why {
    /// Label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WrongType => "wrong_type",
            Self::Null => "null",
            Self::NumberAsText => "number_as_text",
            Self::Missing => "missing",
            Self::Unsupported => "unsupported",
            Self::UnsafeUrl => "unsafe_url",
            Self::UnsafeHtml => "unsafe_html",
            Self::TooLong => "too_long",
        }
    }
}

// === impl Repairs ===

impl Repairs {
    pub(super) fn new(changed: bool) -> Self {
        Self { changed, removed: Vec::new() }
    }

    pub(super) fn note(&mut self, field: &str, why: Why) {
        self.changed = true;
        let is_full = self.removed.len() >= REMOVED_MAX;
        match self.removed.iter_mut().find(|known| known.field == field && known.why == why) {
            Some(known) => known.count = known.count.saturating_add(1),
            None if is_full => {}
            None => self.removed.push(Removed { field: field.to_owned(), why, count: 1 }),
        }
    }

    /// Something was added that takes nothing away.
    pub(super) fn note_added(&mut self) {
        self.changed = true;
    }

    pub(super) fn finish(self) -> (bool, Vec<Removed>) {
        (self.changed, self.removed)
    }
}
