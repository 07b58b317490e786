//! The prompt: a template that people edit, filled in for one turn.
//!
//! Undefined names are errors: a misspelt one would else leave a hole in what the agent is told.

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior};
use serde::Serialize;

use super::nearest;
use crate::text::one_line;

/// The template where the person has none of their own.
pub const DEFAULT_PROMPT: &str = include_str!("prompts/fix.md");

const NAMES: [&str; 9] = [
    "iteration",
    "turns_left",
    "feedback_file",
    "specs",
    "protected",
    "write",
    "workspace",
    "product",
    "answer",
];

/// What a template can speak of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PromptContext {
    /// Which candidate this turn makes.
    pub iteration: u32,
    /// How many turns remain after this one.
    pub turns_left: u32,
    /// The feedback on the last candidate, as the agent reaches it.
    pub feedback_file: String,
    /// The spec files, relative to the workspace, sorted.
    pub specs: Vec<String>,
    /// Globs of the paths that are dropped from what the agent delivers.
    pub protected: Vec<String>,
    /// Globs of the only paths that are accepted; none accepts all that are not protected.
    pub write: Option<Vec<String>>,
    /// The workspace's path: the product's directory, where the agent stands.
    pub workspace: String,
    /// That directory in the repository that holds it; empty where the product is the repository.
    pub product: String,
    /// A question of the agent's that a person has answered since its last turn.
    pub answer: Option<Answer>,
}

/// A question and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// What the agent asked.
    pub question: String,
    /// What the person said.
    pub answer: String,
}

/// A template that can't be filled in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}:{line}: {message}")]
pub struct PromptError {
    /// The template's file.
    pub name: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub message: String,
}

/// Fills in `template`, the text of the file `name`.
///
/// # Errors
/// The template has a mistake, or a name that there is not; both with their line.
pub fn render(template: &str, name: &str, context: &PromptContext) -> Result<String, PromptError> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    let mut syntax = environment.syntax().to_builder();
    syntax.trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true);
    environment.set_syntax(syntax.build().map_err(|error| explain(template, name, &error))?);
    environment.set_debug(true);
    environment
        .render_named_str(name, template, Serde(context))
        .map_err(|error| explain(template, name, &error))
}

fn explain(template: &str, name: &str, error: &minijinja::Error) -> PromptError {
    let line = error.line().unwrap_or(1);
    let place = error.range().and_then(|range| template.get(range)).map(|text| one_line(text, 60));
    let message = match (error.kind(), error.detail(), place) {
        (ErrorKind::UndefinedError, _, Some(found)) => {
            let first = found.split(['.', '[', ' ', '|']).next().unwrap_or(&found).to_owned();
            let hint = nearest(&first, NAMES.into_iter())
                .filter(|known| *known != first)
                .map(|known| format!(" (did you mean `{known}`?)"))
                .unwrap_or_default();
            format!("`{found}` is not defined{hint}; there are {}", NAMES.join(", "))
        }
        (kind, Some(detail), _) => format!("{kind}: {detail}"),
        (kind, None, Some(found)) => format!("{kind}: `{found}`"),
        (kind, None, None) => kind.to_string(),
    };
    PromptError { name: name.to_owned(), line, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> PromptContext {
        PromptContext {
            iteration: 2,
            turns_left: 3,
            feedback_file: "/s/feedback_iter_1.md".into(),
            specs: vec!["specs/cli.md".into()],
            protected: vec!["scenarios/**".into(), "dark-factory.yaml".into()],
            workspace: "/s/ws".into(),
            ..PromptContext::default()
        }
    }

    fn check(template: &str, expected: &str) {
        assert_eq!(render(template, "fix.md", &context()).as_deref(), Ok(expected));
    }

    fn check_refused(template: &str, expected: &str) {
        assert_eq!(render(template, "fix.md", &context()).unwrap_err().to_string(), expected);
    }

    #[test]
    fn the_default_names_files_rules_and_what_is_protected() {
        let text = render(DEFAULT_PROMPT, "fix.md", &context()).unwrap();
        for part in [
            "/s/feedback_iter_1.md",
            "- `specs/cli.md`",
            "- `scenarios/**`",
            "- `dark-factory.yaml`",
            "QUESTION.md",
            "3 more turns",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(text.contains("\n\n## Read first\n"), "{text}");
        for absent in ["You asked", "Only these paths", "{{", "{%", "\n\n\n"] {
            assert!(!text.contains(absent), "{absent}: {text}");
        }
    }

    #[test]
    fn the_default_tells_of_an_answer_and_of_the_only_paths() {
        let context = PromptContext {
            turns_left: 0,
            specs: Vec::new(),
            write: Some(vec!["src/**".into()]),
            answer: Some(Answer { question: "Which port?".into(), answer: "{{ 8080 }}".into() }),
            ..context()
        };
        let text = render(DEFAULT_PROMPT, "fix.md", &context).unwrap();
        for part in ["Which port?", "{{ 8080 }}", "- `src/**`", "last turn"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("\n\n\n"), "{text}");
    }

    #[test]
    fn text_without_tags_is_kept_to_the_last_byte() {
        check("a <b> & \"c\"\n", "a <b> & \"c\"\n");
        check("{{ iteration }}/{{ turns_left }}", "2/3");
    }

    #[test]
    fn a_misspelt_name_is_an_error_with_its_line() {
        check_refused(
            "a\n{{ iteraton }}\n",
            "fix.md:2: `iteraton` is not defined (did you mean `iteration`?); there are iteration, \
             turns_left, feedback_file, specs, protected, write, workspace, product, answer",
        );
    }

    #[test]
    fn a_block_that_is_not_closed_is_an_error_with_its_line() {
        let error = render("a\n{% if write %}\n", "p/fix.md", &context()).unwrap_err();
        assert!(error.to_string().starts_with("p/fix.md:"), "{error}");
        assert!(error.message.starts_with("syntax error"), "{error}");
    }
}
