//! Findings in files that people wrote, as people, machines and GitHub read them.

use annotate_snippets::{AnnotationKind, Element, Group, Level, Origin, Renderer, Snippet};
use serde::Serialize;

use crate::config::ConfigError;
use crate::scenario::{Diagnostic, Entry, Severity, check_of};
use crate::text::{Subtree, one_line, plural, visible};

/// How many characters of a pass criterion are shown.
const WIDTH: usize = 160;

/// How findings are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// With the line and a caret, for people.
    #[default]
    Human,
    /// One JSON object.
    Json,
    /// Workflow commands, which GitHub shows beside the line.
    Github,
}

/// Returns `diagnostic` as people read it, with the line it is about and a caret, without a line
/// feed at the end. `source` is what the file holds; without it only the place is named.
pub fn show_diagnostic(diagnostic: &Diagnostic, source: Option<&str>, styled: bool) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut title = level.primary_title(visible(&diagnostic.message));
    if !diagnostic.code.is_empty() {
        title = title.id(diagnostic.code.as_str());
    }
    let mut group = Group::with_title(title).element(place(diagnostic, source));
    if !diagnostic.help.is_empty() {
        group = group.element(Level::HELP.message(visible(&diagnostic.help)));
    }
    renderer(styled).render(&[group])
}

fn renderer(styled: bool) -> Renderer {
    if styled { Renderer::styled() } else { Renderer::plain() }
}

/// Returns `error` as people read it, without a line feed at the end: each finding with its line
/// and a caret, or what kept the file from being read.
pub fn show_config_error(error: &ConfigError, styled: bool) -> String {
    if error.findings().is_empty() {
        let title = Level::ERROR.primary_title(visible(&chain(error)));
        return renderer(styled).render(&[Group::with_title(title)]);
    }
    let shown: Vec<String> =
        error.findings().iter().map(|found| show_diagnostic(found, error.text(), styled)).collect();
    shown.join("\n\n")
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

fn place<'a>(diagnostic: &Diagnostic, source: Option<&'a str>) -> Element<'a> {
    let path = visible(&diagnostic.file);
    let Some((line, span)) =
        diagnostic.span.as_ref().and_then(|span| cut(source?, span.start, span.end))
    else {
        return match &diagnostic.span {
            Some(_) => Origin::path(path).line(diagnostic.line).char_column(diagnostic.column),
            None => Origin::path(path),
        }
        .into();
    };
    Snippet::source(line)
        .line_start(diagnostic.line)
        .path(path)
        .annotation(AnnotationKind::Primary.span(span))
        .into()
}

/// Returns the line on which a span begins, and the part of the span that lies on it.
fn cut(source: &str, start: usize, end: usize) -> Option<(&str, std::ops::Range<usize>)> {
    let before = source.get(..start)?;
    let head = before.rfind('\n').map_or(0, |at| at + 1);
    let head = if source[head..].starts_with('\u{feff}') { head + 3 } else { head };
    let line = source.get(head..)?.split(['\n', '\r']).next()?;
    let from = start.checked_sub(head)?.min(line.len());
    // What was no UTF-8 may have become a character of more bytes.
    let end = end.saturating_sub(head).clamp(from, line.len());
    let end = (end..=line.len()).find(|at| line.is_char_boundary(*at))?;
    Some((line, from..end))
}

/// Returns `diagnostic` of a file of the product at `at` as one of the repository's, as GitHub names files.
pub fn from_root(diagnostic: &Diagnostic, at: &Subtree) -> Diagnostic {
    Diagnostic { file: at.path(&diagnostic.file), ..diagnostic.clone() }
}

/// Returns `diagnostic` as a workflow command, without a line feed at the end; its title is the
/// check's code and title.
pub fn github(diagnostic: &Diagnostic) -> String {
    let kind = match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let help = if diagnostic.help.is_empty() {
        String::new()
    } else {
        format!("\nhelp: {}", diagnostic.help)
    };
    format!(
        "::{kind} file={},line={},col={},title={}::{}",
        property(&diagnostic.file),
        diagnostic.line,
        diagnostic.column,
        property(&match check_of(&diagnostic.code) {
            Some(check) => format!("{} {}", check.code, check.title),
            None => diagnostic.code.clone(),
        }),
        data(&format!("{}{help}", diagnostic.message)),
    )
}

/// Escapes text for the message of a workflow command.
pub fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes text for a property of a workflow command.
pub fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// What is published of some findings.
#[derive(Serialize)]
struct Published<'a> {
    schema: &'static str,
    errors: usize,
    warnings: usize,
    findings: Vec<PublishedFinding<'a>>,
    /// Every pass criterion of the scenarios that can be judged, in their order.
    criteria: Vec<PublishedCriterion<'a>>,
}

