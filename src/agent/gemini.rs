//! Gemini CLI, by `gemini -o stream-json`: the prompt on stdin, one JSON event a line on stdout.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::stream::by_status;
use super::{
    Activity, AgentError, Backend, KeyRoute, Launch, LaunchStdin, Reader, Telling, Tool, Trouble,
    Turn, Usage, UsageTold, check_login, check_tool, reset_time, text,
};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{AgentSettings, Environment};
use crate::convergence::TurnClass;

/// Unconfined it edits, and runs the gates' own `make` alone.
const POLICY: &str = "\
[[rule]]
toolName = \"run_shell_command\"
commandPrefix = \"make\"
decision = \"allow\"
priority = 900
";

/// The backend `gemini`.
#[derive(Debug)]
pub(super) struct Gemini;

impl Backend for Gemini {
    fn name(&self) -> &'static str {
        "gemini"
    }

    fn tool(&self) -> Option<Tool> {
        let hint = "install it with `npm install -g @google/gemini-cli`, or choose another `agent.backend`";
        Some(Tool { program: "gemini", tested: ("0.61.0", "0.61.0"), hint })
    }

    fn login_variables(&self) -> &'static [&'static str] {
        &["GEMINI_API_KEY", "GOOGLE_API_KEY"]
    }

    fn key_routes(&self) -> &'static [KeyRoute] {
        &[KeyRoute {
            variable: "GEMINI_API_KEY",
            provider: "https://generativelanguage.googleapis.com",
            header: "x-goog-api-key",
            word: "",
        }]
    }

    fn hosts(&self) -> &'static [&'static str] {
        &[
            "generativelanguage.googleapis.com:443",
            "cloudcode-pa.googleapis.com:443",
            "oauth2.googleapis.com:443",
        ]
    }

    fn base_path(&self) -> Option<&'static str> {
        Some("")
    }

    fn check(&self, settings: &AgentSettings, env: &Environment) -> Result<(), AgentError> {
        check_tool(self, env)?;
        check_login(self, settings, env, ".gemini/oauth_creds.json")
    }

    fn launch(&self, turn: &Turn<'_>) -> Result<Launch, AgentError> {
        let mode = if turn.confined { "yolo" } else { "auto_edit" };
        // In a directory that it does not trust it falls back to asking.
        let fixed = ["-o", "stream-json", "--skip-trust", "--approval-mode", mode];
        let mut args: Vec<OsString> = fixed.map(OsString::from).into();
        if let Some(model) = turn.model {
            args.extend(["-m".into(), model.into()]);
        }
        args.extend(turn.settings.args.iter().map(OsString::from));
        let has_login = turn.settings.home.iter().any(|entry| entry.ends_with("oauth_creds.json"));
        let settings = json!({
            "security": {
                "auth": {"selectedType": if has_login { "oauth-personal" } else { "gemini-api-key" }},
            },
            "general": {
                // Of itself it asks ten times, for minutes.
                "maxAttempts": 5,
                "enableAutoUpdate": false,
                "enableAutoUpdateNotification": false,
            },
            "privacy": {"usageStatisticsEnabled": false},
            "telemetry": {"enabled": false},
            "model": {"maxSessionTurns": turn.settings.max_turns.map_or(-1, i64::from)},
        });
        let mut home_files =
            BTreeMap::from([(PathBuf::from(".gemini/settings.json"), settings.to_string())]);
        if !turn.confined {
            home_files.insert(".gemini/policies/factory.toml".into(), POLICY.to_owned());
        }
        // The product may ask for gemini's own sandbox, which can't be within another.
        let mut env_extra = BTreeMap::from([("GEMINI_SANDBOX".into(), "false".into())]);
        if let Some(url) = turn.base_url {
            env_extra.insert("GOOGLE_GEMINI_BASE_URL".into(), url.into());
        }
        Ok(Launch {
            stdin: LaunchStdin::File(turn.paths.prompt_file.clone()),
            env_extra,
            env_aliases: vec![("GEMINI_API_KEY", "GOOGLE_API_KEY")],
            home_files,
            ..Launch::of(self.name(), "gemini", args)
        })
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::<Events>::default()
    }

    fn tells_usage(&self) -> UsageTold {
        UsageTold::AtTheEnd
    }

    /// Its own codes; else the code is the status of the provider's answer, of which the system keeps
    /// eight bits.
    fn exit_class(&self, code: i32) -> Option<TurnClass> {
        match code {
            41 => Some(TurnClass::Authentication),
            44 => Some(TurnClass::SandboxUnusable),
            53 => Some(TurnClass::MaxTurns),
            144..=255 => by_status(u64::try_from(code + 256).ok()?, None),
            _ => None,
        }
    }
}

#[derive(Default)]
struct Events {
    /// What it is saying: its messages come in pieces.
    saying: String,
    /// The tools that are in use, by the id of the use.
    tools: BTreeMap<String, Activity>,
    /// The last error that it told of beside its end.
    error: Option<String>,
    /// Whether its stderr names the error that it makes of a 404: its events have no word for that.
    is_not_found: bool,
}

