//! The protocols: how each asks, answers, streams and refuses. A file each, and one line in the list.

mod chat;
mod gemini;
mod messages;
mod responses;

use serde_json::{Value, json};

use super::ledger::Tokens;
use super::script::Refusal;
use super::turns::Asked;
use crate::clock::Timestamp;

/// Every protocol.
pub(super) const PROTOCOLS: [&dyn Protocol; 4] =
    [&responses::Responses, &messages::Messages, &chat::Chat, &gemini::Gemini];

/// The tools that run a command, as the agents call them.
const SHELLS: [&str; 7] =
    ["exec_command", "shell", "shell_command", "local_shell", "Bash", "bash", "run_shell_command"];

/// A protocol of a provider's.
pub(super) trait Protocol: Sync {
    /// Its name in the ledger.
    fn name(&self) -> &'static str;

    /// Returns whether a POST to `path` is one of its.
    fn takes(&self, path: &str) -> bool;

    /// Reads what is asked; what is not there is empty.
    fn read(&self, path: &str, body: &Value) -> Asked;

    /// Returns the events of `answer`, in order.
    fn events(&self, answer: &Answer) -> Vec<Event>;

    /// Returns `answer` in one piece.
    fn whole(&self, answer: &Answer) -> Value;

    /// Returns the body of an error, and headers that tell of a limit.
    fn refusal(&self, refusal: &Refusal, now: Timestamp) -> (Value, Vec<(String, String)>);
}

/// An answer, whatever its protocol.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    /// Which request of the server's life it answers: ids are made of it.
    pub(super) n: u64,
    /// When, in seconds since 1970.
    pub(super) at: i64,
    /// The model that was asked for.
    pub(super) model: String,
    /// What the model says; empty where it says nothing.
    pub(super) say: String,
    /// The tool that it calls.
    pub(super) call: Option<Call>,
    /// What it used.
    pub(super) usage: Tokens,
}

/// A call of a tool.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Call {
    /// The tool.
    pub(super) tool: String,
    /// Its arguments, an object.
    pub(super) arguments: Value,
}

/// One event of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    /// As it is sent, with the empty line at its end.
    pub(super) text: String,
    /// What the agent learns from it that it used.
    pub(super) bills: Tokens,
}

impl Event {
    /// Returns an event with a name.
    fn named(name: &str, data: &Value) -> Self {
        Self { text: format!("event: {name}\ndata: {data}\n\n"), bills: Tokens::default() }
    }

    /// Returns an event that is data alone.
    fn data(data: &Value) -> Self {
        Self { text: format!("data: {data}\n\n"), bills: Tokens::default() }
    }

    /// Returns the event, from which the agent learns that it used `tokens`.
    fn billing(self, tokens: Tokens) -> Self {
        Self { bills: tokens, ..self }
    }

    /// Returns an event that nobody can read.
    pub(super) fn malformed() -> Self {
        Self { text: "data: {\"type\": \"this is no JSON\n\n".to_owned(), bills: Tokens::default() }
    }
}

/// Returns the call by which `command` is run with one of `tools`; none where no shell is among them.
pub(super) fn shell_call(tools: &[(String, Value)], command: &str) -> Option<Call> {
    let (tool, schema) =
        SHELLS.iter().find_map(|name| tools.iter().find(|(tool, _)| tool == name))?;
    let properties = &schema["properties"];
    let key = if properties["cmd"].is_object() { "cmd" } else { "command" };
    let words = properties[key]["type"] == "array";
    let command = if words { json!(["bash", "-lc", command]) } else { json!(command) };
    let mut arguments = json!({ key: command });
    if properties["description"].is_object() {
        arguments["description"] = "Run a command of the script".into();
    }
    for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if arguments[required].is_null() {
            arguments[required] = match properties[required]["type"].as_str() {
                Some("boolean") => false.into(),
                Some("integer" | "number") => 60_000.into(),
                _ => "".into(),
            };
        }
    }
    Some(Call { tool: tool.clone(), arguments })
}

/// Returns the texts of `content`, which is a text or a list of parts, joined.
fn texts(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            parts.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn string(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn header(name: &str, value: &impl ToString) -> (String, String) {
    (name.to_owned(), value.to_string())
}

/// Returns the header that says when to ask again, where the script has one.
fn retry_after(refusal: &Refusal) -> Vec<(String, String)> {
    refusal.retry_after.iter().map(|seconds| header("retry-after", seconds)).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Returns an answer that says something and runs a command.
    pub(super) fn answer(tool: &str, arguments: Value) -> Answer {
        Answer {
            n: 3,
            at: 0,
            model: "m".to_owned(),
            say: "Hello.".to_owned(),
            call: Some(Call { tool: tool.to_owned(), arguments }),
            usage: Tokens { input: 100, output: 7, cached: 30, cache_write: 20 },
        }
    }

    /// Returns the data of `events`, which are JSON but for a mark at the end.
    pub(super) fn data(events: &[Event]) -> Vec<Value> {
        let data = events
            .iter()
            .filter_map(|event| event.text.lines().find_map(|line| line.strip_prefix("data: ")));
        data.filter(|data| *data != "[DONE]")
            .map(|data| serde_json::from_str(data).unwrap())
            .collect()
    }

    #[test]
    fn a_command_goes_through_the_shell_that_is_offered() {
        let check = |name: &str, schema: Value, expected: Value| {
            let tools = [("Read".to_owned(), json!({})), (name.to_owned(), schema)];
            let call = shell_call(&tools, "echo a").unwrap();
            assert_eq!((call.tool.as_str(), call.arguments), (name, expected));
        };
        let text = json!({"type": "string"});
        check("exec_command", json!({"properties": {"cmd": text}}), json!({"cmd": "echo a"}));
        check(
            "shell",
            json!({"properties": {"command": {"type": "array"}}}),
            json!({"command": ["bash", "-lc", "echo a"]}),
        );
        check(
            "Bash",
            json!({"properties": {"command": text, "description": text}, "required": ["command"]}),
            json!({"command": "echo a", "description": "Run a command of the script"}),
        );
        check(
            "run_shell_command",
            json!({"properties": {"command": text, "is_background": {"type": "boolean"}},
                   "required": ["command", "is_background"]}),
            json!({"command": "echo a", "is_background": false}),
        );
        assert_eq!(shell_call(&[("Read".to_owned(), json!({}))], "a"), None);
    }

    #[test]
    fn each_protocol_bills_what_was_used_once_and_names_its_errors() {
        for protocol in PROTOCOLS {
            let answer = answer("Bash", json!({"command": "a"}));
            let events = protocol.events(&answer);
            let billed = events.iter().fold(Tokens::default(), |sum, event| sum + event.bills);
            assert_eq!(billed, answer.usage, "{}", protocol.name());
            assert!(events.iter().all(|event| event.text.ends_with("\n\n")));
            let (body, _) =
                protocol.refusal(&Refusal::new(429, "Slow down"), Timestamp::from_unix_millis(0));
            assert_eq!(body["error"]["message"], "Slow down", "{}", protocol.name());
        }
    }
}