#[derive(Serialize)]
struct PublishedCriterion<'a> {
    file: &'a str,
    line: usize,
    text: &'a str,
    /// Whether it is checked; else it is for people.
    checked: bool,
}

#[derive(Serialize)]
struct PublishedFinding<'a> {
    code: &'a str,
    severity: &'static str,
    message: &'a str,
    help: &'a str,
    file: &'a str,
    line: usize,
    column: usize,
    /// The bytes it is about, from the first to the one after the last.
    span: Option<[usize; 2]>,
}

/// Returns which pass criteria of `entries` are checked and which are for people: a line for each
/// file that has any, and one for each criterion.
pub fn criteria(entries: &[Entry]) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in entries {
        let criteria = entry.scenario.as_ref().map_or(&[][..], |s| &s.criteria);
        lines.extend((!criteria.is_empty()).then(|| visible(&entry.file)));
        lines.extend(criteria.iter().map(|criterion| {
            let kind = if criterion.check.is_some() { "checked" } else { "text" };
            format!("  {kind:<7}  {:>4}  {}", criterion.line, one_line(&criterion.text, WIDTH))
        }));
    }
    lines
}

/// Returns how many pass criteria of `entries` are checked, and how many are for people; none where
/// there is no criterion.
pub fn criteria_sum(entries: &[Entry]) -> Option<String> {
    let all = || entries.iter().filter_map(|entry| entry.scenario.as_ref().ok());
    let total = all().map(|scenario| scenario.criteria.len()).sum();
    let checked = all().flat_map(|s| &s.criteria).filter(|c| c.check.is_some()).count();
    (total > 0).then(|| {
        let text = total - checked;
        format!(
            "{}: {checked} checked, {text} for people",
            plural(total, "pass criterion").replace("criterions", "criteria")
        )
    })
}

