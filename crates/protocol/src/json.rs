//! JSON as this router needs it: a cheap guard, an order-keeping tree, a writer.
//!
//! Why not `serde_json::Value`: unknown parts of a body must come out as they came in, which means key
//! order and the digits of a number too, and a repeated key must mean what it means to a browser (the
//! last one counts). Knows nothing about Stentor.

mod parse;
mod shape;
mod tree;
mod write;

pub use self::parse::{RawFields, SyntaxError, parse, top_level_fields};
pub use self::shape::{DEPTH_MAX, FRAME_BYTES_MAX, ShapeError, check_shape, check_shape_within};
pub use self::tree::{Node, Object};
pub use self::write::push_string;
