//! Claude Code, by `claude -p`: the prompt on stdin, one JSON event a line on stdout.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use serde_json::Value;

use super::stream::{by_status, reset_at};
use super::{
    Activity, AgentError, Backend, Launch, LaunchStdin, Reader, Telling, Tool, Trouble, Turn,
    Usage, UsageTold, check_login, check_tool, text,
};
use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::config::{AgentSettings, Environment};
use crate::convergence::TurnClass;

/// The backend `claude`.
#[derive(Debug)]
pub(super) struct Claude;

impl Backend for Claude {
    fn name(&self) -> &'static str {
        "claude"
    }

    fn tool(&self) -> Option<Tool> {
        let hint = "install it with `npm install -g @anthropic-ai/claude-code`, or choose another `agent.backend`";
        Some(Tool { program: "claude", tested: ("2.1.197", "2.1.197"), hint })
    }

    fn login_variables(&self) -> &'static [&'static str] {
        &["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"]
    }

    fn hosts(&self) -> &'static [&'static str] {
        &["api.anthropic.com:443", "platform.claude.com:443", "claude.ai:443"]
    }

    fn check(&self, settings: &AgentSettings, env: &Environment) -> Result<(), AgentError> {
        check_tool(self, env)?;
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
        if let Some(money) = turn.money {
            args.extend(["--max-budget-usd".into(), format!("{money:.4}").into()]);
        }
        if let Some(effort) = &turn.settings.effort {
            args.extend(["--effort".into(), effort.into()]);
        }
        if let Some(most) = turn.settings.max_turns {
            args.extend(["--max-turns".into(), most.to_string().into()]);
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
        if let Some(url) = turn.base_url {
            env_extra.insert("ANTHROPIC_BASE_URL".into(), url.into());
        }
        if turn.confined {
            env_extra.insert("IS_SANDBOX".into(), "1".into());
        }
        env_extra.insert("CLAUDE_CONFIG_DIR".into(), turn.paths.home.join(".claude").into());
        Ok(Launch {
            stdin: LaunchStdin::File(turn.paths.prompt_file.clone()),
            env_extra,
            home_dirs: vec![PathBuf::from(".claude")],
            ..Launch::of(self.name(), "claude", args)
        })
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::<Events>::default()
    }

    fn tells_usage(&self) -> UsageTold {
        UsageTold::AsItGoes
    }
}

#[derive(Default)]
struct Events {
    /// The message whose usage was told last: it stands in each of the events of a message.
    message: String,
    /// The tools that are in use, by the id of the use.
    tools: BTreeMap<String, Activity>,
    /// What kind of error the last message stands for.
    error: Option<String>,
    resets: Option<Timestamp>,
}

impl Reader for Events {
    fn read(&mut self, event: &Value, telling: &mut Telling<'_>) {
        match event["type"].as_str() {
            Some("system") if event["subtype"] == "init" => telling.model(&event["model"]),
            Some("system") if event["subtype"] == "api_retry" => {
                let class = class(event["error_status"].as_u64(), event["error"].as_str());
                let status = event["error_status"].as_u64();
                let why = status.map_or("no connection".to_owned(), |status| status.to_string());
                telling.troubled(Trouble::of(class, format!("the provider is asked again: {why}")));
            }
            Some("assistant") => {
                // An error comes as a message, too, that no model has written.
                self.error = text(&event["error"]);
                if self.error.is_none() {
                    self.message(&event["message"], telling);
                }
            }
            Some("user") => self.used_tools(&event["message"], telling),
            Some("rate_limit_event") if event["rate_limit_info"]["status"] == "rejected" => {
                let at = event["rate_limit_info"]["resetsAt"].as_f64();
                self.resets = at.and_then(|at| reset_at(at, SystemClock.now()));
            }
            Some("result") => self.result(event, telling),
            _ => {}
        }
    }
}

impl Events {
    fn message(&mut self, message: &Value, telling: &mut Telling<'_>) {
        let id = message["id"].as_str().unwrap_or_default();
        if message["usage"].is_object() && id != self.message {
            id.clone_into(&mut self.message);
            telling.tell(Activity::Used(of_a_call(&message["usage"])));
        }
        for block in message["content"].as_array().into_iter().flatten() {
            match block["type"].as_str() {
                Some("text") => telling.said(&block["text"]),
                Some("tool_use") => {
                    let tool = block["name"].as_str().unwrap_or("a tool");
                    telling.tell(Activity::Began { what: named(tool, &block["input"]) });
                    let id = block["id"].as_str().unwrap_or_default().to_owned();
                    self.tools.insert(id, use_of(block));
                }
                _ => {}
            }
        }
    }