/// Returns `diagnostics`, and the pass criteria of `entries`, as one JSON object, without a line
/// feed at the end.
pub fn json(diagnostics: &[Diagnostic], entries: &[Entry]) -> String {
    let count = |severity| diagnostics.iter().filter(|d| d.severity == severity).count();
    let published = Published {
        schema: "dark-factory/findings/1",
        errors: count(Severity::Error),
        warnings: count(Severity::Warning),
        findings: diagnostics
            .iter()
            .map(|d| PublishedFinding {
                code: &d.code,
                severity: match d.severity {
                    Severity::Error => "error",
                    Severity::Warning => "warning",
                },
                message: &d.message,
                help: &d.help,
                file: &d.file,
                line: d.line,
                column: d.column,
                span: d.span.as_ref().map(|span| [span.start, span.end]),
            })
            .collect(),
        criteria: entries
            .iter()
            .filter_map(|entry| Some((entry, entry.scenario.as_ref().ok()?)))
            .flat_map(|(entry, scenario)| scenario.criteria.iter().map(move |c| (entry, c)))
            .map(|(entry, criterion)| PublishedCriterion {
                file: &entry.file,
                line: criterion.line,
                text: &criterion.text,
                checked: criterion.check.is_some(),
            })
            .collect(),
    };
    // Texts and numbers always serialize.
    serde_json::to_string_pretty(&published).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config, scenario};

    fn found(source: &str, at: &str) -> Diagnostic {
        let start = source.find(at).unwrap();
        let (line, column) = crate::text::line_column(source, start);
        Diagnostic {
            code: "S010".into(),
            severity: Severity::Error,
            message: "unknown key `wieght`; did you mean `weight`?".into(),
            file: "scenarios/login.md".into(),
            span: Some(start..start + at.len()),
            line,
            column,
            help: "the keys here are `tags`".into(),
        }
    }

    fn check(source: &str, at: &str, line: &str, carets: &str) {
        let shown = show_diagnostic(&found(source, at), Some(source), false);
        assert!(shown.contains(line) && shown.contains(carets), "{shown}");
    }

    #[test]
    fn a_finding_shows_its_line_and_a_caret() {
        let source = "---\ntags: []\nwieght: 2\n";
        insta::assert_snapshot!(show_diagnostic(&found(source, "wieght"), Some(source), false), @r"
        error[S010]: unknown key `wieght`; did you mean `weight`?
         --> scenarios/login.md:3:1
          |
        3 | wieght: 2
          | ^^^^^^
          |
          = help: the keys here are `tags`
        ");
    }

    #[test]
    fn carets_stand_below_the_word_whatever_comes_before() {
        check("\u{feff}é wieght: 2\r\nx", "wieght", "1 | é wieght: 2\n", "|   ^^^^^^\n");
        check("a\n\n", "a\n\n", "1 | a\n", "| ^\n");
    }

    #[test]
    fn a_byte_that_is_no_text_has_its_caret() {
        let bytes = b"a\n\xc3\xa4\xff x\n";
        let found = scenario::parse("s.md", bytes).scenario.unwrap_err().remove(0);
        let shown = show_diagnostic(&found, Some(&String::from_utf8_lossy(bytes)), false);
        assert!(shown.contains("2 | ä\u{fffd} x\n  |  ^\n"), "{shown}");
    }

    #[test]
    fn criteria_are_shown_by_what_becomes_of_them() {
        let text =
            "# S\n## Evaluation\n```\nx\n```\n## Pass Criteria\n- stderr is empty\n- nice\u{1b}\n";
        let files = vec![(b"a.md".to_vec(), text.into()), (b"b.md".to_vec(), b"x".to_vec())];
        let set = scenario::from_files("s", files);
        assert_eq!(
            criteria(&set.entries),
            ["s/a.md", "  checked     7  stderr is empty", "  text        8  nice\\u{1b}"]
        );
        let sum = criteria_sum(&set.entries);
        assert_eq!(sum.as_deref(), Some("2 pass criteria: 1 checked, 1 for people"));
        assert_eq!(criteria_sum(&set.entries[1..]), None);
        let json: serde_json::Value = serde_json::from_str(&json(&[], &set.entries)).unwrap();
        assert_eq!(
            json["criteria"][0],
            serde_json::json!({"file": "s/a.md", "line": 7, "text": "stderr is empty", "checked": true})
        );
    }

    #[test]
    fn without_the_source_the_place_is_named() {
        let mut diagnostic = found("a\nwieght", "wieght");
        let shown = show_diagnostic(&diagnostic, None, false);
        assert!(shown.contains("--> scenarios/login.md:2:1\n"), "{shown}");
        diagnostic.span = None;
        let shown = show_diagnostic(&diagnostic, Some("a"), false);
        assert!(shown.contains("--> scenarios/login.md\n"), "{shown}");
    }

    #[test]
    fn nothing_that_a_file_holds_commands_the_terminal() {
        let source = "wieght\u{1b}[2J\u{202e}\u{7}";
        let mut diagnostic = found(source, "wieght");
        diagnostic.message = source.into();
        diagnostic.file = source.into();
        diagnostic.help = source.into();
        let shown = show_diagnostic(&diagnostic, Some(source), false);
        assert!(!shown.contains(['\u{1b}', '\u{202e}', '\u{7}']), "{shown:?}");
    }

    #[test]
    fn a_workflow_command_escapes_what_would_end_it() {
        let mut diagnostic = found("wieght", "wieght");
        diagnostic.file = "a,b:c%.md".into();
        diagnostic.message = "100%\nno".into();
        assert_eq!(
            github(&diagnostic),
            "::error file=a%2Cb%3Ac%25.md,line=1,col=1,title=S010 unknown key in the front \
             matter::100%25%0Ano%0Ahelp: the keys \
             here are `tags`"
        );
    }

    #[test]
    fn machines_get_one_object() {
        insta::assert_snapshot!(json(&[found("wieght", "wieght")], &[]), @r#"
        {
          "schema": "dark-factory/findings/1",
          "errors": 1,
          "warnings": 0,
          "findings": [
            {
              "code": "S010",
              "severity": "error",
              "message": "unknown key `wieght`; did you mean `weight`?",
              "help": "the keys here are `tags`",
              "file": "scenarios/login.md",
              "line": 1,
              "column": 1,
              "span": [
                0,
                6
              ]
            }
          ],
          "criteria": []
        }
        "#);
    }

    #[test]
    fn every_finding_of_the_settings_is_shown() {
        let error = config::parse(config::FILE, b"satisfaction:\n  threshold: 7\n").unwrap_err();
        insta::assert_snapshot!(show_config_error(&error, false), @r"
        error[C003]: the threshold is 7; it must be above 0 and at most 1
         --> dark-factory.yaml:2:14
          |
        2 |   threshold: 7
          |              ^
          |
          = help: for 7 percent write 0.07
        ");
        let root = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/nowhere", root.path().join(config::FILE)).unwrap();
        let shown = show_config_error(&config::load(root.path()).unwrap_err(), false);
        assert!(shown.starts_with("error: ") && shown.contains("No such file"), "{shown}");
    }
}
