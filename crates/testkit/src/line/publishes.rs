//! What a client of NATS publishes, and how some of it is taken out of what it sends.

/// Longest line of the protocol that is looked at.
const LINE_MAX: usize = 64 * 1024;

/// Where in the client's bytes we are.
#[derive(Debug, Default)]
pub(super) struct Publishes {
    /// The beginning of a line whose end has not come yet.
    line: Vec<u8>,
    /// Bytes of a payload, and its end of line, that are still to come.
    payload: usize,
    /// Whether that payload vanishes.
    vanishes: bool,
}

// === impl Publishes ===

impl Publishes {
    /// The bytes without publishes to subjects that begin with one of these, and how many they were. The
    /// beginning of a line is kept back until its end comes.
    pub(super) fn without(&mut self, bytes: Vec<u8>, beginnings: &[String]) -> (Vec<u8>, u64) {
        let (mut left, mut vanished) = (Vec::with_capacity(bytes.len()), 0);
        let mut bytes = bytes.as_slice();
        while !bytes.is_empty() {
            if self.payload > 0 {
                let (these, rest) = bytes.split_at(self.payload.min(bytes.len()));
                self.payload -= these.len();
                bytes = rest;
                if !self.vanishes {
                    left.extend_from_slice(these);
                }
                continue;
            }
            let end = bytes.iter().position(|byte| *byte == b'\n').map(|end| end + 1);
            let (these, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            bytes = rest;
            self.line.extend_from_slice(these);
            if end.is_none() && self.line.len() < LINE_MAX {
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let published = published(&line);
            self.payload = published.map_or(0, |(_, length)| length + 2);
            self.vanishes = published.is_some_and(|(subject, _)| {
                beginnings.iter().any(|beginning| subject.starts_with(beginning.as_str()))
            });
            if self.vanishes {
                vanished += 1;
            } else {
                left.extend_from_slice(&line);
            }
        }
        (left, vanished)
    }
}

/// The subject and the length of the payload, if the line begins a publish.
fn published(line: &[u8]) -> Option<(&str, usize)> {
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split_whitespace();
    let is_publish = matches!(words.next()?, "PUB" | "HPUB");
    let subject = words.next().filter(|_| is_publish)?;
    Some((subject, words.next_back()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::Publishes;

    const SENT: &[u8] = b"CONNECT {}\r\nPUB log.0 re.1 5\r\nPUB x\r\nHPUB gw.a 12 14\r\nNATS/1.0\r\n\r\nhi\r\nPUB gw.b 2\r\n\r\n\r\nPING\r\n";

    #[test]
    fn only_what_was_named_vanishes_however_the_bytes_are_cut() {
        for at in 0..SENT.len() {
            let (first, second) = SENT.split_at(at);
            let mut publishes = Publishes::default();
            let beginnings = ["gw.".to_owned()];
            let (mut left, mut vanished) = publishes.without(first.to_vec(), &beginnings);
            let more = publishes.without(second.to_vec(), &beginnings);
            left.extend(more.0);
            vanished += more.1;
            let wanted = "CONNECT {}\r\nPUB log.0 re.1 5\r\nPUB x\r\nPING\r\n";
            assert_eq!((String::from_utf8_lossy(&left).as_ref(), vanished), (wanted, 2), "{at}");
        }
    }

    #[test]
    fn everything_passes_if_nothing_is_named() {
        let (left, vanished) = Publishes::default().without(SENT.to_vec(), &[]);
        assert_eq!((left.as_slice(), vanished), (SENT, 0));
    }
}
