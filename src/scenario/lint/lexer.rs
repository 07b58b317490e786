//! Divides a bash script into words and operators: just enough to see what its commands are.
//!
//! Expands and runs nothing. Where it does not understand, it says so and divides nothing.

/// The deepest nesting that is looked into; what nests deeper was not written by a person.
pub(super) const DEEPEST: usize = 32;

#[derive(Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// The line on which it begins, from 0.
    pub(super) line: usize,
}

impl Token {
    pub(super) fn word(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word(word) => Some(word),
            Kind::Operator(_) => None,
        }
    }
}

#[derive(Debug)]
pub(super) enum Kind {
    /// A word as written; a quoted one keeps its quotes, so that it is no keyword.
    Word(String),
    Operator(&'static str),
}

/// Divides a script into words and operators.
pub(super) struct Lexer<'a> {
    rest: &'a str,
    line: usize,
    tokens: Vec<Token>,
    /// The here-documents that begin on the next line.
    documents: Vec<Document>,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(script: &'a str) -> Self {
        Self { rest: script, line: 0, tokens: Vec::new(), documents: Vec::new() }
    }

    /// Returns all tokens.
    ///
    /// # Errors
    /// The script is not understood, as when a quote is open; with the here-document that is not ended
    /// where that is why.
    pub(super) fn tokens(mut self) -> Result<Vec<Token>, Option<OpenDocument>> {
        const OPERATORS: [&str; 10] = ["&&", "||", ";;", "|&", ";", "|", "&", "(", ")", "\n"];
        loop {
            self.rest = self.rest.trim_start_matches([' ', '\t', '\r']);
            if let Some(rest) = self.rest.strip_prefix("\\\n") {
                self.rest = rest;
                self.line += 1;
            } else if self.rest.starts_with('#') {
                self.rest = &self.rest[self.rest.find('\n').unwrap_or(self.rest.len())..];
            } else if self.rest.is_empty() {
                return match self.documents.first() {
                    Some(document) => Err(document.open()),
                    None => Ok(self.tokens),
                };
            } else if let Some(operator) = OPERATORS
                .iter()
                .find(|operator| self.rest.starts_with(**operator))
                .filter(|_| !self.rest.starts_with("&>"))
            {
                self.rest = &self.rest[operator.len()..];
                let shown = if *operator == "|&" { "|" } else { operator };
                // A line that ends in one of these goes on.
                let goes_on = matches!(
                    self.tokens.last(),
                    Some(Token { kind: Kind::Operator("&&" | "||" | "|"), .. })
                );
                if *operator != "\n" || !goes_on {
                    self.tokens.push(Token { kind: Kind::Operator(shown), line: self.line });
                }
                if *operator == "\n" {
                    self.line += 1;
                    self.skip_documents()?;
                }
            } else {
                self.word().ok_or(None)?;
            }
        }
    }

    fn word(&mut self) -> Option<()> {
        let line = self.line;
        let length = word_length(self.rest)?;
        let word = &self.rest[..length];
        self.line += word.matches('\n').count();
        self.rest = &self.rest[length..];
        if let Some(end) = document_end(word) {
            let indented = end.starts_with('-');
            let mut end = end.strip_prefix('-').unwrap_or(end);
            if end.is_empty() {
                self.rest = self.rest.trim_start_matches([' ', '\t']);
                let length = word_length(self.rest)?;
                end = &self.rest[..length];
                self.rest = &self.rest[length..];
            }
            let end = &end[..unquoted(end, &['<', '>']).unwrap_or(end.len())];
            let end = end.replace(['\'', '"', '\\'], "");
            self.documents.push(Document { end, indented, line });
        }
        self.tokens.push(Token { kind: Kind::Word(word.to_owned()), line });
        Some(())
    }