    /// Tells of the tools whose results a message brings; those that were denied are told of at the end.
    fn used_tools(&mut self, message: &Value, telling: &mut Telling<'_>) {
        for block in message["content"].as_array().into_iter().flatten() {
            let id = block["tool_use_id"].as_str().unwrap_or_default();
            let Some(mut activity) = self.tools.remove(id) else { continue };
            let code = exit_code(block);
            if let Activity::Ran { exit, .. } = &mut activity {
                *exit = code;
            }
            // A tool that failed before it did anything, or was denied.
            if block["is_error"] != true || code.is_some() {
                telling.tell(activity);
            }
        }
    }

    fn result(&mut self, event: &Value, telling: &mut Telling<'_>) {
        telling.used_in_all(Usage { cost_usd: event["total_cost_usd"].as_f64(), ..tokens(event) });
        for denied in event["permission_denials"].as_array().into_iter().flatten() {
            let tool = denied["tool_name"].as_str().unwrap_or("a tool");
            let what = named(tool, &denied["tool_input"]);
            telling.tell(Activity::WasDenied { what });
        }
        let subtype = event["subtype"].as_str().unwrap_or_default();
        let said = text(&event["result"]).or_else(|| text(&event["errors"][0]));
        if subtype == "success" && event["is_error"] != true {
            telling.said(&event["result"]);
            if event["stop_reason"] == "refusal" {
                let said = said.unwrap_or_else(|| "the model refused".to_owned());
                telling.failed(Trouble::of(TurnClass::Refused, said));
            } else {
                telling.done();
            }
            return;
        }
        let class = match subtype {
            "error_max_turns" => TurnClass::MaxTurns,
            "error_max_budget_usd" => TurnClass::Budget,
            // Errors of the provider are a `success` that is an error.
            "success" => class(event["api_error_status"].as_u64(), self.error.as_deref()),
            _ => TurnClass::Crashed,
        };
        let message = said.unwrap_or_else(|| subtype.to_owned());
        let resets = self.resets.filter(|_| class == TurnClass::RateLimited);
        telling.failed(Trouble { class, message, resets });
    }
}

/// Returns what an error of the provider is, by its HTTP status, none where there was no answer, and by
/// claude's own word for it.
fn class(status: Option<u64>, error: Option<&str>) -> TurnClass {
    match (status, error) {
        (Some(status), _) if by_status(status, error).is_some() => {
            by_status(status, error).unwrap_or(TurnClass::Crashed)
        }
        (_, Some("authentication_failed" | "oauth_org_not_allowed")) => TurnClass::Authentication,
        (_, Some("rate_limit")) => TurnClass::RateLimited,
        (_, Some("billing_error")) => TurnClass::Quota,
        (None, Some("server_error" | "unknown") | None) => TurnClass::Network,
        _ => TurnClass::Crashed,
    }
}

/// Returns what the use of a tool is, once it is over.
fn use_of(block: &Value) -> Activity {
    let name = block["name"].as_str().unwrap_or("a tool");
    let input = &block["input"];
    match (name, input["file_path"].as_str()) {
        ("Edit" | "Write" | "MultiEdit" | "NotebookEdit", Some(path)) => {
            Activity::Changed { paths: vec![path.to_owned()] }
        }
        _ => Activity::Ran { what: named(name, input), exit: None },
    }
}

/// Reads the exit code of a command from its result; none of a tool that has none.
fn exit_code(result: &Value) -> Option<i32> {
    let text = result["content"].as_str()?.strip_prefix("Exit code ")?;
    text.lines().next()?.trim().parse().ok()
}

/// Names the use of a tool: the command, or the tool and the first thing that it was used on.
fn named(tool: &str, input: &Value) -> String {
    let first = || input.as_object()?.values().find_map(Value::as_str);
    match (input["command"].as_str(), first()) {
        (Some(command), _) => command.to_owned(),
        (None, Some(first)) => format!("{tool} {first}"),
        (None, None) => tool.to_owned(),
    }
}

/// Reads the tokens of one call of the model.
fn of_a_call(usage: &Value) -> Usage {
    let sum = |names: &[&str]| {
        names.iter().filter_map(|name| usage[*name].as_u64()).reduce(u64::saturating_add)
    };
    Usage {
        input_tokens: sum(&[
            "input_tokens",
            "cache_read_input_tokens",
            "cache_creation_input_tokens",
        ]),
        output_tokens: sum(&["output_tokens"]),
        cached_tokens: sum(&["cache_read_input_tokens"]),
        cache_write_tokens: sum(&["cache_creation_input_tokens"]),
        cost_usd: None,
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
        None => of_a_call(&result["usage"]),
    }
}
