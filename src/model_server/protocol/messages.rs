//! Anthropic's Messages, which claude speaks.

use serde_json::{Value, json};

use super::{Answer, Event, Protocol, header, items, retry_after, string, texts};
use crate::clock::Timestamp;
use crate::model_server::ledger::Tokens;
use crate::model_server::script::Refusal;
use crate::model_server::turns::{Asked, Item};

#[derive(Debug)]
pub(super) struct Messages;

impl Protocol for Messages {
    fn name(&self) -> &'static str {
        "messages"
    }

    fn takes(&self, path: &str) -> bool {
        path.ends_with("/messages")
    }

    fn read(&self, _path: &str, body: &Value) -> Asked {
        let item = |message: &Value| match message["role"].as_str() {
            Some("assistant") => Some(Item::Assistant),
            Some("user")
                if items(&message["content"]).any(|part| part["type"] == "tool_result") =>
            {
                Some(Item::Result)
            }
            Some("user") => Some(Item::User(texts(&message["content"]))),
            _ => None,
        };
        // An object in a text; older ones end with the name of the session.
        let user = body["metadata"]["user_id"].as_str().unwrap_or_default();
        let session = match serde_json::from_str::<Value>(user) {
            Ok(user) => string(&user["session_id"]),
            Err(_) => user.split_once("_session_").map(|(_, session)| session.to_owned()),
        };
        Asked {
            model: string(&body["model"]),
            streams: body["stream"] == true,
            session,
            tools: items(&body["tools"])
                .filter_map(|tool| Some((string(&tool["name"])?, tool["input_schema"].clone())))
                .collect(),
            items: items(&body["messages"]).filter_map(item).collect(),
        }
    }

    fn events(&self, answer: &Answer) -> Vec<Event> {
        let event = |kind: &str, mut data: Value| {
            data["type"] = kind.into();
            Event::named(kind, &data)
        };
        let read = Tokens { output: 0, ..answer.usage };
        let mut message = message(answer);
        message["content"] = json!([]);
        message["stop_reason"] = Value::Null;
        message["usage"]["output_tokens"] = 0.into();
        let mut events = vec![event("message_start", json!({"message": message})).billing(read)];
        for (index, part) in content(answer).into_iter().enumerate() {
            let (begun, delta) = if part["type"] == "text" {
                (
                    json!({"type": "text", "text": ""}),
                    json!({"type": "text_delta", "text": part["text"]}),
                )
            } else {
                let mut begun = part.clone();
                begun["input"] = json!({});
                let arguments = part["input"].to_string();
                (begun, json!({"type": "input_json_delta", "partial_json": arguments}))
            };
            events.push(event(
                "content_block_start",
                json!({"index": index, "content_block": begun}),
            ));
            events.push(event("content_block_delta", json!({"index": index, "delta": delta})));
            events.push(event("content_block_stop", json!({"index": index})));
        }
        let delta = json!({
            "delta": {"stop_reason": stop_reason(answer), "stop_sequence": null},
            "usage": usage(answer.usage),
        });
        let written = Tokens { output: answer.usage.output, ..Tokens::default() };
        events.push(event("message_delta", delta).billing(written));
        events.push(event("message_stop", json!({})));
        events
    }

    fn whole(&self, answer: &Answer) -> Value {
        message(answer)
    }

    fn refusal(&self, refusal: &Refusal, now: Timestamp) -> (Value, Vec<(String, String)>) {
        let kind = refusal.kind.as_deref().unwrap_or(match refusal.status {
            401 => "authentication_error",
            403 => "permission_error",
            404 => "not_found_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            529 => "overloaded_error",
            500..=599 => "api_error",
            _ => "invalid_request_error",
        });
        let body = json!({
            "type": "error",
            "error": {"type": kind, "message": refusal.message},
            "request_id": "req_fake",
        });
        let mut headers = retry_after(refusal);
        if let Some(reset) = refusal.reset {
            let at = reset.unix(now);
            for (name, value) in [
                ("status", "rejected"),
                ("representative-claim", "five_hour"),
                ("5h-status", "rejected"),
                ("5h-utilization", "1.0"),
                ("overage-status", "rejected"),
                ("overage-disabled-reason", "org_level_disabled"),
            ] {
                headers.push(header(&format!("anthropic-ratelimit-unified-{name}"), &value));
            }
            headers.push(header("anthropic-ratelimit-unified-reset", &at));
            headers.push(header("anthropic-ratelimit-unified-5h-reset", &at));
        }
        (body, headers)
    }
}

