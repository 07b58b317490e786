//! What is said of a regular expression that a person wrote and that is none.

use super::one_line;

/// Returns why an expression can't be used, as a fragment on one line.
pub fn why_no_regex(error: &regex::Error) -> String {
    /// How many characters of it.
    const WIDTH: usize = 200;
    match error {
        regex::Error::CompiledTooBig(_) => "it is too large when compiled".to_owned(),
        // The last line says what is wrong, those before show where with a caret.
        error => {
            let shown = error.to_string();
            let last = shown.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("");
            one_line(last.strip_prefix("error: ").unwrap_or(last), WIDTH)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_told_without_the_picture() {
        let why = |pattern: &str| why_no_regex(&regex::Regex::new(pattern).unwrap_err());
        assert_eq!(why("(a"), "unclosed group");
        assert_eq!(why(r"\w{1000}{1000}"), "it is too large when compiled");
    }

    #[test]
    fn letters_of_every_script_and_general_categories_are_known() {
        let holds = |pattern: &str, text: &str| regex::Regex::new(pattern).unwrap().is_match(text);
        assert!(
            holds(r"^\w+\b", "Ωμέγα") && holds(r"(?i)^ΩΜΈΓΑ$", "ωμέγα") && holds(r"^\p{Lu}", "Ω")
        );
    }
}
