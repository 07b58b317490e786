//! What codex writes into its session's file while a turn goes on, where its stdout tells less: what
//! each answer used, and the commands that it shows nowhere since they never ran.

use std::collections::BTreeSet;

use serde_json::Value;

use super::codex::usage;
use super::stream::reset_at;
use super::{Activity, Telling, Usage, text};
use crate::clock::{Clock as _, SystemClock, Timestamp};

/// The tools that run a command.
const SHELLS: [&str; 3] = ["exec_command", "shell", "shell_command"];

/// A session's file, as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// How many commands stdout showed.
    pub(super) shown: usize,
    /// When the limits of a plan that are used up are lifted.
    pub(super) resets: Option<Timestamp>,
    /// What the conversation had used before this turn; none before anything was told.
    earlier: Option<Usage>,
    /// Whether the file has a record for each answer, which comes before the older count.
    has_records: bool,
    calls: Vec<Call>,
    /// The calls that ran.
    ran: BTreeSet<String>,
}

#[derive(Debug)]
struct Call {
    id: String,
    command: String,
    answer: Option<String>,
}

impl Session {
    /// Reads a line.
    pub(super) fn read(&mut self, line: &Value, telling: &mut Telling<'_>) {
        let payload = &line["payload"];
        match (line["type"].as_str(), payload["type"].as_str()) {
            (Some("turn_context"), _) => telling.model(&payload["model"]),
            (Some("token_usage_record"), _) => {
                self.has_records = true;
                self.used(&payload["usage"], &payload["thread_token_usage"], telling);
            }
            (_, Some("token_count")) => {
                let info = &payload["info"];
                if !self.has_records {
                    self.used(&info["last_token_usage"], &info["total_token_usage"], telling);
                }
                self.limits(&payload["rate_limits"]);
            }
            (_, Some("function_call")) => self.call(payload),
            (_, Some("function_call_output")) => {
                let id = payload["call_id"].as_str().unwrap_or_default();
                let output = &payload["output"];
                let answer = text(output).or_else(|| text(&output["content"]));
                if let Some(call) = self.calls.iter_mut().find(|call| call.id == id) {
                    call.answer = answer;
                }
            }
            (_, Some("item_completed")) if payload["item"]["type"] == "CommandExecution" => {
                self.ran.extend(text(&payload["item"]["id"]));
            }
            _ => {}
        }
    }

    /// Returns what this turn has used, where the whole conversation used `total`: a resumed one
    /// counts from its beginning.
    pub(super) fn without_earlier(&self, total: Usage) -> Usage {
        self.earlier.map_or(total, |earlier| less(total, earlier))
    }

    /// Tells of the commands that never ran, and that stdout does not show: codex's own sandbox had
    /// none of them, or its rules reject them.
    pub(super) fn tell_unshown(&mut self, telling: &mut Telling<'_>) {
        let calls = std::mem::take(&mut self.calls);
        // Files of other versions do not say which ones ran.
        let most = match self.ran.is_empty() {
            true => calls.len().saturating_sub(self.shown),
            false => calls.len(),
        };
        let unshown = calls.into_iter().filter(|call| !self.ran.contains(&call.id));
        for call in unshown.take(most) {
            let answer = call.answer.as_deref().unwrap_or_default();
            let begins = |with: &str| answer.starts_with(with);
            if begins("exec_command failed") && answer.contains("Rejected(") {
                telling.tell(Activity::WasDenied { what: call.command });
            } else if begins("exec_command failed") || is_over(answer) {
                telling.blocked(call.command);
            }
        }
    }

    fn call(&mut self, payload: &Value) {
        let is_shell = payload["name"].as_str().is_some_and(|name| SHELLS.contains(&name));
        let (true, Some(id)) = (is_shell, text(&payload["call_id"])) else { return };
        let arguments = payload["arguments"].as_str().unwrap_or_default();
        let arguments: Value = serde_json::from_str(arguments).unwrap_or_default();
        let command = text(&arguments["cmd"]).or_else(|| text(&arguments["command"]));
        let command = command.unwrap_or_else(|| "a command".to_owned());
        self.calls.push(Call { id, command, answer: None });
    }

    fn used(&mut self, last: &Value, total: &Value, telling: &mut Telling<'_>) {
        if last.is_object() {
            let last = usage(last);
            self.earlier.get_or_insert_with(|| less(usage(total), last));
            telling.tell(Activity::Used(last));
        }
    }

    fn limits(&mut self, limits: &Value) {
        let now = SystemClock.now();
        let both = ["primary", "secondary"].map(|name| &limits[name]);
        let full = both.iter().filter(|limit| limit["used_percent"].as_f64() >= Some(100.0));
        self.resets = full
            .filter_map(|limit| {
                let at = limit["resets_at"].as_f64().or(limit["resets_in_seconds"].as_f64())?;
                reset_at(at, now)
            })
            .max();
    }
}

/// Returns whether the answer is that of a command that is over; one that goes on is shown later.
fn is_over(answer: &str) -> bool {
    let head = answer.split("Output:").next().unwrap_or_default();
    ["Process exited with code", "Exit code"].iter().any(|words| head.contains(words))
}

fn less(all: Usage, part: Usage) -> Usage {
    let less = |all: Option<u64>, part: Option<u64>| {
        all.map(|all| all.saturating_sub(part.unwrap_or_default()))
    };
    Usage {
        input_tokens: less(all.input_tokens, part.input_tokens),
        output_tokens: less(all.output_tokens, part.output_tokens),
        cached_tokens: less(all.cached_tokens, part.cached_tokens),
        cache_write_tokens: less(all.cache_write_tokens, part.cache_write_tokens),
        cost_usd: None,
    }
}
