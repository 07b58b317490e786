//! Any agent with a command line: an argv with placeholders, and nothing known of its stream.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use serde_json::Value;

use super::{
    Activity, AgentError, Backend, Launch, LaunchStdin, Reader, Telling, Turn, check_installed,
    check_login, nearest,
};
use crate::config::{AgentSettings, Environment};
use crate::text::tail;

/// How many characters of what the agent printed last are taken for its message.
const LAST_WORDS: usize = 2_000;

const PLACEHOLDERS: [&str; 4] = ["prompt_file", "feedback_file", "workspace", "model"];

/// The backend `command`.
#[derive(Debug)]
pub(super) struct AnyCommand;

impl Backend for AnyCommand {
    fn name(&self) -> &'static str {
        "command"
    }

    fn login_variables(&self) -> &'static [&'static str] {
        &[]
    }

    fn hosts(&self) -> &'static [&'static str] {
        &[]
    }

    fn check(&self, settings: &AgentSettings, env: &Environment) -> Result<(), AgentError> {
        check_installed(program(settings)?, "install it, or correct `agent.command`", env)?;
        match settings.login {
            Some(_) => check_login(self, settings, env, "..."),
            None => Ok(()),
        }
    }

    fn launch(&self, turn: &Turn<'_>) -> Result<Launch, AgentError> {
        program(turn.settings)?;
        let mut argv = turn
            .settings
            .command
            .iter()
            .chain(&turn.settings.args)
            .map(|argument| expand(argument, turn))
            .collect::<Result<Vec<_>, _>>()?
            .into_iter();
        let program = argv.next().unwrap_or_default();
        let mut launch = Launch::of(self.name(), program, argv.collect());
        if turn.settings.stdin {
            launch.stdin = LaunchStdin::File(turn.paths.prompt_file.clone());
        }
        Ok(launch)
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::<Text>::default()
    }

    fn tells_its_end(&self) -> bool {
        false
    }
}

/// Reads what nothing is known of: its last words are its message.
#[derive(Default)]
struct Text {
    last: String,
}

impl Reader for Text {
    fn read(&mut self, event: &Value, telling: &mut Telling<'_>) {
        self.read_text(&event.to_string(), telling);
    }

    fn read_text(&mut self, line: &str, telling: &mut Telling<'_>) {
        let (line, _) = tail(line, LAST_WORDS);
        self.last.push_str(line);
        self.last.push('\n');
        if self.last.len() > 8 * LAST_WORDS {
            self.last = tail(&self.last, LAST_WORDS).0.to_owned();
        }
        telling.tell(Activity::Noted { text: line.to_owned() });
    }

    fn close(&mut self, _: Option<i32>, telling: &mut Telling<'_>) {
        telling.said(&Value::from(tail(self.last.trim(), LAST_WORDS).0));
    }
}

fn program(settings: &AgentSettings) -> Result<&str, AgentError> {
    settings.command.first().map(String::as_str).filter(|name| !name.is_empty()).ok_or(
        AgentError::Missing {
            backend: "command",
            key: "agent.command",
            hint: "write the argv as a list, for example `[my-agent, --prompt, \"{prompt_file}\"]`",
        },
    )
}

/// Fills in the placeholders of `argument`.
///
/// Only `{name}` of lower-case letters and `_` is a placeholder, and not behind a `$`, so that JSON
/// and shell text pass as they are; `{{name}}` is the text `{name}`.
fn expand(argument: &str, turn: &Turn<'_>) -> Result<OsString, AgentError> {
    let mut out = Vec::with_capacity(argument.len());
    let mut rest = argument;
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        out.extend_from_slice(before.as_bytes());
        let doubled = from.starts_with("{{");
        let inner = &from[1 + usize::from(doubled)..];
        let length =
            inner.find(|c: char| !(c.is_ascii_lowercase() || c == '_')).unwrap_or(inner.len());
        let (name, after) = inner.split_at(length);
        let closing = if doubled { "}}" } else { "}" };
        if name.is_empty() || before.ends_with('$') || !after.starts_with(closing) {
            out.push(b'{');
            rest = &from[1..];
            continue;
        }
        if doubled {
            out.extend_from_slice(format!("{{{name}}}").as_bytes());
        } else {
            out.extend_from_slice(value(name, turn)?.as_bytes());
        }
        rest = &after[closing.len()..];
    }
    out.extend_from_slice(rest.as_bytes());
    Ok(OsString::from_vec(out))
}

fn value(name: &str, turn: &Turn<'_>) -> Result<OsString, AgentError> {
    match name {
        "prompt_file" => Ok(turn.paths.prompt_file.clone().into()),
        "feedback_file" => Ok(turn.paths.feedback_file.clone().into()),
        "workspace" => Ok(turn.paths.workspace.clone().into()),
        "model" => turn.model.map(OsString::from).ok_or(AgentError::Missing {
            backend: "command",
            key: "agent.model",
            hint: "`agent.command` uses {model}; name the model as the agent does",
        }),
        _ => Err(AgentError::UnknownPlaceholder {
            found: name.to_owned(),
            nearest: nearest(name, PLACEHOLDERS.into_iter()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract::Sample;
    use super::super::stream::read_all;
    use super::*;

    fn check(argument: &str, expected: &str) {
        let sample = Sample::default();
        assert_eq!(expand(argument, &sample.turn()).unwrap(), expected, "{argument}");
    }

    fn check_refused(argument: &str, expected: &str) {
        let mut sample = Sample::default();
        sample.model = None;
        assert_eq!(expand(argument, &sample.turn()).unwrap_err().to_string(), expected);
    }

    #[test]
    fn placeholders_are_filled_in_anywhere_in_an_argument() {
        check("--file={prompt_file}:{model}", "--file=/s/prompt.md:m-1");
        check("{workspace}{feedback_file}", "/s/ws/s/ws/feedback.md");
    }

    #[test]
    fn json_and_shell_text_pass_as_they_are() {
        for text in [r#"{"a": {}}"#, "${model} {", "{Model}", "{é}", "{"] {
            check(text, text);
        }
    }

    #[test]
    fn doubled_braces_stand_for_the_text_itself() {
        check("{{model}} {{nobody}}", "{model} {nobody}");
    }

    #[test]
    fn an_unknown_placeholder_is_named_with_the_known_ones() {
        check_refused(
            "{prompt}",
            "`agent.command` has `{prompt}` (did you mean `prompt_file`?); it can have \
             {prompt_file}, {feedback_file}, {workspace} and {model}, and `{{prompt}}` stands for \
             the text itself",
        );
    }

    #[test]
    fn a_model_that_nobody_named_is_asked_for() {
        check_refused(
            "{model}",
            "agent backend `command` needs `agent.model` in dark-factory.yaml; `agent.command` \
             uses {model}; name the model as the agent does",
        );
    }

    #[test]
    fn the_last_words_are_bounded() {
        let says = |text: &str| read_all(AnyCommand.reader(), text.as_bytes(), Some(0)).said;
        assert_eq!(says(&"é".repeat(5_000)).unwrap().chars().count(), LAST_WORDS);
        assert!(says(&"a line\n".repeat(50_000)).unwrap().chars().count() <= LAST_WORDS);
        assert_eq!(says("one\ntwo {}\n").as_deref(), Some("one\ntwo {}"));
        assert_eq!(says(" \n"), None);
    }

    proptest::proptest! {
        #[test]
        fn text_without_braces_never_changes(text in "[^{]*") {
            check(&text, &text);
        }
    }
}