fn message(answer: &Answer) -> Value {
    json!({
        "id": format!("msg_{}", answer.n),
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": content(answer),
        "stop_reason": stop_reason(answer),
        "stop_sequence": null,
        "usage": usage(answer.usage),
    })
}

fn content(answer: &Answer) -> Vec<Value> {
    let text = (!answer.say.is_empty()).then(|| json!({"type": "text", "text": answer.say}));
    let call = answer.call.as_ref().map(|call| {
        let id = format!("toolu_{}", answer.n);
        json!({"type": "tool_use", "id": id, "name": call.tool, "input": call.arguments})
    });
    text.into_iter().chain(call).collect()
}

fn stop_reason(answer: &Answer) -> &'static str {
    if answer.call.is_some() { "tool_use" } else { "end_turn" }
}

/// Here the tokens read do not include those of the cache.
fn usage(usage: Tokens) -> Value {
    json!({
        "input_tokens": usage.fresh(),
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.output,
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{answer, data};
    use super::*;
    use crate::model_server::script::Reset;

    #[test]
    fn a_stream_says_what_was_read_first_and_what_was_written_last() {
        let events = Messages.events(&answer("Bash", json!({"command": "a"})));
        assert_eq!(events[0].bills, Tokens { input: 100, cached: 30, cache_write: 20, output: 0 });
        let data = data(&events);
        let kinds: Vec<&str> = data.iter().filter_map(|data| data["type"].as_str()).collect();
        let block = "content_block_start content_block_delta content_block_stop";
        assert_eq!(
            kinds.join(" "),
            format!("message_start {block} {block} message_delta message_stop")
        );
        assert_eq!(data[0]["message"]["usage"]["input_tokens"], 50);
        assert_eq!(data[5]["delta"]["partial_json"], r#"{"command":"a"}"#);
        assert_eq!(data[7]["delta"]["stop_reason"], "tool_use");
    }

    #[test]
    fn a_conversation_is_read() {
        let asked = Messages.read(
            "/v1/messages",
            &json!({"model": "m", "stream": true, "metadata": {"user_id": r#"{"session_id": "s"}"#}, "messages": [
                {"role": "user", "content": [{"type": "text", "text": "Do it", "cache_control": {}}]},
                {"role": "system", "content": "no"},
                {"role": "assistant", "content": []},
                {"role": "user", "content": [{"type": "tool_result"}, {"type": "text", "text": "x"}]},
            ], "tools": [{"name": "Bash", "input_schema": {"a": 1}}]}),
        );
        let expected = [Item::User("Do it".to_owned()), Item::Assistant, Item::Result];
        assert_eq!(asked.items, expected);
        assert_eq!(asked.session.as_deref(), Some("s"));
        let old = json!({"metadata": {"user_id": "user_a_account__session_t"}, "messages": [
            {"role": "user", "content": "Do it"},
        ]});
        let asked = Messages.read("/v1/messages", &old);
        assert_eq!((asked.session.as_deref(), &asked.items[0]), (Some("t"), &expected[0]));
    }

    #[test]
    fn a_limit_says_in_its_headers_when_it_is_lifted() {
        let reset = Some(Reset::In(std::time::Duration::from_secs(90)));
        let refusal = Refusal { reset, retry_after: Some(5), ..Refusal::new(429, "No more.") };
        let (body, headers) = Messages.refusal(&refusal, Timestamp::from_unix_millis(10_000));
        assert_eq!(body["error"]["type"], "rate_limit_error");
        assert!(headers.contains(&header("anthropic-ratelimit-unified-reset", &100)));
        assert!(headers.contains(&header("retry-after", &5)));
    }
}
