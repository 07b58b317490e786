//! Codex, by `codex exec`: the prompt on stdin, one JSON event a line on stdout.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use super::{
    AgentError, Backend, Launch, LaunchStdin, Turn, Usage, check_installed, check_login,
    json_lines, text,
};
use crate::config::{AgentSettings, Environment};

const HINT: &str = "install it with `npm install -g @openai/codex`, or choose another \
                    `agent.backend`";

/// The backend `codex`.
#[derive(Debug)]
pub(super) struct Codex;

impl Backend for Codex {
    fn name(&self) -> &'static str {
        "codex"
    }

    fn login_variables(&self) -> &'static [&'static str] {
        &["CODEX_API_KEY", "OPENAI_API_KEY"]
    }

    fn hosts(&self) -> &'static [&'static str] {
        &["api.openai.com:443", "chatgpt.com:443", "auth.openai.com:443"]
    }

    fn check(&self, settings: &AgentSettings, env: &Environment) -> Result<(), AgentError> {
        check_installed("codex", HINT, env)?;
        check_login(self, settings, env, ".codex/auth.json")
    }

    fn launch(&self, turn: &Turn<'_>) -> Result<Launch, AgentError> {
        let mut args: Vec<OsString> =
            ["exec", "--json", "--skip-git-repo-check", "--ephemeral", "--color", "never"]
                .map(OsString::from)
                .into();
        let sandbox = if turn.confined { "danger-full-access" } else { "workspace-write" };
        args.extend(["-s".into(), sandbox.into()]);
        args.extend(["-C".into(), turn.paths.workspace.clone().into()]);
        if let Some(model) = turn.model {
            args.extend(["-m".into(), model.into()]);
        }
        args.extend(turn.settings.args.iter().map(OsString::from));
        // The prompt comes on stdin; with a prompt in argv too, stdin would be appended to it.
        args.push("-".into());
        Ok(Launch {
            backend: self.name(),
            program: "codex".into(),
            args,
            stdin: LaunchStdin::File(turn.paths.prompt_file.clone()),
            env_extra: BTreeMap::from([(
                "CODEX_HOME".into(),
                turn.paths.home.join(".codex").into(),
            )]),
            // `codex exec` takes a key from CODEX_API_KEY alone.
            env_aliases: vec![("CODEX_API_KEY", "OPENAI_API_KEY")],
            // codex refuses a CODEX_HOME that is not there.
            home_dirs: vec![PathBuf::from(".codex")],
            reads: Vec::new(),
            confined: None,
            way_out: None,
        })
    }

    fn usage(&self, stdout: &[u8]) -> Usage {
        // One event a turn, each with the turn's own figures; a resumed thread has several.
        json_lines(stdout).filter(|event| event["type"] == "turn.completed").fold(
            Usage::default(),
            |usage, event| {
                usage.plus(Usage {
                    input_tokens: event["usage"]["input_tokens"].as_u64(),
                    output_tokens: event["usage"]["output_tokens"].as_u64(),
                    cached_tokens: event["usage"]["cached_input_tokens"].as_u64(),
                    cache_write_tokens: event["usage"]["cache_write_input_tokens"].as_u64(),
                    cost_usd: None,
                })
            },
        )
    }

    fn says(&self, stdout: &[u8]) -> Option<String> {
        json_lines(stdout).rev().find_map(|event| match event["type"].as_str()? {
            "item.completed" if event["item"]["type"] == "agent_message" => {
                text(&event["item"]["text"])
            }
            "turn.failed" => text(&event["error"]["message"]),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DONE: &[u8] = include_bytes!("../../tests/fixtures/streams/codex/done.jsonl");
    const FAILED: &[u8] = include_bytes!("../../tests/fixtures/streams/codex/failed.jsonl");

    #[test]
    fn a_completed_turn_says_its_tokens_and_no_cost() {
        let expected = Usage {
            input_tokens: Some(2_466),
            output_tokens: Some(41),
            cached_tokens: Some(0),
            cache_write_tokens: Some(0),
            cost_usd: None,
        };
        assert_eq!(Codex.usage(DONE), expected);
        assert_eq!(Codex.says(DONE).as_deref(), Some("All done."));
    }

    #[test]
    fn a_failed_turn_says_why_and_no_tokens() {
        assert_eq!(Codex.usage(FAILED), Usage::default());
        assert_eq!(
            Codex.says(FAILED).as_deref(),
            Some("exceeded retry limit, last status: 429 Too Many Requests")
        );
    }
}
