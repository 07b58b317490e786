//! How the stream of Claude Code reads.

use std::collections::BTreeMap;

use serde_json::Value;

use super::claude_usage::{of_a_call, of_a_turn};
use super::stream::{NO_MODEL, by_status, reset_at};
use super::{Activity, Reader, Telling, Trouble, Usage, text};
use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::convergence::TurnClass;

#[derive(Default)]
pub(super) struct Events {
    /// The message whose usage was told last: it stands in each of the events of a message.
    message: String,
    /// Whether the model's own events are in the stream, which tell the usage as it is billed: that of a
    /// message has what it began with, and next to nothing of what it wrote.
    partial: bool,
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
                let status = event["error_status"].as_u64();
                let class = class(status, event["error"].as_str());
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
            Some("stream_event") => self.partial(&event["event"], telling),
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
        if message["usage"].is_object() && id != self.message && !self.partial {
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

    fn partial(&mut self, event: &Value, telling: &mut Telling<'_>) {
        let usage = match event["type"].as_str() {
            Some("message_start") => {
                Usage { output_tokens: None, ..of_a_call(&event["message"]["usage"]) }
            }
            Some("message_delta") => {
                let output_tokens = event["usage"]["output_tokens"].as_u64();
                Usage { output_tokens, ..Usage::default() }
            }
            _ => return,
        };
        self.partial = true;
        telling.tell(Activity::Used(usage));
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
        let usage = of_a_turn(event);
        telling.used_in_all(usage);
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
        // It knows nothing of an answer that was cut, and that is billed.
        if class == TurnClass::Network {
            telling.used_so_far(usage);
        }
        let resets = self.resets.filter(|_| class == TurnClass::RateLimited);
        telling.failed(Trouble { class, message, resets });
    }
}

/// Returns what an error of the provider is, by its HTTP status, none where there was no answer, and by
/// claude's own word for it.
fn class(status: Option<u64>, error: Option<&str>) -> TurnClass {
    let by_status = status.and_then(|status| by_status(status, error));
    by_status.unwrap_or(match (status, error) {
        (_, Some("authentication_failed" | "oauth_org_not_allowed")) => TurnClass::Authentication,
        (_, Some("rate_limit")) => TurnClass::RateLimited,
        (_, Some("billing_error")) => TurnClass::Quota,
        (_, Some(NO_MODEL)) => TurnClass::NotFound,
        (None, Some("server_error" | "unknown") | None) => TurnClass::Network,
        _ => TurnClass::Crashed,
    })
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
