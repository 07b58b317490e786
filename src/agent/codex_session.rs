//! What codex writes into its session's file while a turn goes on, where its stdout tells less: what
//! each answer used, and the commands that it shows nowhere since they never ran.

use std::collections::BTreeSet;

use serde_json::Value;

use super::codex_events::usage;
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::codex::Codex;
    use super::super::stream::Streamed;
    use super::super::{Backend as _, Reading};
    use super::*;

    /// Reads lines of a session's file, then those of stdout.
    fn read(side: &[Value], stdout: &[Value]) -> (Reading, Vec<Activity>) {
        let mut streamed = Streamed::by(Codex.reader());
        let mut told = Vec::new();
        for line in side {
            told.extend(streamed.push_side(line.to_string().as_bytes()));
        }
        for line in stdout {
            told.extend(streamed.push(format!("{line}\n").as_bytes()));
        }
        told.extend(streamed.finish(Some(0)));
        (streamed.reading().clone(), told)
    }

    type Tokens = (u64, u64);

    fn tokens((input, output): Tokens) -> Value {
        json!({"input_tokens": input, "output_tokens": output})
    }

    fn record(last: Tokens, total: Tokens) -> Value {
        let payload = json!({"usage": tokens(last), "thread_token_usage": tokens(total)});
        json!({"type": "token_usage_record", "payload": payload})
    }

    fn count(last: Tokens, total: Tokens) -> Value {
        let info = json!({"last_token_usage": tokens(last), "total_token_usage": tokens(total)});
        json!({"type": "event_msg", "payload": {"type": "token_count", "info": info}})
    }

    fn call(id: &str, answer: &str) -> [Value; 2] {
        let arguments = json!({"cmd": format!("run {id}")}).to_string();
        [
            json!({"payload": {"type": "function_call", "name": "exec_command", "call_id": id, "arguments": arguments}}),
            json!({"payload": {"type": "function_call_output", "call_id": id, "output": answer}}),
        ]
    }

    fn ran(id: &str) -> Value {
        let item = json!({"type": "CommandExecution", "id": id});
        json!({"payload": {"type": "item_completed", "item": item}})
    }

    fn completed(total: Tokens) -> Value {
        json!({"type": "turn.completed", "usage": tokens(total)})
    }

    #[test]
    fn usage_is_told_while_the_turn_goes_on_and_once() {
        let side = [
            record((10, 1), (10, 1)),
            count((10, 1), (10, 1)),
            record((20, 2), (30, 3)),
            count((20, 2), (30, 3)),
        ];
        let (reading, _) = read(&side, &[]);
        assert_eq!((reading.usage.input_tokens, reading.usage.output_tokens), (Some(30), Some(3)));
        assert!(!reading.usage_is_final);
        let (reading, _) = read(&[side[1].clone(), side[3].clone()], &[]);
        assert_eq!(reading.usage.input_tokens, Some(30), "a version without the records");
    }

    #[test]
    fn a_resumed_conversation_counts_from_this_turn_on() {
        let (reading, _) = read(&[record((14, 1), (39, 7))], &[completed((39, 7))]);
        assert_eq!((reading.usage.input_tokens, reading.usage.output_tokens), (Some(14), Some(1)));
        assert!(reading.usage_is_final);
    }

    #[test]
    fn commands_that_never_ran_are_told_from_those_that_did() {
        let exited = "Chunk ID: 1\nProcess exited with code 1\nOutput:\n";
        let side = [
            call("a", exited).to_vec(),
            vec![ran("b")],
            call("b", exited).to_vec(),
            call("c", "Chunk ID: 2\nProcess running with session ID 7\nOutput:\nExit code")
                .to_vec(),
            call("d", "exec_command failed: CreateProcess { message: \"Rejected(..)\" }").to_vec(),
            call("e", "failed to parse function arguments").to_vec(),
        ]
        .concat();
        let (reading, told) = read(&side, &[]);
        assert_eq!((reading.blocked, reading.denied), (1, 1));
        let denied = |what: &str| Activity::WasDenied { what: what.to_owned() };
        assert_eq!(told, [denied("run a"), denied("run d")]);
    }

    #[test]
    fn a_limit_that_is_used_up_says_when_it_is_lifted() {
        let limits = json!({
            "primary": {"used_percent": 100.0, "resets_at": 1_795_213_836},
            "secondary": {"used_percent": 40.0, "resets_at": 1_999_999_999},
        });
        let count =
            json!({"payload": {"type": "token_count", "info": null, "rate_limits": limits}});
        let failed =
            json!({"type": "turn.failed", "error": {"message": "You’ve hit your usage limit."}});
        let (reading, _) = read(&[count], &[failed]);
        let resets = reading.end.flatten().and_then(|trouble| trouble.resets);
        assert_eq!(resets, Some(Timestamp::from_unix_millis(1_795_213_836_000)));
    }
}
