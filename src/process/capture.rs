//! What is kept of a stream: its head, its tail, and how much there was.

use super::Keep;

/// One of a child's output streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What was kept of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captured {
    /// The first bytes.
    pub head: Vec<u8>,
    /// The last bytes, of what the head does not hold.
    pub tail: Vec<u8>,
    /// How many bytes there were in all.
    pub total: u64,
}

impl Captured {
    /// Returns the head and then the tail.
    pub fn bytes(&self) -> Vec<u8> {
        [self.head.as_slice(), self.tail.as_slice()].concat()
    }

    /// Returns whether something was left out between head and tail.
    pub fn is_cut(&self) -> bool {
        self.left_out() > 0
    }

    /// Returns the bytes decoded leniently; where something was left out, a line in its place says
    /// how much.
    pub fn text(&self) -> String {
        let left_out = self.left_out();
        if left_out == 0 {
            return String::from_utf8_lossy(&self.bytes()).into_owned();
        }
        let head = whole_at_the_end(&self.head);
        let mut text = String::from_utf8_lossy(head).into_owned();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&format!("[... {left_out} bytes left out ...]\n"));
        text.push_str(&self.tail_text());
        text
    }

    /// Returns the tail decoded leniently, without a word on what was left out.
    pub fn tail_text(&self) -> String {
        let tail =
            if self.is_cut() { whole_at_the_beginning(&self.tail) } else { self.tail.as_slice() };
        String::from_utf8_lossy(tail).into_owned()
    }

    fn left_out(&self) -> u64 {
        self.total.saturating_sub((self.head.len() + self.tail.len()) as u64)
    }
}

/// Collects a stream within the bounds of a [`Keep`].
#[derive(Debug)]
pub(super) struct Buffer {
    keep: Keep,
    captured: Captured,
}

impl Buffer {
    pub(super) fn new(keep: Keep) -> Self {
        Self { keep, captured: Captured::default() }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let Captured { head, tail, total } = &mut self.captured;
        *total += bytes.len() as u64;
        let room = self.keep.head.saturating_sub(head.len()).min(bytes.len());
        head.extend_from_slice(&bytes[..room]);
        let rest = &bytes[room..];
        let rest = &rest[rest.len().saturating_sub(self.keep.tail)..];
        tail.extend_from_slice(rest);
        // Cut at twice the bound and not at each push: a byte is moved once, not for each chunk.
        if tail.len() > self.keep.tail.saturating_mul(2) {
            tail.drain(..tail.len() - self.keep.tail);
        }
    }

    pub(super) fn finish(mut self) -> Captured {
        let tail = &mut self.captured.tail;
        tail.drain(..tail.len().saturating_sub(self.keep.tail));
        self.captured
    }
}

/// Returns `bytes` without a character whose end was cut off.
fn whole_at_the_end(bytes: &[u8]) -> &[u8] {
    match std::str::from_utf8(&bytes[bytes.len().saturating_sub(4)..]) {
        Err(error) if error.error_len().is_none() => {
            let unfinished = bytes.len().min(4) - error.valid_up_to();
            &bytes[..bytes.len() - unfinished]
        }
        _ => bytes,
    }
}

/// Returns `bytes` without the rest of a character whose beginning was cut off.
fn whole_at_the_beginning(bytes: &[u8]) -> &[u8] {
    let rest = bytes.iter().take(3).take_while(|byte| (0x80..0xc0).contains(*byte)).count();
    &bytes[rest..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(keep: Keep, chunks: &[&str], text: &str) {
        let mut buffer = Buffer::new(keep);
        chunks.iter().for_each(|chunk| buffer.push(chunk.as_bytes()));
        let captured = buffer.finish();
        assert_eq!(captured.text(), text);
        assert_eq!(captured.total as usize, chunks.concat().len());
    }

    #[test]
    fn what_fits_is_kept_whole() {
        check(Keep::ALL, &["abc", "def"], "abcdef");
        check(Keep { head: 2, tail: 4 }, &["abc", "def"], "abcdef");
        check(Keep { head: 0, tail: 6 }, &["abc", "def"], "abcdef");
    }

    #[test]
    fn the_middle_is_left_out_and_counted() {
        check(Keep { head: 1, tail: 2 }, &["abc", "def"], "a\n[... 3 bytes left out ...]\nef");
        check(Keep { head: 0, tail: 2 }, &["abcdef"], "[... 4 bytes left out ...]\nef");
        check(Keep { head: 0, tail: 0 }, &["abcdef"], "[... 6 bytes left out ...]\n");
    }

    #[test]
    fn no_character_is_cut_in_two() {
        check(Keep { head: 3, tail: 3 }, &["äöüäöü"], "ä\n[... 6 bytes left out ...]\nü");
    }

    #[test]
    fn many_small_chunks_leave_the_last_bytes() {
        let chunks = vec!["0123456789"; 1_000];
        let mut buffer = Buffer::new(Keep { head: 0, tail: 15 });
        chunks.iter().for_each(|chunk| buffer.push(chunk.as_bytes()));
        assert!(buffer.captured.tail.len() <= 30);
        assert_eq!(buffer.finish().tail_text(), "567890123456789");
    }
}
