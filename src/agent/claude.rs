//! Claude Code, by `claude -p`: the prompt on stdin, one JSON event a line on stdout.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use serde_json::Value;

use super::{
    AgentError, Backend, Launch, LaunchStdin, Turn, Usage, check_installed, check_login,
    json_lines, text,
};
use crate::config::{AgentSettings, Environment};

const HINT: &str = "install it with `npm install -g @anthropic-ai/claude-code`, or choose another \
                    `agent.backend`";

/// The backend `claude`.
#[derive(Debug)]
pub(super) struct Claude;

impl Backend for Claude {
    fn name(&self) -> &'static str {
        "claude"
    }

    fn login_variables(&self) -> &'static [&'static str] {
        &["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"]
    }

    fn hosts(&self) -> &'static [&'static str] {
        &["api.anthropic.com:443", "platform.claude.com:443", "claude.ai:443"]
    }

    fn check(&self, settings: &AgentSettings, env: &Environment) -> Result<(), AgentError> {
        check_installed("claude", HINT, env)?;
        check_login(self, settings, env, ".claude/.credentials.json")
    }

    fn launch(&self, turn: &Turn<'_>) -> Result<Launch, AgentError> {
        // Unconfined, edits are allowed, and of commands only the gates' own `make`; `agent.args` widens
        // that.
        let permissions: &[&str] = if turn.confined {
            &["--permission-mode", "bypassPermissions"]
        } else {
            &["--permission-mode", "acceptEdits", "--allowedTools", "Bash(make:*)"]
        };
        let mut args: Vec<OsString> = ["-p", "--output-format", "stream-json", "--verbose"]
            .iter()
            .chain(permissions)
            .map(OsString::from)
            .collect();
        if let Some(model) = turn.model {
            args.extend(["--model".into(), model.into()]);
        }
        args.extend(turn.settings.args.iter().map(OsString::from));
        let mut env_extra = BTreeMap::from(
            [
                ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
                ("DISABLE_AUTOUPDATER", "1"),
                // The default retries a refused login for longer than anybody would wait.
                ("CLAUDE_CODE_MAX_RETRIES", "5"),
            ]
            .map(|(name, value)| (OsString::from(name), OsString::from(value))),
        );
        if turn.confined {
            env_extra.insert("IS_SANDBOX".into(), "1".into());
        }
        env_extra.insert("CLAUDE_CONFIG_DIR".into(), turn.paths.home.join(".claude").into());
        Ok(Launch {
            backend: self.name(),
            program: "claude".into(),
            args,
            stdin: LaunchStdin::File(turn.paths.prompt_file.clone()),
            env_extra,
            env_aliases: Vec::new(),
            home_dirs: vec![PathBuf::from(".claude")],
            reads: Vec::new(),
            confined: None,
            way_out: None,
        })
    }

    fn usage(&self, stdout: &[u8]) -> Usage {
        json_lines(stdout).rev().find(|event| event["type"] == "result").map_or_else(
            Usage::default,
            |result| Usage { cost_usd: result["total_cost_usd"].as_f64(), ..tokens(&result) },
        )
    }

    fn says(&self, stdout: &[u8]) -> Option<String> {
        json_lines(stdout).rev().find_map(|event| match event["type"].as_str()? {
            "result" => text(&event["result"]).or_else(|| text(&event["errors"][0])),
            "assistant" => event["message"]["content"]
                .as_array()?
                .iter()
                .rev()
                .find_map(|block| text(&block["text"])),
            _ => None,
        })
    }
}

/// Reads the tokens of a result event.
///
/// `modelUsage` goes first: where a budget ended the turn, `usage` is all zeros.
fn tokens(result: &Value) -> Usage {
    let sum = |of: &Value, names: &[&str]| {
        names.iter().filter_map(|name| of[*name].as_u64()).reduce(u64::saturating_add)
    };
    let models = result["modelUsage"].as_object().filter(|models| !models.is_empty());
    match models {
        Some(models) => models.values().fold(Usage::default(), |usage, model| {
            usage.plus(Usage {
                input_tokens: sum(
                    model,
                    &["inputTokens", "cacheReadInputTokens", "cacheCreationInputTokens"],
                ),
                output_tokens: sum(model, &["outputTokens"]),
                cached_tokens: sum(model, &["cacheReadInputTokens"]),
                cache_write_tokens: sum(model, &["cacheCreationInputTokens"]),
                cost_usd: None,
            })
        }),
        None => Usage {
            input_tokens: sum(
                &result["usage"],
                &["input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"],
            ),
            output_tokens: sum(&result["usage"], &["output_tokens"]),
            cached_tokens: sum(&result["usage"], &["cache_read_input_tokens"]),
            cache_write_tokens: sum(&result["usage"], &["cache_creation_input_tokens"]),
            cost_usd: None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DONE: &[u8] = include_bytes!("../../tests/fixtures/streams/claude/done.jsonl");
    const BUDGET: &[u8] = include_bytes!("../../tests/fixtures/streams/claude/budget.jsonl");
    const CUT: &[u8] = include_bytes!("../../tests/fixtures/streams/claude/cut.jsonl");

    fn check(stream: &[u8], usage: (Option<u64>, Option<u64>, Option<f64>), says: &str) {
        let read = Claude.usage(stream);
        assert_eq!((read.input_tokens, read.output_tokens, read.cost_usd), usage);
        assert_eq!(Claude.says(stream).as_deref(), Some(says));
    }

    #[test]
    fn a_finished_turn_says_its_cost_and_counts_cached_tokens_as_input() {
        check(DONE, (Some(2_030), Some(45), Some(0.0113)), "All done.");
    }

    #[test]
    fn a_turn_that_its_budget_ended_takes_the_tokens_from_the_models() {
        check(BUDGET, (Some(1_210), Some(20), Some(0.005_65)), "Reached maximum budget ($0.001)");
    }

    #[test]
    fn a_stream_without_its_end_has_no_usage_and_still_a_message() {
        check(CUT, (None, None, None), "Looking at the spec.");
    }
}
