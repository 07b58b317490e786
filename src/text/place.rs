//! Where something stands in a text: lines and columns as editors count them.

use std::ops::Range;

/// Returns the line and the column of the byte `offset` in `source`, both from 1, the column in
/// characters. A byte order mark takes no column; an offset past the end is the end.
pub fn line_column(source: &str, offset: usize) -> (usize, usize) {
    let before = &source[..boundary_at(source, offset)];
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let column = before[start..].chars().filter(|c| *c != '\u{feff}').count() + 1;
    (line, column)
}

/// Where the lines of a text begin, for asking often.
#[derive(Debug, Clone)]
pub struct Lines<'a> {
    source: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    /// Finds the lines of `source`.
    pub fn of(source: &'a str) -> Self {
        let starts = source.match_indices('\n').map(|(at, _)| at + 1);
        Self { source, starts: std::iter::once(0).chain(starts).collect() }
    }

    /// Returns what [`line_column`] does.
    pub fn line_column(&self, offset: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts[line - 1];
        let (_, column) = line_column(&self.source[start..], offset - start);
        (line, column)
    }
}

/// Returns the last byte at or before `offset` at which `source` can be cut.
pub(super) fn boundary_at(source: &str, offset: usize) -> usize {
    let offset = offset.min(source.len());
    (0..=offset).rfind(|at| source.is_char_boundary(*at)).unwrap_or(0)
}

/// Returns the bytes of the line `line`, from 1, without the white space around it; the end of
/// `source` when it has fewer lines.
pub fn line_span(source: &str, line: usize) -> Range<usize> {
    let mut start = 0;
    for (number, text) in (1..).zip(source.split_inclusive('\n')) {
        if number == line {
            let lead = text.len() - text.trim_start().len();
            return if lead == text.len() {
                start..start
            } else {
                start + lead..start + text.trim_end().len()
            };
        }
        start += text.len();
    }
    source.len()..source.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_no_byte_order_mark() {
        let source = "\u{feff}äb\r\nc";
        assert_eq!(line_column(source, 3), (1, 1));
        assert_eq!(line_column(source, 5), (1, 2));
        assert_eq!(line_column(source, 8), (2, 1));
        assert_eq!(line_column(source, 99), (2, 2));
    }

    #[test]
    fn an_index_of_lines_says_the_same() {
        let source = "\u{feff}äb\r\nc\n\nd";
        for offset in 0..source.len() + 2 {
            assert_eq!(Lines::of(source).line_column(offset), line_column(source, offset));
        }
    }

    #[test]
    fn a_lines_span_leaves_out_its_margins() {
        let source = "a\n  bc \r\n \n";
        assert_eq!(&source[line_span(source, 2)], "bc");
        assert!(line_span(source, 3).is_empty());
        assert_eq!(line_span(source, 9), source.len()..source.len());
    }
}
