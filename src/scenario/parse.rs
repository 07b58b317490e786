//! Reads one scenario file: markdown by CommonMark, sections by name, spans into the file.
//!
//! Nothing is passed over in silence: what can't be judged is an error with a place, and what is
//! ignored though somebody may have meant it is a warning.

use std::ops::Range;

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use super::checks::check_of;
use super::criteria::{self, Reading};
use super::front;
use super::{
    CodeBlock, Criterion, CriterionCheck, Diagnostic, EvidenceItem, FrontMatter, Precondition,
    Scenario, Severity,
};
use crate::text::{Lines, line_column, nearest, single_spaced, yaml};

/// The most that a scenario file may hold, in bytes.
pub const MAX_BYTES: usize = 1 << 20;

/// The most findings of one kind about one list: the person knows by then.
const MOST_ALIKE: usize = 16;

/// The most pass criteria that are checked: each costs a look at everything that was written.
const MOST_CHECKED: usize = 256;

/// What reading one file came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// The title without `Scenario:`; none where there is no title.
    pub name: Option<String>,
    /// The category; empty where none is given.
    pub category: String,
    /// The scenario, or every error found, in the order of their places; never empty then.
    pub scenario: Result<Box<Scenario>, Vec<Diagnostic>>,
    /// Every warning found, in the order of their places.
    pub warnings: Vec<Diagnostic>,
}

/// Reads the scenario in `bytes`; `file` is its path as people see it.
pub fn parse(file: &str, bytes: &[u8]) -> Parsed {
    match readable(file, bytes) {
        Ok(source) => read(file, source),
        Err(diagnostic) => Parsed {
            name: None,
            category: String::new(),
            scenario: Err(vec![*diagnostic]),
            warnings: Vec::new(),
        },
    }
}

/// Returns a diagnostic of the check `code` about `span` of `source`.
pub(super) fn diagnostic(
    code: &'static str,
    file: &str,
    source: &str,
    span: Option<Range<usize>>,
    message: impl Into<String>,
    help: impl Into<String>,
) -> Diagnostic {
    let place = span.as_ref().map_or((1, 1), |span| line_column(source, span.start));
    placed(code, file, place, span, message.into(), help.into())
}

fn placed(
    code: &'static str,
    file: &str,
    (line, column): (usize, usize),
    span: Option<Range<usize>>,
    message: String,
    help: String,
) -> Diagnostic {
    Diagnostic {
        code: code.to_owned(),
        severity: check_of(code).map_or(Severity::Error, |check| check.severity),
        message,
        file: file.to_owned(),
        span,
        line,
        column,
        help,
    }
}

/// Returns the file as text, or why nothing can be made of it.
fn readable<'a>(file: &str, bytes: &'a [u8]) -> Result<&'a str, Box<Diagnostic>> {
    let whole = |code, message: String, help: &str| {
        Box::new(diagnostic(code, file, "", None, message, help))
    };
    if bytes.len() > MAX_BYTES {
        return Err(whole(
            "S013",
            format!("the file is larger than the {} MiB that a scenario may have", MAX_BYTES >> 20),
            "keep data in files of its own",
        ));
    }
    let source = match std::str::from_utf8(bytes) {
        Ok(source) => source,
        Err(error) => {
            let at = error.valid_up_to();
            let before = std::str::from_utf8(&bytes[..at]).unwrap_or_default();
            let mut found = diagnostic(
                "S007",
                file,
                before,
                Some(at..at + error.error_len().unwrap_or(bytes.len() - at)),
                format!("the byte {:#04x} is no UTF-8", bytes[at]),
                "save the file as UTF-8",
            );
            (found.line, found.column) = line_column(before, at);
            return Err(Box::new(found));
        }
    };
    if source.trim_start_matches('\u{feff}').trim().is_empty() {
        return Err(whole("S012", "the file is empty".to_owned(), "write a scenario or remove it"));
    }
    if let Some(at) = source.find('\0') {
        let help = "remove it; is this a text file?";
        let message = "the file holds a NUL character";
        return Err(Box::new(diagnostic("S008", file, source, Some(at..at + 1), message, help)));
    }
    Ok(source)
}

/// The sections that mean something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    Category,
    Preconditions,
    Expectation,
    Evaluation,
    PassCriteria,
    Evidence,
}

/// The names of sections, and which of them is said to people (the first of each).
const SECTIONS: [(&str, Section); 10] = [
    ("Category", Section::Category),
    ("Preconditions", Section::Preconditions),
    ("Behavioral Expectation", Section::Expectation),
    ("Behavioural Expectation", Section::Expectation),
    ("Expectation", Section::Expectation),
    ("Evaluation Method", Section::Evaluation),
    ("Evaluation", Section::Evaluation),
    ("Pass Criteria", Section::PassCriteria),
    ("Evidence Required", Section::Evidence),
    ("Evidence", Section::Evidence),
];

impl Section {
    fn named(heading: &str) -> Option<Self> {
        let heading = heading.trim_end_matches([':', ' ']);
        SECTIONS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(heading))
            .map(|(_, section)| *section)
    }

    fn name(self) -> &'static str {
        SECTIONS.iter().find(|(_, section)| *section == self).map_or("", |(name, _)| name)
    }
}

struct Heading {
    level: HeadingLevel,
    text: String,
    span: Range<usize>,
}

struct Fence {
    /// The first word after the fence, in lower case; none for indented code.
    language: Option<String>,
    code: String,
    span: Range<usize>,
    closed: bool,
}

/// The text of a paragraph or of a list item, without what is nested in it.
struct Item {
    /// The text without markup.
    plain: String,
    /// How many of its bytes stand before the first code.
    lead: usize,
    /// The codes in backticks, in order.
    codes: Vec<String>,
    /// From the first character to the last; empty while there is none.
    span: Range<usize>,
    /// Whether it is a list item, or the first paragraph of one.
    listed: bool,
    /// Whether it is a list item whose first paragraph has begun.
    led: bool,
}

