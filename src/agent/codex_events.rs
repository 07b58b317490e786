//! How the stream of Codex reads.

use serde_json::Value;

use super::codex_session::Session;
use super::stream::{NO_MODEL, by_status};
use super::{Activity, Reader, Telling, Trouble, Usage, reset_time};
use crate::clock::{Clock as _, SystemClock};
use crate::convergence::TurnClass;

#[derive(Default)]
pub(super) struct Events {
    session: Session,
    /// What the last event says of the usage of the whole conversation.
    total: Option<Usage>,
}

impl Reader for Events {
    fn read(&mut self, event: &Value, telling: &mut Telling<'_>) {
        match event["type"].as_str() {
            Some("item.started") => {
                if let Some(what) = event["item"]["command"].as_str() {
                    telling.tell(Activity::Began { what: what.to_owned() });
                }
            }
            Some("item.completed") => {
                if event["item"]["type"] == "command_execution" {
                    self.session.shown += 1;
                }
                item(&event["item"], telling);
            }
            Some("error") => telling.troubled(self.trouble(&event["message"])),
            Some("turn.completed") => {
                let total = usage(&event["usage"]);
                self.total = Some(total);
                telling.used_in_all(self.session.without_earlier(total));
                telling.done();
            }
            Some("turn.failed") => telling.failed(self.trouble(&event["error"]["message"])),
            _ => {}
        }
    }

    fn read_side(&mut self, event: &Value, telling: &mut Telling<'_>) {
        self.session.read(event, telling);
    }

    fn close(&mut self, _exit: Option<i32>, telling: &mut Telling<'_>) {
        // The session's file may have been read later than the last event.
        if let Some(total) = self.total {
            telling.used_in_all(self.session.without_earlier(total));
        }
        self.session.tell_unshown(telling);
    }
}

impl Events {
    /// Reads an error's message, which is all that codex tells of an error.
    fn trouble(&self, message: &Value) -> Trouble {
        let message = message.as_str().unwrap_or("codex failed and did not say why");
        let class = class(message);
        let limited = class == TurnClass::RateLimited;
        let named = || reset_time::named_in(message, SystemClock.now(), 0);
        let resets = limited.then(|| self.session.resets.or_else(named)).flatten();
        Trouble { class, message: message.to_owned(), resets }
    }
}

fn item(item: &Value, telling: &mut Telling<'_>) {
    let command = || item["command"].as_str().unwrap_or("a command").to_owned();
    match item["type"].as_str() {
        Some("agent_message") => telling.said(&item["text"]),
        Some("command_execution") if item["status"] == "declined" => {
            telling.tell(Activity::WasDenied { what: command() });
        }
        Some("command_execution") => {
            let exit = item["exit_code"].as_i64().and_then(|code| i32::try_from(code).ok());
            telling.tell(Activity::Ran { what: command(), exit });
        }
        Some("file_change") => {
            let paths = item["changes"].as_array().into_iter().flatten();
            let paths = paths.filter_map(|change| super::text(&change["path"])).collect();
            telling.tell(Activity::Changed { paths });
        }
        Some("error") => {
            if let Some(text) = super::text(&item["message"]) {
                telling.tell(Activity::Noted { text });
            }
        }
        _ => {}
    }
}

/// Reads the figures of one call or of a turn; input holds what came from the cache.
pub(super) fn usage(of: &Value) -> Usage {
    Usage {
        input_tokens: of["input_tokens"].as_u64(),
        output_tokens: of["output_tokens"].as_u64(),
        cached_tokens: of["cached_input_tokens"].as_u64(),
        cache_write_tokens: of["cache_write_input_tokens"].as_u64(),
        cost_usd: None,
    }
}

/// Returns what an error's message says, by the words that codex begins its messages with.
fn class(message: &str) -> TurnClass {
    let message = message.replace('’', "'");
    let status = message.split_once("status").and_then(|(_, rest)| {
        let rest = rest.trim_start_matches([':', ' ']);
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        by_status(rest[..end].parse().ok()?, None)
    });
    let begins = |text: &str| message.starts_with(text);
    // An answer of 400 is passed on as it came.
    let body: Value = serde_json::from_str(&message).unwrap_or_default();
    let error = &body["error"];
    let is_named = [&error["code"], &error["type"]].contains(&&Value::from(NO_MODEL));
    // Of a login by a plan it has this one sentence, and no field.
    let detail = body["detail"].as_str().unwrap_or_default();
    if is_named || detail.contains(" model is not supported when using Codex with ") {
        TurnClass::NotFound
    } else if begins("Quota exceeded") || begins("To use Codex with your ChatGPT plan") {
        TurnClass::Quota
    } else if begins("You've hit your usage limit") {
        TurnClass::RateLimited
    } else if begins("Missing environment variable") || begins("Your access token could not") {
        TurnClass::Authentication
    } else if let Some(class) = status {
        class
    } else if begins("Selected model is at capacity") || begins("We're currently experiencing") {
        TurnClass::Overloaded
    } else if begins("Reconnecting") || begins("stream disconnected") || begins("Connection failed")
    {
        TurnClass::Network
    } else {
        TurnClass::Crashed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_is_not_there_is_told_by_status_code_or_detail() {
        let check = |message: &str, expected| assert_eq!(class(message), expected, "{message}");
        check("unexpected status 404 Not Found: x, url: http://a/responses", TurnClass::NotFound);
        check(r#"{"error":{"code":"model_not_found","message":"x"}}"#, TurnClass::NotFound);
        check(
            r#"{"detail":"The 'm' model is not supported when using Codex with a ChatGPT account."}"#,
            TurnClass::NotFound,
        );
        check(r#"{"error":{"code":"invalid_value","message":"404"}}"#, TurnClass::Crashed);
        check(r#"{"detail":"model_not_found"}"#, TurnClass::Crashed);
    }
}