    fn skip_documents(&mut self) -> Result<(), Option<OpenDocument>> {
        for document in std::mem::take(&mut self.documents) {
            loop {
                if self.rest.is_empty() {
                    return Err(document.open());
                }
                let length = self.rest.find('\n').map_or(self.rest.len(), |at| at + 1);
                let line = self.rest[..length].trim_end_matches(['\n', '\r']);
                self.rest = &self.rest[length..];
                self.line += 1;
                let line = if document.indented { line.trim_start_matches('\t') } else { line };
                if document.end == line {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// Returns what stands behind the `<<` of a here-document in `word`; none where there is none.
fn document_end(word: &str) -> Option<&str> {
    let at = unquoted(word, &['<'])?;
    let end = word[at..].strip_prefix("<<")?;
    (!end.starts_with('<')).then_some(end)
}

/// A here-document that nothing ends.
#[derive(Debug)]
pub(super) struct OpenDocument {
    /// The word that should end it.
    pub(super) end: String,
    /// The line of the script on which it is asked for, from 0.
    pub(super) line: usize,
}

/// A here-document whose text begins on the next line.
struct Document {
    /// The line that ends it.
    end: String,
    /// Whether tabs may stand before that.
    indented: bool,
    /// The line of the script on which it is asked for, from 0.
    line: usize,
}

impl Document {
    /// Says that it is not ended; nothing where it may be a shift in arithmetic.
    fn open(&self) -> Option<OpenDocument> {
        let is_word = self.end.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        is_word.then(|| OpenDocument { end: self.end.clone(), line: self.line })
    }
}

/// Returns the length of the word at the head of `text`; none when a quote in it is open.
fn word_length(text: &str) -> Option<usize> {
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        at += match c {
            ' ' | '\t' | '\r' | '\n' | ';' | '|' | '(' | ')' => break,
            // `>&2` and `&>log` are a part of the word; else `&` ends it.
            '&' if !text[..at].ends_with(['>', '<']) && !text[at..].starts_with("&>") => break,
            _ => step(&text[at..], DEEPEST)?,
        };
    }
    Some(at)
}

/// Returns the length of the quoted text, substitution or character at the head of `text`; none
/// when it is open or nests deeper than `depth`.
pub(super) fn step(text: &str, depth: usize) -> Option<usize> {
    let depth = depth.checked_sub(1)?;
    if text.starts_with("$(") || text.starts_with("<(") || text.starts_with(">(") {
        return closed_by(text, ')', depth);
    }
    if text.starts_with("${") {
        return closed_by(text, '}', depth);
    }
    match text.chars().next()? {
        '\\' => Some(1 + text[1..].chars().next().map_or(0, char::len_utf8)),
        '\'' => text[1..].find('\'').map(|at| at + 2),
        '`' => text[1..].find('`').map(|at| at + 2),
        '"' => {
            let mut at = 1;
            loop {
                at += match text[at..].chars().next()? {
                    '"' => return Some(at + 1),
                    '\'' => 1,
                    _ => step(&text[at..], depth)?,
                };
            }
        }
        c => Some(c.len_utf8()),
    }
}

/// Returns the length of what begins with two characters such as `$(` and ends with `close`,
/// nested ones included.
fn closed_by(text: &str, close: char, depth: usize) -> Option<usize> {
    let open = if close == ')' { '(' } else { '{' };
    let mut at = 2;
    let mut unclosed = 1;
    while unclosed > 0 {
        let c = text[at..].chars().next()?;
        if c == close {
            unclosed -= 1;
            at += 1;
        } else if c == open {
            unclosed += 1;
            at += 1;
        } else {
            at += step(&text[at..], depth)?;
        }
    }
    Some(at)
}

/// Returns the byte of `word` at which one of `wanted` stands outside of quotes and substitutions.
pub(super) fn unquoted(word: &str, wanted: &[char]) -> Option<usize> {
    let mut at = 0;
    while let Some(c) = word[at..].chars().next() {
        if wanted.contains(&c) {
            return Some(at);
        }
        at += step(&word[at..], DEEPEST)?;
    }
    None
}