impl Item {
    fn new(listed: bool) -> Self {
        Self { plain: String::new(), lead: 0, codes: Vec::new(), span: 0..0, listed, led: false }
    }

    fn push(&mut self, text: &str) {
        self.plain.push_str(text);
        if self.codes.is_empty() {
            self.lead = self.plain.len();
        }
    }

    fn cover(&mut self, span: &Range<usize>) {
        if self.span.is_empty() {
            self.span = span.clone();
        } else {
            self.span.end = self.span.end.max(span.end);
        }
    }

    /// Returns the item as written, each line without the white space around it.
    fn written(&self, source: &str) -> String {
        let mut written = String::with_capacity(self.span.len());
        for line in source[self.span.clone()].lines().map(str::trim) {
            // Empty lines at the start are none of it.
            if !written.is_empty() {
                written.push('\n');
            }
            written.push_str(line);
        }
        written.truncate(written.trim_end().len());
        written
    }
}

/// What the file holds, flat and in its order.
#[derive(Default)]
struct Outline {
    headings: Vec<Heading>,
    fences: Vec<Fence>,
    items: Vec<Item>,
    /// How many lists and quotes are open; 0 when all has been read.
    nesting: usize,
}

/// A stretch of the file that belongs to a section.
struct Piece {
    section: Section,
    span: Range<usize>,
}

fn read(file: &str, source: &str) -> Parsed {
    let mut reader = Reader { file, source, lines: Lines::of(source), found: Vec::new() };
    let Some((front, body)) = reader.front_matter() else {
        // Without its end nobody can say what is markdown.
        return Parsed {
            name: None,
            category: String::new(),
            scenario: Err(reader.found),
            warnings: Vec::new(),
        };
    };
    reader.stray_setting(body);
    let outline = outline(source, body);
    let (title, name) = title(&outline.headings).unzip();
    let name = name.filter(|name| !name.is_empty());
    if name.is_none() {
        reader.report("S001", None, "there is no title", "begin with `# Scenario: NAME`");
    }
    let pieces = reader.sections(&outline.headings, title);
    for fence in outline.fences.iter().filter(|fence| !fence.closed) {
        let first = first_line(source, &fence.span);
        reader.report("S004", Some(first), "this fence is not closed", "close it with ```");
    }
    let evaluation = reader.evaluation(&outline, &pieces);
    let category = reader.category(&outline, &pieces);
    let expectation = text_of(source, &pieces, Section::Expectation);
    if expectation.is_empty() {
        reader.report(
            "S015",
            None,
            "there is no expectation",
            "say under `## Behavioral Expectation` what the system should do",
        );
    }
    let scenario = Scenario {
        preconditions: reader.preconditions(&outline, &pieces),
        expectation,
        evaluation,
        pass_criteria: text_of(source, &pieces, Section::PassCriteria),
        criteria: reader.criteria(&outline, &pieces),
        evidence: reader.evidence(&outline, &pieces),
        front,
    };
    let mut found = reader.found;
    found.sort_by_key(|d| d.span.as_ref().map_or(0, |span| span.start));
    let (errors, warnings): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|d| d.severity == Severity::Error);
    Parsed {
        name,
        category,
        scenario: if errors.is_empty() { Ok(Box::new(scenario)) } else { Err(errors) },
        warnings,
    }
}

/// Returns the title's heading by its index, and its text without `Scenario:`: the first heading
/// that says `Scenario:`, or is of level 1 and no section.
fn title(headings: &[Heading]) -> Option<(usize, String)> {
    headings.iter().enumerate().find_map(|(index, heading)| {
        let text = heading.text.as_str();
        let name = text
            .get(..9)
            .filter(|start| start.eq_ignore_ascii_case("scenario:"))
            .map(|start| text[start.len()..].trim());
        match name {
            Some(name) => Some((index, name.to_owned())),
            None => (heading.level == HeadingLevel::H1 && Section::named(text).is_none())
                .then(|| (index, text.to_owned())),
        }
    })
}

/// Reads what stands from `body` on into headings, fences and items.
fn outline(source: &str, body: usize) -> Outline {
    let mut out = Outline::default();
    let mut heading: Option<Heading> = None;
    // With the end of the code that was read last.
    let mut fence: Option<(Fence, usize)> = None;
    // Open paragraphs and items, outermost first; text goes to the innermost.
    let mut open: Vec<Item> = Vec::new();
    for (event, span) in Parser::new_ext(&source[body..], Options::empty()).into_offset_iter() {
        let span = body + span.start..body + span.end;
        match event {
            Event::Start(Tag::Heading { level, .. }) => {
                // A heading within a list or quote is a part of that, and begins no section.
                if out.nesting == 0 {
                    heading = Some(Heading { level, text: String::new(), span });
                } else {
                    open.push(Item::new(false));
                }
            }
            Event::End(TagEnd::Heading(_)) => match heading.take() {
                Some(mut heading) => {
                    heading.text = single_spaced(&heading.text);
                    out.headings.push(heading);
                }
                None => out.items.extend(open.pop()),
            },
            Event::Start(Tag::CodeBlock(kind)) => {
                let language = match kind {
                    CodeBlockKind::Indented => None,
                    CodeBlockKind::Fenced(info) => {
                        // `{python}` and `{.python}` name a language as well.
                        let info = info.trim_start_matches(['{', '.', ' ', '\t']);
                        let first = info.split([' ', '\t', ',', '{', '}']).next().unwrap_or("");
                        Some(first.to_lowercase())
                    }
                };
                let start = span.start;
                fence = Some((Fence { language, code: String::new(), span, closed: true }, start));
            }
            Event::End(TagEnd::CodeBlock) => {
                if let Some((mut fence, code_end)) = fence.take() {
                    fence.closed =
                        fence.language.is_none() || is_closed(source, &fence.span, code_end);
                    out.fences.push(fence);
                }
            }
            Event::Start(Tag::List(_) | Tag::BlockQuote(_)) => out.nesting += 1,
            Event::End(TagEnd::List(_) | TagEnd::BlockQuote(_)) => out.nesting -= 1,
            Event::Start(Tag::Item) => open.push(Item::new(true)),
            Event::Start(Tag::Paragraph) => {
                let leads = open.last_mut().is_some_and(|above| {
                    above.listed
                        && above.span.is_empty()
                        && !std::mem::replace(&mut above.led, true)
                });
                open.push(Item::new(leads));
            }
            Event::End(TagEnd::Item | TagEnd::Paragraph) => out.items.extend(open.pop()),
            Event::Text(text) => {
                if let Some((fence, end)) = &mut fence {
                    fence.code.push_str(&text);
                    *end = span.end;
                } else if let Some(heading) = &mut heading {
                    heading.text.push_str(&text);
                } else if let Some(item) = open.last_mut() {
                    item.push(&text);
                    item.cover(&span);
                }
            }
            Event::Code(code) => {
                if let Some(heading) = &mut heading {
                    heading.text.push_str(&code);
                } else if let Some(item) = open.last_mut() {
                    item.plain.push_str(&code);
                    item.codes.push(code.into_string());
                    item.cover(&span);
                }
            }
            Event::SoftBreak | Event::HardBreak => {
                if let Some(heading) = &mut heading {
                    heading.text.push(' ');
                } else if let Some(item) = open.last_mut() {
                    item.push(" ");
                }
            }
            Event::InlineHtml(_) | Event::Start(_) => {
                if let Some(item) = open.last_mut() {
                    item.cover(&span);
                }
            }
            _ => {}
        }
    }
    out.items.retain(|item| !item.span.is_empty());
    out.items.sort_by_key(|item| item.span.start);
    out
}

