//! OpenAI's Responses, which codex speaks.

use serde_json::{Value, json};

use super::{Answer, Event, Protocol, header, items, retry_after, string, texts};
use crate::clock::Timestamp;
use crate::model_server::script::Refusal;
use crate::model_server::turns::{Asked, Item};

#[derive(Debug)]
pub(super) struct Responses;

impl Protocol for Responses {
    fn name(&self) -> &'static str {
        "responses"
    }

    fn takes(&self, path: &str) -> bool {
        path.ends_with("/responses")
    }

    fn read(&self, _path: &str, body: &Value) -> Asked {
        let item = |item: &Value| match (item["type"].as_str(), item["role"].as_str()) {
            (Some("message") | None, Some("user")) => Some(Item::User(texts(&item["content"]))),
            (Some("message") | None, Some("assistant")) => Some(Item::Assistant),
            (Some("message") | None, _) => None,
            (Some(kind), _) if kind.ends_with("_output") => Some(Item::Result),
            (Some(_), _) => Some(Item::Assistant),
        };
        let said = match &body["input"] {
            Value::String(text) => vec![Item::User(text.clone())],
            input => items(input).filter_map(item).collect(),
        };
        Asked {
            model: string(&body["model"]),
            streams: body["stream"] == true,
            session: string(&body["prompt_cache_key"]),
            tools: items(&body["tools"])
                .filter_map(|tool| Some((string(&tool["name"])?, tool["parameters"].clone())))
                .collect(),
            items: said,
        }
    }

    fn events(&self, answer: &Answer) -> Vec<Event> {
        let mut events = Vec::new();
        let mut push = |kind: &str, mut data: Value| {
            data["type"] = kind.into();
            data["sequence_number"] = events.len().into();
            events.push(Event::named(kind, &data));
        };
        push("response.created", json!({"response": response(answer, "in_progress")}));
        for (index, item) in output(answer).into_iter().enumerate() {
            let id = item["id"].clone();
            let place = json!({"item_id": id, "output_index": index, "content_index": 0});
            push(
                "response.output_item.added",
                json!({"output_index": index, "item": begun(&item)}),
            );
            if item["type"] == "message" {
                let mut delta = place.clone();
                delta["delta"] = item["content"][0]["text"].clone();
                push("response.output_text.delta", delta);
            }
            push("response.output_item.done", json!({"output_index": index, "item": item}));
        }
        push("response.completed", json!({"response": response(answer, "completed")}));
        let last = events.pop().map(|event| event.billing(answer.usage));
        events.extend(last);
        events
    }

    fn whole(&self, answer: &Answer) -> Value {
        response(answer, "completed")
    }

    fn refusal(&self, refusal: &Refusal, now: Timestamp) -> (Value, Vec<(String, String)>) {
        let kind = refusal.kind.as_deref().unwrap_or(match refusal.status {
            401 => "invalid_request_error",
            429 => "rate_limit_exceeded",
            500..=599 => "server_error",
            _ => "invalid_request_error",
        });
        let mut error =
            json!({"type": kind, "message": refusal.message, "code": null, "param": null});
        if refusal.status == 401 {
            error["code"] = "invalid_api_key".into();
        }
        let mut headers = retry_after(refusal);
        if let Some(reset) = refusal.reset {
            let at = reset.unix(now);
            let left = (at - now.unix_millis() / 1_000).max(0);
            headers.push(header("x-ratelimit-reset-requests", &format!("{left}s")));
            headers.push(header("x-ratelimit-reset-tokens", &format!("{left}s")));
            if kind == "usage_limit_reached" {
                error["plan_type"] = "plus".into();
                error["resets_at"] = at.into();
                error["resets_in_seconds"] = left.into();
                headers.push(header("x-codex-primary-used-percent", &"100.0"));
                headers.push(header("x-codex-primary-window-minutes", &300));
                headers.push(header("x-codex-primary-reset-at", &at));
            }
        }
        (json!({"error": error}), headers)
    }
}

fn response(answer: &Answer, status: &str) -> Value {
    let usage = answer.usage;
    let done = status == "completed";
    json!({
        "id": format!("resp_{}", answer.n),
        "object": "response",
        "created_at": answer.at,
        "status": status,
        "model": answer.model,
        "output": if done { output(answer) } else { Vec::new() },
        "usage": done.then(|| json!({
            "input_tokens": usage.input,
            "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": usage.cache_write},
            "output_tokens": usage.output,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": usage.total(),
        })),
        "error": null,
    })
}

fn output(answer: &Answer) -> Vec<Value> {
    let n = answer.n;
    let message = (!answer.say.is_empty()).then(|| {
        json!({
            "type": "message", "id": format!("msg_{n}"), "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": answer.say, "annotations": []}],
        })
    });
    let call = answer.call.as_ref().map(|call| {
        json!({
            "type": "function_call", "id": format!("fc_{n}"), "call_id": format!("call_{n}"),
            "name": call.tool, "arguments": call.arguments.to_string(), "status": "completed",
        })
    });
    message.into_iter().chain(call).collect()
}

/// Returns an item as it is when it begins.
fn begun(item: &Value) -> Value {
    let mut item = item.clone();
    item["status"] = "in_progress".into();
    if item["type"] == "message" {
        item["content"] = json!([]);
    } else {
        item["arguments"] = "".into();
    }
    item
}

#[cfg(test)]
mod tests {
    use super::super::tests::{answer, data};
    use super::*;
    use crate::model_server::script::Reset;

    #[test]
    fn a_stream_ends_with_what_was_used() {
        let data = data(&Responses.events(&answer("exec_command", json!({"cmd": "a"}))));
        let kinds: Vec<&str> = data.iter().filter_map(|data| data["type"].as_str()).collect();
        assert_eq!(
            kinds.join(" ").replace("response.", ""),
            "created output_item.added output_text.delta output_item.done output_item.added output_item.done completed"
        );
        assert_eq!(data[5]["item"]["arguments"], r#"{"cmd":"a"}"#);
        assert_eq!(data[6]["response"]["usage"]["input_tokens_details"]["cached_tokens"], 30);
        assert_eq!(data[6]["response"]["usage"]["total_tokens"], 107);
    }

    #[test]
    fn a_conversation_is_read() {
        let asked = Responses.read(
            "/v1/responses",
            &json!({"model": "m", "stream": true, "prompt_cache_key": "s", "input": [
                {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "no"}]},
                {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Do it"}]},
                {"type": "reasoning"}, {"type": "function_call"}, {"type": "function_call_output"},
            ], "tools": [{"type": "function", "name": "exec_command", "parameters": {"a": 1}}, {"type": "web_search"}]}),
        );
        let expected =
            [Item::User("Do it".to_owned()), Item::Assistant, Item::Assistant, Item::Result];
        assert_eq!(asked.items, expected);
        assert_eq!(asked.tools, [("exec_command".to_owned(), json!({"a": 1}))]);
        assert_eq!((asked.session.as_deref(), asked.streams), (Some("s"), true));
    }

    #[test]
    fn a_limit_of_a_plan_says_when_it_is_lifted() {
        let kind = Some("usage_limit_reached".to_owned());
        let reset = Some(Reset::In(std::time::Duration::from_secs(90)));
        let refusal = Refusal { kind, reset, ..Refusal::new(429, "No more.") };
        let (body, headers) = Responses.refusal(&refusal, Timestamp::from_unix_millis(10_000));
        assert_eq!(
            (&body["error"]["resets_at"], &body["error"]["resets_in_seconds"]),
            (&100.into(), &90.into())
        );
        assert!(headers.contains(&header("x-ratelimit-reset-tokens", &"90s")));
    }
}
