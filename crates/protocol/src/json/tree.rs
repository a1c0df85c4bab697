//! A JSON value that borrows from its text and keeps what it does not understand.

use std::borrow::Cow;

/// A JSON value. Numbers keep their digits, objects their order.
#[derive(Clone, Debug, PartialEq)]
pub enum Node<'a> {
    Null,
    Bool(bool),
    /// The number as written.
    Number(&'a str),
    String(Cow<'a, str>),
    Array(Vec<Node<'a>>),
    Object(Object<'a>),
}

/// Fields of an object in the order of their first appearance; names are unique.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object<'a> {
    fields: Vec<(Cow<'a, str>, Node<'a>)>,
}

// === impl Node ===

impl<'a> Node<'a> {
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Node::String(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Node::Bool(value) => Some(*value),
            _ => None,
        }
    }

    pub fn as_object(&self) -> Option<&Object<'a>> {
        match self {
            Node::Object(object) => Some(object),
            _ => None,
        }
    }

    pub fn as_array(&self) -> Option<&[Node<'a>]> {
        match self {
            Node::Array(entries) => Some(entries),
            _ => None,
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Node::Null)
    }

    /// Text of a string or of a number; people read both alike.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Node::String(text) => Some(text),
            Node::Number(digits) => Some(digits),
            _ => None,
        }
    }
}

impl<'a> From<&'a str> for Node<'a> {
    fn from(text: &'a str) -> Self {
        Node::String(Cow::Borrowed(text))
    }
}

impl From<String> for Node<'_> {
    fn from(text: String) -> Self {
        Node::String(Cow::Owned(text))
    }
}

impl From<bool> for Node<'_> {
    fn from(value: bool) -> Self {
        Node::Bool(value)
    }
}

// === impl Object ===

impl<'a> Object<'a> {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    pub fn get(&self, name: &str) -> Option<&Node<'a>> {
        self.fields.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    pub fn get_mut(&mut self, name: &str) -> Option<&mut Node<'a>> {
        self.fields.iter_mut().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The string behind `name`, if it is one.
    pub fn str(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Node::as_str)
    }

    /// Sets a field: in its old place when it exists, at the end when not. Says whether it existed.
    pub fn set(&mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Node<'a>>) -> bool {
        let (name, value) = (name.into(), value.into());
        match self.get_mut(&name) {
            Some(old) => {
                *old = value;
                true
            }
            None => {
                self.fields.push((name, value));
                false
            }
        }
    }

    /// Appends a field that is known to be new: the parser checks once at the end of an object, not at every field.
    pub(super) fn push(&mut self, name: Cow<'a, str>, value: Node<'a>) {
        self.fields.push((name, value));
    }

    /// Keeps the last value of every repeated name, in the place of the first. Says whether any was repeated.
    pub(super) fn keep_last_of_repeated(&mut self) -> bool {
        let mut sorted: Vec<&str> = self.fields.iter().map(|(name, _)| name.as_ref()).collect();
        sorted.sort_unstable();
        if sorted.windows(2).all(|pair| pair.first() != pair.last()) {
            return false;
        }
        let mut places = std::collections::BTreeMap::<Cow<'a, str>, usize>::new();
        let mut kept: Vec<(Cow<'a, str>, Node<'a>)> = Vec::with_capacity(self.fields.len());
        for (name, value) in std::mem::take(&mut self.fields) {
            match places.get(&name).and_then(|place| kept.get_mut(*place)) {
                Some(old) => old.1 = value,
                None => {
                    places.insert(name.clone(), kept.len());
                    kept.push((name, value));
                }
            }
        }
        self.fields = kept;
        true
    }

    pub fn remove(&mut self, name: &str) -> Option<Node<'a>> {
        let place = self.fields.iter().position(|(key, _)| key == name)?;
        Some(self.fields.remove(place).1)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Node<'a>)> {
        self.fields.iter().map(|(name, value)| (name.as_ref(), value))
    }

    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Node<'a>> {
        self.fields.iter_mut().map(|(_, value)| value)
    }

    /// Drops every field for which `keep` says no; `keep` may change the value.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &mut Node<'a>) -> bool) {
        self.fields.retain_mut(|(name, value)| keep(name, value));
    }
}

impl<'a> From<Object<'a>> for Node<'a> {
    fn from(object: Object<'a>) -> Self {
        Node::Object(object)
    }
}