/// Returns whether the fenced block in `span`, whose code ends at `code_end`, has a closing fence.
fn is_closed(source: &str, span: &Range<usize>, code_end: usize) -> bool {
    let block = &source[span.clone()];
    let Some(mark) = block.chars().next() else { return false };
    let width = block.len() - block.trim_start_matches(mark).len();
    let Some(at) = block.trim_end_matches(['\n', '\r']).rfind('\n') else { return false };
    // Within a list or a quote the closing fence has their indentation and marks before it.
    let last = block[at..].trim_start_matches([' ', '\t', '\n', '>']).trim_end();
    span.start + at + 1 >= code_end && last.len() >= width && last.chars().all(|c| c == mark)
}

/// Returns the first line of `span`, without its end.
fn first_line(source: &str, span: &Range<usize>) -> Range<usize> {
    let text = &source[span.clone()];
    let end = text.find(['\n', '\r']).unwrap_or(text.len());
    span.start..span.start + end
}

/// Returns where an HTML comment begins that takes in the rest of the file; none where none does.
fn open_comment(source: &str) -> Option<usize> {
    let end = source.rfind("-->").map_or(0, |at| at + 3);
    source[end..].find("<!--").map(|at| end + at)
}

/// Returns whether bash would do nothing: white space and comments only.
fn does_nothing(code: &str) -> bool {
    code.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with('#'))
}

/// Returns the text of a section as written, trimmed; empty when there is none.
fn text_of(source: &str, pieces: &[Piece], section: Section) -> String {
    let mut text = String::new();
    for piece in pieces.iter().filter(|piece| piece.section == section) {
        let part = source[piece.span.clone()].trim_end();
        // Only empty lines are cut off at the start: indentation there can have a meaning.
        let part = if text.is_empty() {
            let start = part.len() - part.trim_start().len();
            &part[part[..start].rfind('\n').map_or(0, |at| at + 1)..]
        } else {
            text.push('\n');
            part
        };
        text.push_str(part);
    }
    text.truncate(text.trim_end().len());
    text.replace("\r\n", "\n")
}

/// Returns whether the byte `at` belongs to `section`; the pieces are in their order.
fn within(pieces: &[Piece], section: Section, at: usize) -> bool {
    let next = pieces.partition_point(|piece| piece.span.start <= at);
    next.checked_sub(1)
        .is_some_and(|index| pieces[index].section == section && pieces[index].span.contains(&at))
}

