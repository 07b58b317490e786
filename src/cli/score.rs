//! The threshold that a person gives: its one parser for every command.

/// Returns the score that `text` is.
///
/// # Errors
/// It is no number above 0 and at most 1.
pub(super) fn parse_score(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(score) if score > 0.0 && score <= 1.0 => Ok(score),
        _ => Err(format!("`{text}` is no score; use one above 0 and at most 1, such as 0.8")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_is_above_0_and_at_most_1() {
        assert_eq!(["0.8", "1", "1e-9"].map(parse_score), [Ok(0.8), Ok(1.0), Ok(1e-9)]);
        for text in ["0", "-0.1", "1.01", "7", "80%", "NaN", "inf", ""] {
            let why = format!("`{text}` is no score; use one above 0 and at most 1, such as 0.8");
            assert_eq!(parse_score(text), Err(why));
        }
    }
}
