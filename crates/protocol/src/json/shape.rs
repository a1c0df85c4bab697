//! The first look at bytes from outside: size, UTF-8 and depth, before anything is built from them.
//!
//! Says nothing about syntax; that is the parser's business.

/// Largest frame a client may send, in bytes. A typed message is below 1 KiB; bots (express) refuse
/// bodies above 100 kB, so anything near that would only be turned down later.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;

/// Deepest nesting of arrays and objects. The deepest legitimate body (a list item's button inside a
/// Response inside an envelope) is at 7.
pub const DEPTH_MAX: usize = 32;

/// Why bytes were not looked at any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// More bytes than the limit.
    #[error("body of {size_bytes} bytes exceeds the limit of {max_bytes} bytes")]
    TooLarge { size_bytes: usize, max_bytes: usize },
    /// Arrays and objects nested deeper than the limit.
    #[error("nesting exceeds the limit of {max_depth} levels")]
    TooDeep { max_depth: usize },
    /// Not UTF-8 from this byte on.
    #[error("byte {at} is not valid UTF-8")]
    NotUtf8 { at: usize },
}

/// Checks a client frame: at most [`FRAME_BYTES_MAX`] bytes, UTF-8, at most [`DEPTH_MAX`] levels.
pub fn check_shape(bytes: &[u8]) -> Result<(), ShapeError> {
    check_shape_within(bytes, FRAME_BYTES_MAX).map(|_| ())
}

/// Like [`check_shape`] with another size limit; gives the text back, so that it is validated once.
pub fn check_shape_within(bytes: &[u8], max_bytes: usize) -> Result<&str, ShapeError> {
    if bytes.len() > max_bytes {
        return Err(ShapeError::TooLarge { size_bytes: bytes.len(), max_bytes });
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| ShapeError::NotUtf8 { at: error.valid_up_to() })?;
    check_depth(bytes)?;
    Ok(text)
}

/// One pass, no allocation: brackets inside strings do not count.
fn check_depth(bytes: &[u8]) -> Result<(), ShapeError> {
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    for byte in bytes {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return Err(ShapeError::TooDeep { max_depth: DEPTH_MAX });
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(depth: usize) -> Vec<u8> {
        let mut bytes = vec![b'['; depth];
        bytes.extend(vec![b']'; depth]);
        bytes
    }

    #[test]
    fn s10_depth_over_32_is_refused() {
        assert_eq!(check_shape(&nested(DEPTH_MAX)), Ok(()));
        assert_eq!(check_shape(&nested(DEPTH_MAX + 1)), Err(ShapeError::TooDeep { max_depth: 32 }));
        assert!(check_shape(&vec![b'{'; 60_000]).is_err());
    }

    #[test]
    fn s10_size_over_64_kib_is_refused() {
        assert_eq!(check_shape(&vec![b' '; FRAME_BYTES_MAX]), Ok(()));
        assert_eq!(
            check_shape(&vec![b' '; FRAME_BYTES_MAX + 1]),
            Err(ShapeError::TooLarge { size_bytes: 65_537, max_bytes: 65_536 })
        );
    }

    #[test]
    fn brackets_in_strings_do_not_count_even_after_escapes() {
        let text = format!(r#"["\\\"{}"]"#, "[".repeat(100));
        assert_eq!(check_shape(text.as_bytes()), Ok(()));
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused_with_their_place() {
        assert_eq!(check_shape(b"\"ab\xff\""), Err(ShapeError::NotUtf8 { at: 3 }));
    }
}
