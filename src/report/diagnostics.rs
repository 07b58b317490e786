//! Shows what was found in a file that a person wrote, with a caret below the place.

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};

use crate::scenario::{Diagnostic, Severity};
use crate::text::visible;

/// Returns the finding as people read it, without a line feed at the end.
///
/// `source` is the file's text; without it, or where the finding is about the file as a whole, the
/// place is named and not shown.
pub fn show_diagnostic(diagnostic: &Diagnostic, source: Option<&str>, styled: bool) -> String {
    let level = match diagnostic.severity {
        Severity::Warning => Level::WARNING,
        Severity::Error => Level::ERROR,
    };
    let title = level.primary_title(visible(&diagnostic.message)).id(&diagnostic.code);
    let shown = source.zip(diagnostic.span.clone()).filter(|(source, span)| {
        source.get(span.clone()).is_some() && visible(source).len() == source.len()
    });
    let group = match shown {
        Some((source, span)) => title.element(
            Snippet::source(source)
                .path(diagnostic.file.as_str())
                .annotation(AnnotationKind::Primary.span(span)),
        ),
        None => {
            let origin = Origin::path(diagnostic.file.as_str());
            title.element(match diagnostic.span {
                Some(_) => origin.line(diagnostic.line).char_column(diagnostic.column),
                None => origin,
            })
        }
    };
    let group = match diagnostic.help.as_str() {
        "" => group,
        help => group.element(Level::HELP.message(visible(help))),
    };
    let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
    renderer.render(&[group])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnostic(span: Option<std::ops::Range<usize>>) -> Diagnostic {
        Diagnostic {
            code: "S002".to_owned(),
            severity: Severity::Error,
            message: "no evaluation".to_owned(),
            file: "scenarios/a.md".to_owned(),
            span,
            line: 2,
            column: 4,
            help: "add a block of bash".to_owned(),
        }
    }

    #[test]
    fn a_place_is_shown_with_a_caret() {
        assert_eq!(
            show_diagnostic(&diagnostic(Some(5..8)), Some("# A\n\nsee here\n"), false),
            "error[S002]: no evaluation\n --> scenarios/a.md:3:1\n  |\n3 | see here\n  | ^^^\n  |\n  \
             = help: add a block of bash"
        );
    }

    #[test]
    fn a_place_that_cannot_be_shown_is_named() {
        let expected =
            "error[S002]: no evaluation\n--> scenarios/a.md:2:4\n = help: add a block of bash";
        for source in [None, Some("short"), Some("an \u{1b}[2J escape")] {
            let shown =
                show_diagnostic(&diagnostic(Some(4..8)), source.filter(|s| s.len() != 5), false);
            assert_eq!(shown, expected);
        }
    }
}
