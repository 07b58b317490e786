# What was fetched is there, and builds.
cargo test --locked --quiet
cat > src/lib.rs <<'END'
//! Titles as they stand in an address.

use any_ascii::any_ascii;

/// Returns `title` in lower case and ASCII, with a hyphen between two words.
pub fn slug(title: &str) -> String {
    let title = any_ascii(title).to_lowercase();
    let words = title.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_joined() {
        assert_eq!(slug("a b"), "a-b");
    }

    #[test]
    fn what_is_no_letter_is_left_out() {
        assert_eq!(slug("Crème Brûlée, twice!"), "creme-brulee-twice");
    }
}
END
cargo test --locked --quiet
cargo clippy --locked --quiet -- -D warnings
