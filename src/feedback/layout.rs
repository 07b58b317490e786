//! Shares the room of a section among what it has to show, and says what was cut.

use super::markdown::{fence, list};
use crate::text::{plural, tail};

/// What fences and a label take beside the text itself, in bytes.
const FRAME: usize = 90;
/// The room below which a text is not worth showing, in bytes.
const LEAST: usize = 400;
/// The room for the names of what is not shown, in bytes.
const NAMES: usize = 4_000;

/// One failed gate or scenario.
#[derive(Debug, Clone)]
pub(super) struct Block {
    /// Its name, fit for markdown.
    pub(super) name: String,
    /// Its heading and facts, ended by a line feed.
    pub(super) head: String,
    /// What it wrote.
    pub(super) bodies: Vec<Body>,
}

/// A text that may be cut.
#[derive(Debug, Clone)]
pub(super) struct Body {
    /// What it is: `stderr`.
    pub(super) label: &'static str,
    /// The language of its fence.
    pub(super) info: &'static str,
    /// The text, cleaned.
    pub(super) text: String,
    /// How many bytes there were before anything was cut.
    pub(super) bytes: u64,
    /// Whether something is missing already.
    pub(super) is_cut: bool,
    /// Whether its beginning is kept beside its end.
    pub(super) keep_head: bool,
}

/// Room for a section.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// For all of it, in bytes; a little more is used where that shows at least one block.
    pub(super) bytes: usize,
    /// For each text, in characters.
    pub(super) each: usize,
}

/// Returns the blocks as markdown, as many as fit in order, and appends to `cut` what is missing.
pub(super) fn lay_out(blocks: &[Block], room: Room, cut: &mut Vec<String>) -> String {
    let shown = how_many(blocks, room.bytes);
    let left = if shown < blocks.len() { room.bytes.saturating_sub(NAMES) } else { room.bytes };
    let limit = share(&blocks[..shown], left);
    let mut out = String::new();
    for block in &blocks[..shown] {
        out.push_str(&block.head);
        for body in &block.bodies {
            out.push('\n');
            out.push_str(&render(block, body, room.each, limit, cut));
        }
        out.push('\n');
    }
    let rest: Vec<_> = blocks[shown..].iter().map(|block| block.name.clone()).collect();
    if !rest.is_empty() {
        let count = plural(rest.len(), "more");
        let count = count.trim_end_matches('s');
        out.push_str(&format!(
            "And {count}, left out to keep this file short: {}.\n\n",
            list(&rest, 40)
        ));
        cut.push(format!("{} left out whole", plural(rest.len(), "failure")));
    }
    out
}

fn least(block: &Block) -> usize {
    block.head.len()
        + block.bodies.iter().map(|body| body.text.len().min(LEAST) + FRAME).sum::<usize>()
}

/// Returns how many blocks fit when each text is cut to the least.
fn how_many(blocks: &[Block], bytes: usize) -> usize {
    if blocks.iter().map(least).sum::<usize>() <= bytes {
        return blocks.len();
    }
    let mut left = bytes.saturating_sub(NAMES);
    let fit = blocks
        .iter()
        .take_while(|block| match left.checked_sub(least(block)) {
            Some(rest) => {
                left = rest;
                true
            }
            None => false,
        })
        .count();
    fit.max(1)
}

/// Returns the most bytes that every text may have so that all of them fit together.
fn share(blocks: &[Block], bytes: usize) -> usize {
    let heads: usize =
        blocks.iter().map(|block| block.head.len() + block.bodies.len() * FRAME).sum();
    let room = bytes.saturating_sub(heads);
    let lengths: Vec<_> =
        blocks.iter().flat_map(|block| &block.bodies).map(|body| body.text.len()).collect();
    let fits = |limit: usize| lengths.iter().map(|len| (*len).min(limit)).sum::<usize>() <= room;
    let mut low = LEAST;
    let mut high = lengths.iter().copied().max().unwrap_or(0).max(LEAST);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if fits(middle) { low = middle } else { high = middle - 1 }
    }
    low
}