/// Collects what is found while a file is read.
struct Reader<'a> {
    file: &'a str,
    source: &'a str,
    lines: Lines<'a>,
    found: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn report(
        &mut self,
        code: &'static str,
        span: Option<Range<usize>>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let place = span.as_ref().map_or((1, 1), |span| self.lines.line_column(span.start));
        self.found.push(placed(code, self.file, place, span, message.into(), help.into()));
    }

    /// Reads the front matter; returns it and where the markdown begins; none when it has
    /// no end.
    fn front_matter(&mut self) -> Option<(FrontMatter, usize)> {
        let source = self.source;
        let (mark, yaml, body) = match front::place(source) {
            front::Place::None { body } => return Some((FrontMatter::default(), body)),
            front::Place::Open { mark } => {
                let help = "end it with a line of `---`";
                self.report("S009", Some(mark), "the front matter has no end", help);
                return None;
            }
            front::Place::Between { mark, yaml, body } => (mark, yaml, body),
        };
        let (text, yaml) = (&source[yaml.clone()], yaml.start);
        let front = match yaml::read::<FrontMatter>(text) {
            Ok(front) => {
                self.check_front(&front, text, yaml);
                front
            }
            Err(problem) => {
                let code = if problem.unknown_key.is_some() { "S010" } else { "S009" };
                let span = problem.span.map(|span| yaml + span.start..yaml + span.end);
                self.report(code, Some(span.unwrap_or(mark)), problem.message, problem.help);
                FrontMatter::default()
            }
        };
        Some((front, body))
    }

    /// Reports a setting that somebody meant and nobody would read.
    fn stray_setting(&mut self, body: usize) {
        let is_section = |heading: &str| Section::named(heading).is_some();
        if let Some(front::Stray { key, span }) = front::stray(self.source, body, is_section) {
            let message =
                format!("`{key}` stands outside of the front matter, and is not read there");
            let help = "put settings as YAML between two lines of `---` at the head of the file";
            self.report("S025", Some(span), message, help);
        }
    }

    fn check_front(&mut self, front: &FrontMatter, text: &str, yaml: usize) {
        let place = |path: &str| {
            yaml::value_span(text, &yaml::steps(path))
                .map(|span| yaml + span.start..yaml + span.end)
        };
        if !(front.weight > 0.0 && front.weight.is_finite()) {
            let message = format!("the weight is {}; it must be above 0 and finite", front.weight);
            let help = "leave the file out of the directory to leave the scenario out";
            self.report("S009", place("weight"), message, help);
        }
        for name in front.env.keys().take(MOST_ALIKE) {
            let head = name.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
            if !head || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                let span = yaml::key_span(text, &yaml::steps("env"), name)
                    .map(|span| yaml + span.start..yaml + span.end);
                let message = format!("`{name}` can't be the name of a variable");
                self.report("S009", span, message, "use letters, digits and `_`");
            }
        }
    }

    /// Divides the file among its sections. What stands under a heading that is no section
    /// belongs to the section that this heading is below, if any.
    fn sections(&mut self, headings: &[Heading], title: Option<usize>) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut seen: Vec<(Section, usize)> = Vec::new();
        let mut above: Vec<(HeadingLevel, Option<Section>)> = Vec::new();
        for (index, heading) in headings.iter().enumerate() {
            above.retain(|(level, _)| *level < heading.level);
            let section = if title == Some(index) { None } else { Section::named(&heading.text) };
            if let Some(section) = section {
                match seen.iter().find(|(other, _)| *other == section) {
                    Some((_, first)) => {
                        let (line, _) = self.lines.line_column(*first);
                        let message = format!(
                            "the section `{}` occurs twice; the first is on line {line}",
                            section.name()
                        );
                        let help = "join the two; two scenarios are two files";
                        self.report("S006", Some(heading.span.clone()), message, help);
                    }
                    None => seen.push((section, heading.span.start)),
                }
            } else if title != Some(index)
                && let Some(near) = nearest(&heading.text, SECTIONS.map(|(name, _)| name))
            {
                let message = format!("`{}` is no section; did you mean `{near}`?", heading.text);
                self.report("S016", Some(heading.span.clone()), message, "it is ignored as it is");
            }
            above.push((heading.level, section));
            let Some(owner) = above.iter().rev().find_map(|(_, section)| *section) else {
                continue;
            };
            // A heading below a section is a part of its text.
            let start = if section.is_some() { heading.span.end } else { heading.span.start };
            let end = headings.get(index + 1).map_or(self.source.len(), |next| next.span.start);
            pieces.push(Piece { section: owner, span: start..end });
        }
        pieces
    }

    fn evaluation(&mut self, outline: &Outline, pieces: &[Piece]) -> Vec<CodeBlock> {
        let mut blocks = Vec::new();
        let mut other = None;
        let mut indented = None;
        let mut unclosed = false;
        for fence in &outline.fences {
            unclosed |= !fence.closed;
            if !within(pieces, Section::Evaluation, fence.span.start) {
                continue;
            }
            let first = first_line(self.source, &fence.span);
            match fence.language.as_deref() {
                None => _ = indented.get_or_insert(first),
                Some("bash" | "sh" | "") => {
                    if does_nothing(&fence.code) {
                        let help = "write the command that judges, or remove the block";
                        self.report("S003", Some(first), "this block runs nothing", help);
                    }
                    let (line, _) = self.lines.line_column(fence.span.start);
                    // A line may end in a carriage return alone, which bash would take for a character.
                    let code = fence.code.replace("\r\n", "\n").replace('\r', "\n");
                    blocks.push(CodeBlock { code, line: line + 1 });
                }
                Some(language) => {
                    let message = format!("a fence of `{language}` is not run");
                    let help = "call it from a fence of `bash`";
                    self.report("S011", Some(first.clone()), message, help);
                    other.get_or_insert(first);
                }
            }
        }
        if !blocks.is_empty() {
            return blocks;
        }
        let section = pieces.iter().find(|piece| piece.section == Section::Evaluation);
        if let Some(span) = other {
            let message = "the evaluation has no fence of `bash`, `sh` or no language";
            self.report("S002", Some(span), message, "write the command between ```bash and ```");
        } else if let Some(span) = indented {
            let message = "the evaluation is indented code, which is not run";
            self.report("S005", Some(span), message, "write the command between ```bash and ```");
        } else if let Some(section) = section {
            let heading = outline
                .headings
                .iter()
                .rfind(|heading| heading.span.start <= section.span.start)
                .map(|heading| first_line(self.source, &heading.span));
            let message = "the evaluation has no command";
            self.report("S002", heading, message, "write the command between ```bash and ```");
        } else if !unclosed {
            // An open fence may have swallowed the section, and has been reported.
            let help = "add `## Evaluation Method` with a command between ```bash and ```";
            let swallows = |fence: &&Fence| {
                fence.code.lines().any(|line| {
                    let name = line.trim_start().trim_start_matches('#');
                    name.len() < line.trim_start().len()
                        && Section::named(name.trim()) == Some(Section::Evaluation)
                })
            };
            let first = |span: &Range<usize>| first_line(self.source, span);
            if let Some(fence) = outline.fences.iter().find(swallows) {
                let message = "there is no evaluation: the one in this fence is text";
                self.report("S002", Some(first(&fence.span)), message, "end the fence before it");
            } else if let Some(at) = open_comment(self.source) {
                let message = "there is no evaluation: this comment has no end";
                self.report("S002", Some(at..at + 4), message, "end it with `-->`");
            } else {
                let place = outline.headings.first().map(|heading| first(&heading.span));
                self.report("S002", place, "there is no evaluation", help);
            }
        }
        blocks
    }

    fn category(&mut self, outline: &Outline, pieces: &[Piece]) -> String {
        let first =
            outline.items.iter().find(|item| within(pieces, Section::Category, item.span.start));
        let text = first.map_or("", |item| item.plain.trim());
        let text = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text).trim();
        if text.is_empty() {
            let help = "name one under `## Category`";
            self.report("S014", None, "there is no category", help);
        } else if text.contains('|') {
            let span = first.map(|item| item.span.clone());
            self.report("S014", span, "the category is a choice of several", "keep one of them");
        }
        single_spaced(text)
    }

    fn preconditions(&mut self, outline: &Outline, pieces: &[Piece]) -> Vec<Precondition> {
        let mut out = Vec::new();
        for item in &outline.items {
            if !within(pieces, Section::Preconditions, item.span.start) {
                continue;
            }
            let lead = item.plain[..item.lead].trim().to_lowercase();
            let mut check = None;
            if lead == "check:"
                && let Some(command) = item.codes.first()
            {
                check = Some(command.clone());
                if let Some(second) = item.codes.get(1) {
                    let message = format!("`{second}` is not run; an item has one command");
                    let help = "make it an item of its own";
                    self.report("S017", Some(item.span.clone()), message, help);
                }
            } else if lead.starts_with("check:") || lead.ends_with("check:") {
                let message = "this check is not run";
                let help = "write the item as ``check: `command` ``";
                self.report("S017", Some(item.span.clone()), message, help);
            }
            let (line, _) = self.lines.line_column(item.span.start);
            out.push(Precondition { text: item.written(self.source), check, line });
        }
        for fence in &outline.fences {
            if within(pieces, Section::Preconditions, fence.span.start) {
                let first = first_line(self.source, &fence.span);
                let help = "write it as an item, ``- check: `command` ``";
                self.report("S017", Some(first), "a fence under Preconditions is not run", help);
                let (line, _) = self.lines.line_column(fence.span.start);
                out.push(Precondition { text: fence.code.trim().to_owned(), check: None, line });
            }
        }
        out.sort_by_key(|item| item.line);
        out
    }

    fn criteria(&mut self, outline: &Outline, pieces: &[Piece]) -> Vec<Criterion> {
        let mut out = Vec::new();
        let (mut checked, mut odd) = (0, 0);
        for item in &outline.items {
            if !within(pieces, Section::PassCriteria, item.span.start) {
                continue;
            }
            let text = item.written(self.source).replace('\n', " ");
            let span = item.span.clone();
            let reading = criteria::read(&text);
            if !item.listed {
                // Prose; what would be checked as an item was likely meant as one.
                if matches!(&reading, Reading::Check(check) if *check != CriterionCheck::ExitZero) {
                    let help = "write it as an item: `- ` before it";
                    self.report("S021", Some(span), "this criterion is not checked", help);
                }
                continue;
            }
            let mut check = None;
            match reading {
                Reading::Check(_) if checked == MOST_CHECKED => {
                    let message = format!("only the first {MOST_CHECKED} criteria are checked");
                    self.report("S023", Some(span), message, "check the others in the evaluation");
                    checked += 1;
                }
                Reading::Check(_) if checked > MOST_CHECKED => {}
                Reading::Check(found) => {
                    checked += 1;
                    check = Some(found);
                }
                Reading::Text => {}
                Reading::Slip { .. } | Reading::Outside { .. } if odd == MOST_ALIKE => {}
                Reading::Slip { message, help } => {
                    odd += 1;
                    let message = format!("this criterion is not checked: {message}");
                    self.report("S021", Some(span), message, help);
                }
                Reading::Outside { path } => {
                    odd += 1;
                    let message = format!("`{path}` lies outside the tree, so it is not checked");
                    let help = "name a path that is relative to the root of the product";
                    self.report("S022", Some(span), message, help);
                }
            }
            let (line, _) = self.lines.line_column(item.span.start);
            out.push(Criterion { text, line, check });
        }
        out
    }

    fn evidence(&mut self, outline: &Outline, pieces: &[Piece]) -> Vec<EvidenceItem> {
        let mut out = Vec::new();
        for item in &outline.items {
            if !within(pieces, Section::Evidence, item.span.start) {
                continue;
            }
            for path in &item.codes {
                if path.starts_with('/') || path.split('/').any(|part| part == "..") {
                    let message = format!("`{path}` lies outside the tree that is judged");
                    let help = "copy it into the tree in the evaluation, and name the copy";
                    self.report("S018", Some(item.span.clone()), message, help);
                }
            }
            out.push(EvidenceItem { text: item.written(self.source), paths: item.codes.clone() });
        }
        for fence in &outline.fences {
            if within(pieces, Section::Evidence, fence.span.start) {
                out.push(EvidenceItem { text: fence.code.trim().to_owned(), paths: Vec::new() });
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const PLAIN: &str = "\
# Scenario: Log in

## Category
[training]

## Preconditions
- the server is up
- check: `test -f x`

## Behavioral Expectation
The *system* lets
people in.

## Evaluation Method
```bash
python -m app login
```

## Pass Criteria
exit 0

## Evidence Required
- `out/*.log` and `a.txt`
";

    fn codes(source: impl AsRef<[u8]>) -> String {
        let parsed = parse("s.md", source.as_ref());
        let errors = parsed.scenario.err().unwrap_or_default();
        let codes: Vec<_> =
            errors.iter().chain(&parsed.warnings).map(|d| d.code.as_str()).collect();
        codes.join(" ")
    }

    /// Checks the codes of a complete scenario whose evaluation section is `evaluation`.
    fn check_evaluation(evaluation: &str, expected: Result<&str, &str>) {
        let (before, after) = PLAIN.split_once("```bash\npython -m app login\n```\n").unwrap();
        let source = format!("{before}{evaluation}{after}");
        let found = match parse("s.md", source.as_bytes()).scenario {
            Ok(scenario) => Ok(scenario.script()),
            Err(_) => Err(codes(&source)),
        };
        let expected = expected.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(found, expected, "{evaluation:?}");
    }

    /// Checks the codes of the complete scenario with `front` between its marks.
    fn check_front(front: &str, expected: &str) {
        assert_eq!(codes(format!("---\n{front}\n---\n{PLAIN}")), expected, "{front:?}");
    }

    fn scenario(source: &str) -> Scenario {
        *parse("s.md", source.as_bytes()).scenario.unwrap()
    }

    #[test]
    fn the_operating_manuals_format_is_read_without_a_finding() {
        let parsed = parse("s.md", PLAIN.as_bytes());
        assert_eq!(parsed.warnings, []);
        assert_eq!(parsed.name.as_deref(), Some("Log in"));
        assert_eq!(parsed.category, "training");
        let scenario = parsed.scenario.unwrap();
        assert_eq!(scenario.expectation, "The *system* lets\npeople in.");
        assert_eq!(scenario.pass_criteria, "exit 0");
        assert_eq!(
            scenario.evaluation,
            [CodeBlock { code: "python -m app login\n".into(), line: 16 }]
        );
        assert_eq!(
            scenario.preconditions,
            [
                Precondition { text: "the server is up".into(), check: None, line: 7 },
                Precondition {
                    text: "check: `test -f x`".into(),
                    check: Some("test -f x".into()),
                    line: 8
                },
            ]
        );
        assert_eq!(scenario.evidence[0].paths, ["out/*.log", "a.txt"]);
        assert_eq!(scenario.front, FrontMatter::default());
    }

    #[test]
    fn line_ends_and_a_byte_order_mark_make_no_difference() {
        let plain = parse("s.md", PLAIN.as_bytes());
        let other = format!("\u{feff}{}", PLAIN.replace('\n', "\r\n"));
        assert_eq!(parse("s.md", other.as_bytes()), plain);
        assert_eq!(parse("s.md", PLAIN.trim_end().as_bytes()), plain);
    }

    #[test]
    fn headings_match_by_name_alone() {
        let source = PLAIN
            .replace("## Category", "CATEGORY:\n---")
            .replace("## Evaluation Method", "#### **evaluation**  ####")
            .replace("## Behavioral Expectation", "# Behavioural  Expectation")
            .replace("## Evidence Required", "## evidence:");
        assert_eq!(codes(&source), "");
        let parsed = parse("s.md", source.as_bytes());
        assert_eq!(parsed.category, "training");
        assert_eq!(*parsed.scenario.unwrap(), {
            let mut expected = scenario(PLAIN);
            expected.evaluation[0].line += 1;
            expected.preconditions.iter_mut().for_each(|item| item.line += 1);
            expected
        });
    }

    #[test]
    fn a_title_needs_no_prefix() {
        for (title, name) in [
            ("# Log in", Some("Log in")),
            ("# SCENARIO:Log  in", Some("Log in")),
            ("## Scenario: Evaluation", Some("Evaluation")),
            ("# Scenario:", None),
            ("text", None),
        ] {
            let source = PLAIN.replace("# Scenario: Log in", title);
            let parsed = parse("s.md", source.as_bytes());
            assert_eq!(parsed.name.as_deref(), name, "{title}");
            assert!(parsed.scenario.is_ok(), "{title}");
            assert_eq!(codes(&source), if name.is_none() { "S001" } else { "" }, "{title}");
        }
    }

    #[test]
    fn blocks_of_one_evaluation_run_in_order() {
        check_evaluation("```bash\na\n```\ntext\n~~~~ sh\nb\n```\n~~~~\n", Ok("a\nb\n```\n"));
        check_evaluation("### One\n```\na\n```\n### Two\n```\nb\n```\n", Ok("a\nb\n"));
        check_evaluation(
            "- ```BASH title=x\n  a\n    b\n  ```\n> ```sh\n> c\n> ```\n",
            Ok("a\n  b\nc\n"),
        );
        check_evaluation("```bash\r\na \\\r\nb\r\n```\r\n", Ok("a \\\nb\n"));
        check_evaluation("<!--\n```bash\nno\n```\n-->\n```bash\na\n```\n", Ok("a\n"));
    }

    #[test]
    fn a_section_within_the_evaluation_is_its_own() {
        check_evaluation(
            "```\na\n```\n### Notes\n#### Pass Criteria\n```\nno\n```\n### More\n```\nb\n```\n",
            Err("S006"),
        );
        let source = PLAIN.replace("## Pass", "### Pass");
        let parsed = scenario(&source);
        assert_eq!(parsed.pass_criteria, "exit 0");
        assert_eq!(parsed.evaluation.len(), 1);
    }

    #[test]
    fn what_can_not_be_judged_is_named() {
        check_evaluation("", Err("S002"));
        check_evaluation("Run `make test`.\n", Err("S002"));
        check_evaluation("```bash\n# to be written\n\n```\n", Err("S003"));
        check_evaluation("```bash\na\n```\n```\n```\n", Err("S003"));
        check_evaluation("```bash\na\n", Err("S004"));
        check_evaluation("````bash\na\n```\n", Err("S004"));
        check_evaluation("    make test\n", Err("S005"));
        check_evaluation("```python\nassert 1\n```\n", Err("S002 S011"));
        check_evaluation("```bash\na\n```\n## Evaluation\n```bash\nb\n```\n", Err("S006"));
    }

    #[test]
    fn a_fence_that_a_quote_ends_is_not_closed() {
        check_evaluation("> ```bash\n> a\n\n", Err("S004"));
        check_evaluation("```bash\na\n    ```\n", Err("S004"));
    }

    #[test]
    fn an_open_fence_above_the_evaluation_is_the_one_finding() {
        let source = PLAIN.replace("The *system*", "```\nThe *system*").replace("\n```\n", "\n");
        assert_eq!(codes(source), "S004");
    }

    #[test]
    fn what_is_no_text_is_named() {
        assert_eq!(codes(""), "S012");
        assert_eq!(codes("\u{feff} \n"), "S012");
        assert_eq!(codes("a\0"), "S008");
        assert_eq!(codes(vec![b'a'; MAX_BYTES + 1]), "S013");
        let found = parse("s.md", b"a\n\xc3\xa4\xff\n").scenario.unwrap_err();
        assert_eq!((found[0].code.as_str(), found[0].line, found[0].column), ("S007", 2, 2));
        assert_eq!(found[0].span, Some(4..5));
    }

    #[test]
    fn another_language_is_ignored_with_a_warning() {
        let source = PLAIN.replace("```bash\n", "```console\n$ x\n```\n```bash\n");
        assert_eq!(codes(&source), "S011");
        assert_eq!(scenario(&source).script(), "python -m app login\n");
    }

    #[test]
    fn what_is_missing_or_odd_is_warned_of() {
        assert_eq!(codes(PLAIN.replace("[training]", "")), "S014");
        assert_eq!(codes(PLAIN.replace("[training]", "[a | b]")), "S014");
        assert_eq!(codes(PLAIN.replace("The *system* lets\npeople in.", "")), "S015");
        assert_eq!(codes(PLAIN.replace("Pass Criteria", "Pass Criterias")), "S016");
        assert_eq!(codes(PLAIN.replace("check: `test -f x`", "check: x")), "S017");
        assert_eq!(codes(PLAIN.replace("check: `test", "up, check: `test")), "S017");
        assert_eq!(codes(PLAIN.replace("x`\n", "x` `y`\n")), "S017");
        assert_eq!(codes(PLAIN.replace("a.txt", "../a.txt")), "S018");
    }

    #[test]
    fn a_language_in_braces_is_a_language() {
        check_evaluation("```{python}\nassert 1\n```\n", Err("S002 S011"));
        check_evaluation("```{.bash .numbers}\na\n```\n", Ok("a\n"));
        check_evaluation("```bash,ignore\na\n```\n", Ok("a\n"));
    }

    #[test]
    fn a_carriage_return_alone_ends_a_line() {
        check_evaluation("```bash\na\rb\n```\n", Ok("a\nb\n"));
    }

    /// Checks the criteria of the complete scenario whose section is `section`: what each says, `!`
    /// before it where it is checked; and the codes.
    fn check_criteria(section: &str, expected: &[&str], found: &str) {
        let source = PLAIN.replace("exit 0\n", section);
        let criteria = scenario(&source).criteria;
        let texts: Vec<String> = criteria
            .iter()
            .map(|c| format!("{}{}", if c.check.is_some() { "!" } else { "" }, c.text))
            .collect();
        assert_eq!(texts, expected, "{section:?}");
        assert_eq!(codes(&source), found, "{section:?}");
        for criterion in criteria {
            let line = source.lines().nth(criterion.line - 1).unwrap();
            assert!(line.contains(criterion.text.split(' ').next().unwrap()), "{line}");
        }
    }

    #[test]
    fn items_of_the_pass_criteria_are_checked_or_for_people() {
        check_criteria(
            "- stderr is empty\n- It is nice.\n",
            &["!stderr is empty", "It is nice."],
            "",
        );
        check_criteria("* stdout contains\n  \"a\"\n", &["!stdout contains \"a\""], "");
        check_criteria(
            "1. stdout contains `*a*`\n\n   and more\n\n2. > stderr is empty\n",
            &["!stdout contains `*a*`", "!stderr is empty"],
            "",
        );
        check_criteria("- a\n  - stderr is empty\n", &["a", "!stderr is empty"], "");
        check_criteria("- **stderr** is empty\n", &["**stderr** is empty"], "");
        check_criteria("", &[], "");
    }

    #[test]
    fn a_criterion_that_is_nearly_one_is_warned_of() {
        check_criteria("- stdout contain \"x\"\n", &["stdout contain \"x\""], "S021");
        check_criteria("- file exists ../x\n", &["file exists ../x"], "S022");
        check_criteria("stderr is empty\n", &[], "S021");
        check_criteria("Exit 0\n\n```\n- stderr is empty\n```\n", &[], "");
        let many = "- stderr is empty\n".repeat(MOST_CHECKED + 2);
        let source = PLAIN.replace("exit 0\n", &many);
        assert_eq!(codes(&source), "S023");
        let checked = scenario(&source).criteria.iter().filter(|c| c.check.is_some()).count();
        assert_eq!(checked, MOST_CHECKED);
    }

    #[test]
    fn a_scenario_without_an_evaluation_is_shown_by_its_title() {
        let found = parse("s.md", b"\n# Scenario: S\n").scenario.unwrap_err().remove(0);
        assert_eq!((found.code.as_str(), found.line, found.span), ("S002", 2, Some(1..14)));
        let comment = b"# S\n<!-- a -->\n<!-- b\n## Evaluation\n";
        let found = parse("s.md", comment).scenario.unwrap_err().remove(0);
        assert_eq!((found.code.as_str(), found.line, found.column), ("S002", 3, 1));
        let above = b"# S\n```\nx\n## Evaluation:\n```bash\na\n```\n";
        let found = parse("s.md", above).scenario.unwrap_err().remove(0);
        assert_eq!((found.code.as_str(), found.line), ("S002", 2));
    }

    #[test]
    fn nested_items_and_prose_are_preconditions_too() {
        let source = PLAIN.replace(
            "- check: `test -f x`",
            "\n  - check: `a`\n\n    and\n    so on\n- # b\n\nprose\nhere\n```\nfence\n```",
        );
        let scenario = scenario(&source);
        let texts: Vec<_> = scenario.preconditions.iter().map(|p| p.text.as_str()).collect();
        assert_eq!(
            texts,
            ["the server is up", "check: `a`", "and\nso on", "b", "prose\nhere", "fence"]
        );
        assert_eq!(scenario.preconditions[1].check.as_deref(), Some("a"));
        assert_eq!(codes(&source), "S017");
    }

    #[test]
    fn front_matter_sets_what_it_names() {
        let source = format!(
            "---\r\ntimeout: 5m\nweight: 2\ntags: [a]\ncritical: true\nvisibility: public\n\
             env: {{A_1: x}}\n---\n{PLAIN}"
        );
        let parsed = parse("s.md", source.as_bytes());
        assert_eq!(parsed.name.as_deref(), Some("Log in"));
        let scenario = parsed.scenario.unwrap();
        assert_eq!(scenario.evaluation[0].line, 16 + 8);
        assert_eq!(scenario.front.timeout, Some(Duration::from_secs(300)));
        assert_eq!(scenario.front.weight, 2.0);
        assert!(scenario.front.critical);
        check_front("", "");
        check_front("# nothing", "");
    }

    #[test]
    fn front_matter_that_makes_no_sense_is_named() {
        check_front("wieght: 2", "S010");
        check_front("timeout: soon", "S009");
        check_front("weight: 0", "S009");
        check_front("weight: .inf", "S009");
        check_front("- a", "S009");
        check_front("a: [", "S010");
        check_front("tags: [", "S009");
        check_front("needs: [db, web]", "");
        check_front("env: {A=B: x}", "S009");
        assert_eq!(codes(format!("---\nweight: 1\n{PLAIN}")), "S009");
    }

    #[test]
    fn a_diagnostic_points_at_the_word() {
        let source = format!("\u{feff}---\r\ntags: [é]\r\nwieght: 2\r\n---\r\n{PLAIN}");
        let found = parse("s.md", source.as_bytes()).scenario.unwrap_err().remove(0);
        assert_eq!(&source[found.span.unwrap()], "wieght");
        assert_eq!((found.line, found.column), (3, 1));
        assert_eq!(found.message, "unknown key `wieght`; did you mean `weight`?");
    }

    #[test]
    fn a_large_file_of_one_kind_is_read_without_a_pause() {
        let many = |part: &str| part.repeat(MAX_BYTES / 16 / part.len());
        for source in [
            many("## Evidence\n- `/x`\n"),
            many("# Scenario: a\n## Evaluation\n```\na\n```\n"),
            many("- "),
            many("> "),
            many("`"),
            many("```\n"),
            many("#\n"),
            many("Evaluatoin\n==\n"),
            many("[a]: b\n"),
            many("*a_"),
            format!("---\nneeds: [{}]\n---\n", many("a,")),
        ] {
            check_spans(source.as_bytes());
        }
    }

    fn check_spans(bytes: &[u8]) {
        let parsed = parse("s.md", bytes);
        let errors = parsed.scenario.as_ref().err().into_iter().flatten();
        if let Err(errors) = &parsed.scenario {
            assert!(!errors.is_empty());
        }
        for found in errors.chain(&parsed.warnings) {
            assert!(check_of(&found.code).is_some(), "{}", found.code);
            if let Some(span) = &found.span {
                assert!(bytes.get(span.clone()).is_some(), "{found:?}");
                assert!(
                    std::str::from_utf8(bytes).is_err()
                        || std::str::from_utf8(&bytes[span.clone()]).is_ok()
                );
            }
        }
        if let Ok(scenario) = parsed.scenario {
            assert!(!scenario.evaluation.is_empty());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn any_bytes_are_read_within_their_bounds(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            check_spans(&bytes);
        }

        #[test]
        fn any_markdown_is_read_within_its_bounds(parts in prop::collection::vec(prop::sample::select(vec![
            "---\n", "weight: 1\n", "x: [\n", "# Scenario: ä\n", "## Evaluation\n", "### Evidence\n",
            "Category\n===\n", "## Preconditions:\n", "```bash\n", "```\n", "~~~~ sh\n", "~~~~\n", "> ",
            "- ", "1. ", "  ", "    ", "\t", "check: `x`", "`", "*", "<!-- ", "-->", "<div>", "\n", "\r\n",
            "\r", "\u{feff}", "text", "[a]", "[a]: b\n", "é\n", "#", "|",
        ]), 0..40)) {
            check_spans(parts.concat().as_bytes());
        }

        #[test]
        fn a_rendered_scenario_gives_back_its_parts(
            name in "[A-Za-z][A-Za-z0-9äö]{0,12}( [a-z]{1,5}){0,2}",
            category in "[a-z]{1,10}",
            blocks in prop::collection::vec("[a-z][ -~é]{0,20}(\n[ -~]{0,20}){0,3}", 1..4),
            items in prop::collection::vec("[a-z]{1,8}( [a-z]{1,8}){0,3}", 0..4),
            expectation in "[A-Z][a-z]{0,9}( [a-z]{1,9}){0,5}",
            weight in 1_u32..100,
        ) {
            let fences: String = blocks.iter().map(|b| format!("`````bash\n{b}\n`````\n\n")).collect();
            let list: String = items.iter().map(|i| format!("- {i}\n")).collect();
            let source = format!(
                "---\nweight: {weight}\n---\n# Scenario: {name}\n## Category\n{category}\n\n\
                 ## Preconditions\n{list}\n## Behavioral Expectation\n{expectation}\n\n\
                 ## Evaluation Method\n{fences}## Pass Criteria\n{expectation}\n"
            );
            let parsed = parse("s.md", source.as_bytes());
            prop_assert_eq!(parsed.name.as_deref(), Some(name.as_str()));
            prop_assert_eq!(parsed.category, category);
            let scenario = parsed.scenario.unwrap();
            let code: Vec<_> = scenario.evaluation.iter().map(|b| b.code.trim_end_matches('\n')).collect();
            let expected: Vec<_> = blocks.iter().map(|b| b.trim_end_matches('\n')).collect();
            prop_assert_eq!(code, expected);
            let lines: Vec<_> = source.lines().collect();
            for block in &scenario.evaluation {
                prop_assert_eq!(block.code.lines().next(), Some(lines[block.line - 1]));
            }
            let texts: Vec<_> = scenario.preconditions.iter().map(|p| p.text.as_str()).collect();
            prop_assert_eq!(texts, items);
            prop_assert_eq!(&scenario.expectation, &expectation);
            prop_assert_eq!(&scenario.pass_criteria, &expectation);
            prop_assert_eq!(scenario.front.weight, f64::from(weight));
        }
    }
}
