//! Cuts text to a bound and says so; makes what a program printed safe to show.

/// Returns the last `limit` characters of `text`, and how many characters were left out before
/// them.
pub fn tail(text: &str, limit: usize) -> (&str, usize) {
    let count = text.chars().count();
    if count <= limit {
        return (text, 0);
    }
    let start = text.char_indices().nth(count - limit).map_or(text.len(), |(at, _)| at);
    (&text[start..], count - limit)
}

/// Returns the first `limit` characters of `text`.
pub fn head(text: &str, limit: usize) -> &str {
    text.char_indices().nth(limit).map_or(text, |(at, _)| &text[..at])
}

/// Returns the first line of `text` that holds more than white space, trimmed; empty when none
/// does.
pub fn first_line(text: &str) -> &str {
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("")
}

/// Returns the words of `text` with one blank between two.
pub fn single_spaced(text: &str) -> String {
    let mut spaced = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !spaced.is_empty() {
            spaced.push(' ');
        }
        spaced.push_str(word);
    }
    spaced
}

/// Returns `text` as one line of at most `limit` characters, white space runs made one blank, `…`
/// where it was cut.
pub fn one_line(text: &str, limit: usize) -> String {
    let joined = visible(&single_spaced(text));
    if joined.chars().count() <= limit {
        return joined;
    }
    let mut cut: String = joined.chars().take(limit.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// Returns `text` without what could command a terminal: control characters other than line feed
/// and tab become `\u{..}` escapes.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let bidi = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if (c.is_control() && !matches!(c, '\n' | '\t')) || bidi {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Returns the first `most` of `items`, each as one line, and how many more there are:
/// `a, b and 3 more`.
pub fn listed<T: AsRef<str>>(items: &[T], most: usize) -> String {
    /// How many characters of an item.
    const WIDTH: usize = 200;
    let shown: Vec<String> =
        items.iter().take(most).map(|item| one_line(item.as_ref(), WIDTH)).collect();
    match items.len().saturating_sub(most) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Returns `count` with `noun`, in the plural unless the count is one: `1 scenario`, `3 scenarios`.
pub fn plural(count: usize, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        _ if noun.ends_with('s') => format!("{count} {noun}es"),
        _ => format!("{count} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_counts_characters_not_bytes() {
        assert_eq!(tail("äöü", 2), ("öü", 1));
        assert_eq!(tail("abc", 3), ("abc", 0));
    }

    #[test]
    fn an_escape_sequence_cannot_reach_the_terminal() {
        assert_eq!(visible("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\n");
    }

    #[test]
    fn a_long_line_ends_in_an_ellipsis() {
        assert_eq!(one_line("one  two\nthree", 8), "one two…");
    }
}
