//! What a person probably meant.

/// Returns the candidate that `word` is most likely a slip of, whatever its case; none when
/// nothing is near. Among equally near ones the first.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let length = word.chars().count();
    let most = (length / 3).max(1);
    candidates
        .into_iter()
        // Most are too long or too short to be near.
        .filter(|candidate| candidate.chars().count().abs_diff(length) <= most)
        .map(|candidate| (strsim::osa_distance(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(word: &str, expected: Option<&str>) {
        assert_eq!(nearest(word, ["threshold", "stalled_after", "run"]), expected, "{word}");
    }

    #[test]
    fn a_slip_finds_its_word_and_a_stranger_finds_none() {
        check("threshhold", Some("threshold"));
        check("Treshold", Some("threshold"));
        check("rnu", Some("run"));
        check("colour", None);
        check("", None);
    }
}
