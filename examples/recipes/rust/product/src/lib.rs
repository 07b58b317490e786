//! Titles as they stand in an address.

use any_ascii::any_ascii;

/// Returns `title` in ASCII, with hyphens between its words.
pub fn slug(title: &str) -> String {
    any_ascii(title).replace(' ', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_joined() {
        assert_eq!(slug("a b"), "a-b");
    }
}
