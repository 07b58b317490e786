//! Gemini's generateContent, which gemini speaks.

use serde_json::{Value, json};

use super::{Answer, Event, Protocol, items, retry_after, string, texts};
use crate::clock::Timestamp;
use crate::model_server::ledger::Tokens;
use crate::model_server::script::Refusal;
use crate::model_server::turns::{Asked, Item};

const STREAM: &str = ":streamGenerateContent";
const WHOLE: &str = ":generateContent";

#[derive(Debug)]
pub(super) struct Gemini;

impl Protocol for Gemini {
    fn name(&self) -> &'static str {
        "gemini"
    }

    fn takes(&self, path: &str) -> bool {
        path.ends_with(STREAM) || path.ends_with(WHOLE)
    }

    fn read(&self, path: &str, body: &Value) -> Asked {
        let item = |content: &Value| {
            let parts = &content["parts"];
            if content["role"] == "model" {
                Item::Assistant
            } else if items(parts).any(|part| part["functionResponse"].is_object()) {
                Item::Result
            } else {
                Item::User(texts(parts))
            }
        };
        let tool = |tool: &Value| {
            let schema = match &tool["parametersJsonSchema"] {
                Value::Null => tool["parameters"].clone(),
                schema => schema.clone(),
            };
            Some((string(&tool["name"])?, schema))
        };
        let name = path.rsplit('/').next().and_then(|last| last.split(':').next());
        Asked {
            model: name.map(str::to_owned),
            streams: path.ends_with(STREAM),
            session: None,
            tools: items(&body["tools"])
                .flat_map(|tools| items(&tools["functionDeclarations"]))
                .filter_map(tool)
                .collect(),
            items: items(&body["contents"]).map(item).collect(),
        }
    }

    fn events(&self, answer: &Answer) -> Vec<Event> {
        let mut events: Vec<Event> = parts(answer)
            .into_iter()
            .map(|part| Event::data(&chunk(answer, json!([part]), None)))
            .collect();
        let mut last = chunk(answer, json!([{"text": ""}]), Some("STOP"));
        last["usageMetadata"] = usage(answer.usage);
        events.push(Event::data(&last).billing(answer.usage));
        events
    }

    fn whole(&self, answer: &Answer) -> Value {
        let mut whole = chunk(answer, parts(answer).into(), Some("STOP"));
        whole["usageMetadata"] = usage(answer.usage);
        whole
    }

    fn refusal(&self, refusal: &Refusal, now: Timestamp) -> (Value, Vec<(String, String)>) {
        let kind = refusal.kind.as_deref().unwrap_or(match refusal.status {
            401 => "UNAUTHENTICATED",
            403 => "PERMISSION_DENIED",
            404 => "NOT_FOUND",
            429 => "RESOURCE_EXHAUSTED",
            503 | 529 => "UNAVAILABLE",
            500..=599 => "INTERNAL",
            _ => "INVALID_ARGUMENT",
        });
        let mut error = json!({"code": refusal.status, "message": refusal.message, "status": kind});
        if let Some(reset) = refusal.reset {
            let left = (reset.unix(now) - now.unix_millis() / 1_000).max(0);
            let kind = "type.googleapis.com/google.rpc.RetryInfo";
            error["details"] = json!([{"@type": kind, "retryDelay": format!("{left}s")}]);
        }
        (json!({"error": error}), retry_after(refusal))
    }
}

fn parts(answer: &Answer) -> Vec<Value> {
    let text = (!answer.say.is_empty()).then(|| json!({"text": answer.say}));
    let call = answer
        .call
        .as_ref()
        .map(|call| json!({"functionCall": {"name": call.tool, "args": call.arguments}}));
    text.into_iter().chain(call).collect()
}

fn chunk(answer: &Answer, parts: Value, finish: Option<&str>) -> Value {
    let mut candidate = json!({"index": 0, "content": {"role": "model"}});
    candidate["content"]["parts"] = parts;
    if let Some(finish) = finish {
        candidate["finishReason"] = finish.into();
    }
    let id = format!("resp_{}", answer.n);
    let mut chunk = json!({"modelVersion": answer.model, "responseId": id});
    chunk["candidates"] = json!([candidate]);
    chunk
}

fn usage(usage: Tokens) -> Value {
    json!({
        "promptTokenCount": usage.input,
        "cachedContentTokenCount": usage.cached,
        "candidatesTokenCount": usage.output,
        "totalTokenCount": usage.total(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{answer, data};
    use super::*;

    #[test]
    fn a_stream_ends_with_what_was_used() {
        let data = data(&Gemini.events(&answer("run_shell_command", json!({"command": "a"}))));
        let part = |at: usize| &data[at]["candidates"][0]["content"]["parts"][0];
        assert_eq!((data.len(), &part(0)["text"]), (3, &"Hello.".into()));
        assert_eq!(part(1)["functionCall"]["args"]["command"], "a");
        assert_eq!(data[2]["candidates"][0]["finishReason"], "STOP");
        assert_eq!(data[2]["usageMetadata"]["totalTokenCount"], 107);
    }

    #[test]
    fn a_conversation_is_read() {
        let asked = Gemini.read(
            "/v1beta/models/gemini-2.5-flash:streamGenerateContent",
            &json!({"contents": [
                {"role": "user", "parts": [{"text": "Do it"}]},
                {"role": "model", "parts": [{"functionCall": {}}]},
                {"role": "user", "parts": [{"functionResponse": {}}]},
            ], "tools": [{"functionDeclarations": [{"name": "run_shell_command", "parametersJsonSchema": {"a": 1}}]}]}),
        );
        let expected = [Item::User("Do it".to_owned()), Item::Assistant, Item::Result];
        assert_eq!((asked.items.as_slice(), asked.streams), (&expected[..], true));
        assert_eq!(asked.model.as_deref(), Some("gemini-2.5-flash"));
        assert_eq!(asked.tools, [("run_shell_command".to_owned(), json!({"a": 1}))]);
    }
}
