//! Answers in parts. The parts of one answer come in order, over one line.

use bytes::{Bytes, BytesMut};

use super::{ANSWER_MAX, PAGE_MAX};

/// The parts of an answer, each with its number and their count; nothing if it is too large.
pub(crate) fn split(answer: Bytes) -> Option<Vec<Bytes>> {
    if answer.len() > ANSWER_MAX {
        return None;
    }
    if answer.len() <= PAGE_MAX {
        return Some(vec![answer]);
    }
    let starts = (0..answer.len()).step_by(PAGE_MAX);
    let part = |start: usize| answer.slice(start..answer.len().min(start + PAGE_MAX));
    Some(starts.map(part).collect())
}

/// Parts that have arrived.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    /// Of one term: another owner's answer is another one.
    term: u64,
    next: usize,
    so_far: BytesMut,
}

// === impl Parts ===

impl Parts {
    /// Adds the part `number` of `count`, from 0; the whole answer once it is there. A part that does
    /// not follow the one before makes all of them worthless.
    pub(crate) fn add(
        &mut self,
        term: u64,
        number: usize,
        count: usize,
        part: &[u8],
    ) -> Option<Bytes> {
        if number == 0 {
            *self = Self { term, ..Self::default() };
        }
        let fits = self.term == term
            && self.next == number
            && self.so_far.len() + part.len() <= ANSWER_MAX;
        if !fits {
            return None;
        }
        self.so_far.extend_from_slice(part);
        self.next += 1;
        (self.next == count).then(|| std::mem::take(&mut self.so_far).freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(len: usize) -> Bytes {
        (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect()
    }

    #[test]
    fn an_answer_is_put_together_as_it_was() {
        for len in [0, 1, PAGE_MAX, PAGE_MAX + 1, 3 * PAGE_MAX, ANSWER_MAX] {
            let answer = answer(len);
            let pages = split(answer.clone()).unwrap();
            assert!(pages.iter().all(|page| page.len() <= PAGE_MAX));
            let mut parts = Parts::default();
            let whole: Vec<_> = pages
                .iter()
                .enumerate()
                .filter_map(|(number, page)| parts.add(1, number, pages.len(), page))
                .collect();
            assert_eq!(whole, [answer], "{len}");
        }
        assert_eq!(split(answer(ANSWER_MAX + 1)), None);
    }

    #[test]
    fn parts_of_two_owners_make_no_answer() {
        let mut parts = Parts::default();
        assert_eq!(parts.add(1, 0, 2, b"a"), None);
        assert_eq!(parts.add(2, 1, 2, b"b"), None);
        assert_eq!(parts.add(2, 0, 2, b"c"), None);
        assert_eq!(parts.add(2, 1, 2, b"d"), Some(Bytes::from_static(b"cd")));
        // One is missing.
        assert_eq!(parts.add(3, 0, 3, b"e"), None);
        assert_eq!(parts.add(3, 2, 3, b"g"), None);
    }
}