fn render(block: &Block, body: &Body, each: usize, bytes: usize, cut: &mut Vec<String>) -> String {
    let limit = fitting(&body.text, each, bytes);
    let count = body.text.chars().count();
    if count <= limit && !body.is_cut {
        return format!("{}:\n\n{}", body.label, fence(&body.text, body.info));
    }
    let (kept, text) = if count <= limit {
        (format!("the last {}", plural(count, "character")), body.text.clone())
    } else if body.keep_head {
        let head = limit / 3;
        let (end, gap) = tail(&body.text, limit - head);
        let start: String = body.text.chars().take(head).collect();
        (
            format!("the first {head} and the last {} characters", limit - head),
            format!("{start}\n[... {} left out ...]\n{end}", plural(gap - head, "character")),
        )
    } else {
        let (end, _) = tail(&body.text, limit);
        (format!("the last {}", plural(limit, "character")), end.to_owned())
    };
    cut.push(format!("{} of {}: {kept} of {} bytes", body.label, block.name, body.bytes));
    format!("{}, {kept} of {} bytes:\n\n{}", body.label, body.bytes, fence(&text, body.info))
}

/// Returns how many characters of `text` may be shown, for a limit of characters and one of bytes.
fn fitting(text: &str, each: usize, bytes: usize) -> usize {
    let count = text.chars().count();
    let widest = if count == 0 { 1 } else { text.len().div_ceil(count) };
    each.min(if text.len() <= bytes { count } else { (bytes / widest).max(1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(name: &str, text: &str) -> Block {
        let body = Body {
            label: "stderr",
            info: "text",
            text: text.to_owned(),
            bytes: text.len() as u64,
            is_cut: false,
            keep_head: false,
        };
        Block { name: name.to_owned(), head: format!("### {name}\n"), bodies: vec![body] }
    }

    fn check(blocks: &[Block], bytes: usize, each: usize) -> (String, Vec<String>) {
        let mut cut = Vec::new();
        let out = lay_out(blocks, Room { bytes, each }, &mut cut);
        (out, cut)
    }

    #[test]
    fn what_fits_is_shown_whole() {
        let (out, cut) = check(&[block("a", "x\n")], 1_000, 10);
        assert_eq!(out, "### a\n\nstderr:\n\n```text\nx\n```\n\n");
        assert!(cut.is_empty());
    }

    #[test]
    fn a_long_text_is_cut_to_its_end_and_says_so() {
        let (out, cut) = check(&[block("a", &"0123456789".repeat(10))], 9_000, 13);
        assert!(out.contains("stderr, the last 13 characters of 100 bytes:"), "{out}");
        assert!(out.contains("\n7890123456789\n"), "{out}");
        assert_eq!(cut, ["stderr of a: the last 13 characters of 100 bytes"]);
    }

    #[test]
    fn the_beginning_is_kept_where_it_tells() {
        let mut one = block("a", &format!("first{}last", "x".repeat(80)));
        one.bodies[0].keep_head = true;
        let (out, _) = check(&[one], 9_000, 15);
        assert!(out.contains("first\n[... 74 characters left out ...]\nxxxxxxlast\n"), "{out}");
    }

    #[test]
    fn short_texts_leave_their_room_to_long_ones() {
        let blocks = [block("a", "short"), block("b", &"y".repeat(3_000))];
        let (out, cut) = check(&blocks, 2_000, 5_000);
        assert!(out.len() <= 2_000 && out.len() > 1_800, "{}", out.len());
        assert_eq!(cut.len(), 1);
    }

    #[test]
    fn what_does_not_fit_at_all_is_named_and_counted() {
        let blocks: Vec<_> =
            (0..500).map(|n| block(&format!("b{n}"), &"z".repeat(5_000))).collect();
        let (out, cut) = check(&blocks, 50_000, 5_000);
        assert!(out.len() <= 50_000, "{}", out.len());
        assert!(out.contains("more, left out to keep this file short: b"), "{out}");
        assert!(cut.last().unwrap().ends_with("failures left out whole"), "{cut:?}");
    }

    #[test]
    fn characters_of_many_bytes_are_counted_as_bytes_for_the_whole() {
        let blocks = [block("a", &"😀".repeat(5_000))];
        let (out, _) = check(&blocks, 8_000, 5_000);
        assert!(out.len() <= 8_000, "{}", out.len());
    }
}
