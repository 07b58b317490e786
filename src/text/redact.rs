//! Takes secrets out of text before it is written.

/// The values that may not be written anywhere.
#[derive(Clone, Default)]
pub struct Redaction(Vec<String>);

impl std::fmt::Debug for Redaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Redaction({} values)", self.0.len())
    }
}

/// What stands where a secret stood.
const PLACEHOLDER: &str = "[redacted]";

/// Shorter values are no secrets, and would take ordinary words out of the text.
const SHORTEST: usize = 8;

impl Redaction {
    /// Takes the values to keep out; those shorter than 8 bytes are passed over.
    pub fn new(values: impl IntoIterator<Item = String>) -> Self {
        let mut values: Vec<String> =
            values.into_iter().filter(|value| value.len() >= SHORTEST).collect();
        // The longest first: one secret may begin another.
        values.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        values.dedup();
        Self(values)
    }

    /// Keeps out these values too.
    pub fn learn(&mut self, more: impl IntoIterator<Item = String>) {
        *self = Self::new(std::mem::take(&mut self.0).into_iter().chain(more));
    }

    /// Returns `bytes` with every value replaced by `[redacted]`; the same bytes where none is in.
    pub fn apply(&self, bytes: Vec<u8>) -> Vec<u8> {
        self.0.iter().fold(bytes, |bytes, value| replace(bytes, value.as_bytes()))
    }
}

fn replace(bytes: Vec<u8>, value: &[u8]) -> Vec<u8> {
    let find = |from: usize| {
        bytes[from..].windows(value.len()).position(|window| window == value).map(|at| from + at)
    };
    let Some(mut at) = find(0) else { return bytes };
    let mut out = Vec::with_capacity(bytes.len());
    let mut from = 0;
    loop {
        out.extend_from_slice(&bytes[from..at]);
        out.extend_from_slice(PLACEHOLDER.as_bytes());
        from = at + value.len();
        match find(from) {
            Some(next) => at = next,
            None => break,
        }
    }
    out.extend_from_slice(&bytes[from..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: &[&str], text: &str, expected: &str) {
        let redaction = Redaction::new(values.iter().map(|v| (*v).to_owned()));
        assert_eq!(String::from_utf8(redaction.apply(text.into())).unwrap(), expected);
    }

    #[test]
    fn every_place_of_a_secret_is_replaced() {
        check(&["sk-ant-123456"], "a sk-ant-123456 b sk-ant-123456", "a [redacted] b [redacted]");
        check(&["sk-ant-123456"], "nothing here", "nothing here");
    }

    #[test]
    fn a_secret_that_begins_another_leaves_no_rest() {
        check(&["12345678", "12345678abcd"], "12345678abcd", "[redacted]");
    }

    #[test]
    fn a_short_value_is_no_secret() {
        check(&["a", "true"], "a is true", "a is true");
    }
}
