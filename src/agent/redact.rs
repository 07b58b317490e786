//! Replaces the values of secret variables in a stream, over the boundaries of its chunks.

use std::ffi::{OsStr, OsString};

use crate::text::{RedactedStream, Redaction, SHORTEST_SECRET};

/// Shorter values are as likely to be something else.
pub(super) const SHORTEST: usize = SHORTEST_SECRET;
/// Parts of the names of variables that hold secrets.
const TELLING: [&str; 6] = ["KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL"];

/// Returns whether a variable of this name holds a secret, going by what such names have in common.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_uppercase();
    TELLING.iter().any(|part| name.contains(part))
}

/// Replaces secrets in the bytes that are pushed through it.
#[derive(Debug)]
pub(super) struct Redactor(RedactedStream);

impl Redactor {
    /// Makes one for the secrets of `env`, the values of the variables whose names say so, and for those of
    /// `product`.
    pub(super) fn of(env: &[(OsString, OsString)], product: &Redaction) -> Self {
        let named = env.iter().filter(|(name, _)| is_secret(&name.to_string_lossy()));
        let values = named.map(|(_, value)| value.to_string_lossy().into_owned());
        Self(Redaction::new(values).with(product).stream())
    }

    /// Makes one for these secrets.
    pub(super) fn of_values(values: &[String]) -> Self {
        Self(Redaction::new(values.iter().cloned()).stream())
    }

    /// From now on keeps out these values too.
    pub(super) fn learn<'a>(&mut self, values: impl Iterator<Item = &'a OsStr>) {
        self.0.learn(values.map(|value| value.to_string_lossy().into_owned()));
    }

    /// Returns `bytes` without the secrets; nothing else is pushed meanwhile.
    pub(super) fn whole(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = self.push(bytes);
        out.extend(self.finish());
        out
    }

    /// Takes `bytes` and returns what may be written by now.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.0.push(bytes)
    }

    /// Returns what was still held.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        self.0.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(chunks: &[&[u8]]) -> String {
        let env = [
            ("API_KEY", "sk-abcdefgh"),
            ("auth_token", "sk-abcdefgh-long\"er"),
            ("MY_KEY", "short"),
            ("PLAIN", "not-a-secret"),
        ]
        .map(|(name, value)| (name.into(), value.into()));
        let mut redactor = Redactor::of(&env, &Redaction::default());
        let mut out: Vec<u8> = chunks.iter().flat_map(|chunk| redactor.push(chunk)).collect();
        out.extend(redactor.finish());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_secret_is_masked_and_what_is_none_is_kept() {
        let text = through(&[b"key sk-abcdefgh, short, not-a-secret"]);
        assert_eq!(text, "key [redacted], short, not-a-secret");
    }

    #[test]
    fn the_longer_of_two_secrets_goes_whole_and_as_json_too() {
        assert_eq!(through(&[b"sk-abcdefgh-long\"er"]), "[redacted]");
        assert_eq!(through(&[br#"{"a":"sk-abcdefgh-long\"er"}"#]), r#"{"a":"[redacted]"}"#);
    }

    #[test]
    fn a_secret_that_is_learned_on_the_way_is_masked_from_then_on() {
        let mut redactor = Redactor::of_values(&["12345678".to_owned()]);
        let mut out = redactor.push(b"12345678 abcdefgh ab");
        redactor.learn([OsStr::new("abcdefgh")].into_iter());
        out.extend(redactor.whole(b"abcdefgh"));
        assert_eq!(out, b"[redacted] abcdefgh ab[redacted]");
    }

    #[test]
    fn a_beginning_that_leads_nowhere_is_kept() {
        assert_eq!(through(&[b"sk-abc"]), "sk-abc");
        assert_eq!(through(&[b"sk-sk-abcdefgh"]), "sk-[redacted]");
    }

    proptest::proptest! {
        #[test]
        fn no_chunk_boundary_lets_a_secret_through(cut in 0..30usize, again in 0..30usize) {
            let text = b"before sk-abcdefgh after sk-abcdefgh";
            let (first, second) = (cut.min(again), cut.max(again));
            let out = through(&[&text[..first], &text[first..second], &text[second..]]);
            proptest::prop_assert_eq!(out, "before [redacted] after [redacted]");
        }
    }
}