impl Reader for Events {
    fn read(&mut self, event: &Value, telling: &mut Telling<'_>) {
        let kind = event["type"].as_str();
        if kind == Some("message") && event["role"] == "assistant" {
            self.saying.push_str(event["content"].as_str().unwrap_or_default());
            return;
        }
        match kind {
            Some("init") => telling.model(&event["model"]),
            Some("tool_use") => {
                self.say(telling);
                let activity = use_of(event);
                if let Activity::Ran { what, .. } = &activity {
                    telling.tell(Activity::Began { what: what.clone() });
                }
                self.tools.insert(event["tool_id"].as_str().unwrap_or_default().into(), activity);
            }
            Some("tool_result") => self.used(event, telling),
            Some("error") => {
                self.error = text(&event["message"]);
                telling.tell(Activity::Noted { text: self.error.clone().unwrap_or_default() });
            }
            Some("result") => self.result(event, telling),
            _ => {}
        }
    }

    fn read_stderr(&mut self, line: &str, _telling: &mut Telling<'_>) {
        const REPORT: &str = "Error when talking to Gemini API Full report available at: ";
        // Then comes the path of the report, and the name of the error.
        let named = line.strip_prefix(REPORT).and_then(|rest| rest.split_once(".json "));
        self.is_not_found |= named.is_some_and(|(_, it)| it.starts_with("ModelNotFoundError: "));
    }

    fn close(&mut self, _exit: Option<i32>, telling: &mut Telling<'_>) {
        self.say(telling);
        if self.is_not_found {
            telling.known_as(TurnClass::NotFound);
        }
    }
}

impl Events {
    fn say(&mut self, telling: &mut Telling<'_>) {
        telling.said(&Value::from(std::mem::take(&mut self.saying)));
    }

    fn used(&mut self, event: &Value, telling: &mut Telling<'_>) {
        let id = event["tool_id"].as_str().unwrap_or_default();
        let Some(activity) = self.tools.remove(id) else { return };
        match (event["error"]["type"].as_str(), activity) {
            (Some("policy_violation"), Activity::Ran { what, .. }) => {
                telling.tell(Activity::WasDenied { what });
            }
            (Some("policy_violation"), Activity::Changed { paths }) => {
                telling.tell(Activity::WasDenied { what: paths.join(", ") });
            }
            (Some(_), Activity::Changed { .. }) => {}
            (_, activity) => telling.tell(activity),
        }
    }

    fn result(&mut self, event: &Value, telling: &mut Telling<'_>) {
        self.say(telling);
        let stats = &event["stats"];
        // Zero is what it says where it does not know: a stream that broke was paid for.
        if stats["total_tokens"].as_u64().is_some_and(|tokens| tokens > 0) {
            telling.used_in_all(Usage {
                input_tokens: stats["input_tokens"].as_u64(),
                output_tokens: stats["output_tokens"].as_u64(),
                cached_tokens: stats["cached"].as_u64(),
                ..Usage::default()
            });
        }
        if event["status"] == "success" {
            return telling.done();
        }
        let error = &event["error"];
        let said = text(&error["message"]).or_else(|| self.error.take());
        let message = said.unwrap_or_else(|| "gemini did not say why".to_owned());
        let class = match error["type"].as_str() {
            Some("FatalTurnLimitedError") => TurnClass::MaxTurns,
            Some("FatalAuthenticationError") => TurnClass::Authentication,
            _ => class(&message),
        };
        let resets = reset_time::seconds_in(&message, "Suggested retry after ", SystemClock.now());
        telling.failed(Trouble { class, message, resets });
    }
}

/// Returns what the use of a tool is, once it is over.
fn use_of(event: &Value) -> Activity {
    let (tool, parameters) = (event["tool_name"].as_str(), &event["parameters"]);
    let tool = tool.unwrap_or("a tool");
    let first = || parameters.as_object()?.values().find_map(Value::as_str);
    match (tool, text(&parameters["file_path"]), text(&parameters["command"])) {
        ("write_file" | "replace", Some(path), _) => Activity::Changed { paths: vec![path] },
        (_, _, Some(what)) => Activity::Ran { what, exit: None },
        _ => Activity::Ran {
            what: first().map_or(tool.to_owned(), |first| format!("{tool} {first}")),
            exit: None,
        },
    }
}

/// Returns what an error's message says: the provider's answer, or gemini's words; else the exit code tells.
fn class(message: &str) -> TurnClass {
    let said = message.strip_prefix("[API Error: ").unwrap_or(message);
    let body = serde_json::Deserializer::from_str(said).into_iter::<Value>().next();
    let status = body.and_then(Result::ok).and_then(|body| body["error"]["code"].as_u64());
    let begins = |text: &str| said.starts_with(text);
    if let Some(class) = status.and_then(|status| by_status(status, None)) {
        class
    } else if begins("Model stream ended") || begins("exception TypeError: fetch failed") {
        TurnClass::Network
    } else {
        TurnClass::Crashed
    }
}
