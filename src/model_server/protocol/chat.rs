//! Chat Completions, which opencode, qwen and most others speak.

use serde_json::{Value, json};

use super::{Answer, Event, Protocol, header, items, retry_after, string, texts};
use crate::clock::Timestamp;
use crate::model_server::ledger::Tokens;
use crate::model_server::script::Refusal;
use crate::model_server::turns::{Asked, Item};

#[derive(Debug)]
pub(super) struct Chat;

impl Protocol for Chat {
    fn name(&self) -> &'static str {
        "chat"
    }

    fn takes(&self, path: &str) -> bool {
        path.ends_with("/chat/completions")
    }

    fn read(&self, _path: &str, body: &Value) -> Asked {
        let item = |message: &Value| match message["role"].as_str() {
            Some("user") => Some(Item::User(texts(&message["content"]))),
            Some("assistant") => Some(Item::Assistant),
            Some("tool" | "function") => Some(Item::Result),
            _ => None,
        };
        let tool = |tool: &Value| {
            let function = &tool["function"];
            Some((string(&function["name"])?, function["parameters"].clone()))
        };
        Asked {
            model: string(&body["model"]),
            streams: body["stream"] == true,
            session: None,
            tools: items(&body["tools"]).filter_map(tool).collect(),
            items: items(&body["messages"]).filter_map(item).collect(),
        }
    }

    fn events(&self, answer: &Answer) -> Vec<Event> {
        let chunk = |delta: Value, finish: Option<&str>| {
            let choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
            Event::data(&frame(answer, "chat.completion.chunk", json!([choice])))
        };
        let mut events = vec![chunk(json!({"role": "assistant", "content": ""}), None)];
        if !answer.say.is_empty() {
            events.push(chunk(json!({"content": answer.say}), None));
        }
        if let Some(mut call) = call(answer) {
            call["index"] = 0.into();
            events.push(chunk(json!({"tool_calls": [call]}), None));
        }
        events.push(chunk(json!({}), Some(finish(answer))));
        let mut last = frame(answer, "chat.completion.chunk", json!([]));
        last["usage"] = usage(answer.usage);
        events.push(Event::data(&last).billing(answer.usage));
        events.push(Event { text: "data: [DONE]\n\n".to_owned(), bills: Tokens::default() });
        events
    }

    fn whole(&self, answer: &Answer) -> Value {
        let mut message = json!({"role": "assistant", "content": answer.say});
        if let Some(call) = call(answer) {
            message["tool_calls"] = json!([call]);
        }
        let choice = json!({"index": 0, "message": message, "finish_reason": finish(answer)});
        let mut whole = frame(answer, "chat.completion", json!([choice]));
        whole["usage"] = usage(answer.usage);
        whole
    }

    fn refusal(&self, refusal: &Refusal, now: Timestamp) -> (Value, Vec<(String, String)>) {
        let kind = refusal.kind.as_deref().unwrap_or(match refusal.status {
            429 => "rate_limit_exceeded",
            500..=599 => "server_error",
            _ => "invalid_request_error",
        });
        let code = if refusal.status == 401 { "invalid_api_key" } else { kind };
        let error = json!({"message": refusal.message, "type": kind, "param": null, "code": code});
        let mut headers = retry_after(refusal);
        if let Some(reset) = refusal.reset {
            let left = (reset.unix(now) - now.unix_millis() / 1_000).max(0);
            headers.push(header("x-ratelimit-reset-requests", &format!("{left}s")));
            headers.push(header("x-ratelimit-reset-tokens", &format!("{left}s")));
        }
        (json!({"error": error}), headers)
    }
}

fn frame(answer: &Answer, object: &str, choices: Value) -> Value {
    let mut frame = json!({
        "id": format!("chatcmpl-{}", answer.n),
        "object": object,
        "created": answer.at,
        "model": answer.model,
    });
    frame["choices"] = choices;
    frame
}

fn call(answer: &Answer) -> Option<Value> {
    answer.call.as_ref().map(|call| {
        let function = json!({"name": call.tool, "arguments": call.arguments.to_string()});
        json!({"id": format!("call_{}", answer.n), "type": "function", "function": function})
    })
}

fn finish(answer: &Answer) -> &'static str {
    if answer.call.is_some() { "tool_calls" } else { "stop" }
}

fn usage(usage: Tokens) -> Value {
    json!({
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.total(),
        "prompt_tokens_details": {"cached_tokens": usage.cached},
        "completion_tokens_details": {"reasoning_tokens": 0},
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{answer, data};
    use super::*;

    #[test]
    fn a_stream_ends_with_what_was_used_and_a_mark() {
        let events = Chat.events(&answer("bash", json!({"command": "a"})));
        assert_eq!(events.last().unwrap().text, "data: [DONE]\n\n");
        let data = data(&events);
        assert_eq!(data[1]["choices"][0]["delta"]["content"], "Hello.");
        let call = &data[2]["choices"][0]["delta"]["tool_calls"][0];
        assert_eq!(call["function"]["arguments"], r#"{"command":"a"}"#);
        assert_eq!(data[3]["choices"][0]["finish_reason"], "tool_calls");
        assert_eq!((data.len(), &data[4]["usage"]["total_tokens"]), (5, &107.into()));
    }

    #[test]
    fn an_answer_in_one_piece_holds_the_same() {
        let whole = Chat.whole(&answer("bash", json!({"command": "a"})));
        let message = &whole["choices"][0]["message"];
        assert_eq!(message["content"], "Hello.");
        assert_eq!(message["tool_calls"][0]["function"]["name"], "bash");
        assert_eq!(whole["usage"]["prompt_tokens_details"]["cached_tokens"], 30);
    }

    #[test]
    fn a_conversation_is_read() {
        let asked = Chat.read(
            "/v1/chat/completions",
            &json!({"messages": [
                {"role": "system", "content": "no"}, {"role": "user", "content": "Do it"},
                {"role": "assistant"}, {"role": "tool"},
            ], "tools": [{"type": "function", "function": {"name": "bash", "parameters": {"a": 1}}}]}),
        );
        let expected = [Item::User("Do it".to_owned()), Item::Assistant, Item::Result];
        assert_eq!((asked.items.as_slice(), asked.streams), (&expected[..], false));
        assert_eq!(asked.tools, [("bash".to_owned(), json!({"a": 1}))]);
    }
}
