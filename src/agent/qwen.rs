//! Qwen Code, by `qwen -o stream-json`: the prompt on stdin, one JSON event a line on stdout.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::stream::by_status;
use super::{
    Activity, AgentError, Backend, Launch, LaunchStdin, Reader, Telling, Tool, Trouble, Turn,
    Usage, UsageTold, check_login, check_tool, text,
};
use crate::config::{AgentSettings, Environment};
use crate::convergence::TurnClass;

/// How the words begin that qwen puts in the place of an answer.
const ERROR: &str = "[API Error: ";

/// The backend `qwen`.
#[derive(Debug)]
pub(super) struct Qwen;

impl Backend for Qwen {
    fn name(&self) -> &'static str {
        "qwen"
    }

    fn tool(&self) -> Option<Tool> {
        let hint = "install it with `npm install -g @qwen-code/qwen-code`, or choose another `agent.backend`";
        Some(Tool { program: "qwen", tested: ("0.15.10", "0.15.10"), hint })
    }

    fn login_variables(&self) -> &'static [&'static str] {
        &["OPENAI_API_KEY", "DASHSCOPE_API_KEY"]
    }

    fn hosts(&self) -> &'static [&'static str] {
        &["dashscope.aliyuncs.com:443", "dashscope-intl.aliyuncs.com:443"]
    }

    fn base_path(&self) -> Option<&'static str> {
        Some("/v1")
    }

    fn check(&self, settings: &AgentSettings, env: &Environment) -> Result<(), AgentError> {
        check_tool(self, env)?;
        check_login(self, settings, env, ".qwen/oauth_creds.json")
    }

    fn launch(&self, turn: &Turn<'_>) -> Result<Launch, AgentError> {
        let mode = if turn.confined { "yolo" } else { "auto-edit" };
        let has_login = turn.settings.home.iter().any(|entry| entry.ends_with("oauth_creds.json"));
        let login = if has_login { "qwen-oauth" } else { "openai" };
        let mut args: Vec<OsString> =
            ["-o", "stream-json", "--approval-mode", mode, "--auth-type", login]
                .map(OsString::from)
                .into();
        if !turn.confined {
            // Unconfined it edits, and runs the gates' own `make` alone.
            args.extend(["--allowed-tools".into(), "run_shell_command(make)".into()]);
        }
        if let Some(model) = turn.model {
            args.extend(["-m".into(), model.into()]);
        }
        if let Some(most) = turn.settings.max_turns {
            args.extend(["--max-session-turns".into(), most.to_string().into()]);
        }
        args.extend(turn.settings.args.iter().map(OsString::from));
        let settings = json!({
            "general": {"enableAutoUpdate": false},
            "privacy": {"usageStatisticsEnabled": false},
            "telemetry": {"enabled": false},
        });
        // The product may ask for qwen's own sandbox, which can't be within another.
        let mut env_extra = BTreeMap::from([("QWEN_SANDBOX".into(), "false".into())]);
        if let Some(url) = turn.base_url {
            env_extra.insert("OPENAI_BASE_URL".into(), url.into());
        } else if !has_login {
            let own = "https://dashscope-intl.aliyuncs.com/compatible-mode/v1";
            env_extra.insert("OPENAI_BASE_URL".into(), own.into());
        }
        Ok(Launch {
            stdin: LaunchStdin::File(turn.paths.prompt_file.clone()),
            env_extra,
            env_aliases: vec![("OPENAI_API_KEY", "DASHSCOPE_API_KEY")],
            home_files: BTreeMap::from([(
                PathBuf::from(".qwen/settings.json"),
                settings.to_string(),
            )]),
            ..Launch::of(self.name(), "qwen", args)
        })
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::<Events>::default()
    }

    fn tells_usage(&self) -> UsageTold {
        UsageTold::AsItGoes
    }

    fn exit_class(&self, code: i32) -> Option<TurnClass> {
        match code {
            41 => Some(TurnClass::Authentication),
            44 => Some(TurnClass::SandboxUnusable),
            53 => Some(TurnClass::MaxTurns),
            _ => None,
        }
    }
}

#[derive(Default)]
struct Events {
    /// The tools that are in use, by the id of the use.
    tools: BTreeMap<String, Activity>,
    /// What the last message says, where nothing was used for it.
    unpaid: Option<String>,
}

impl Reader for Events {
    fn read(&mut self, event: &Value, telling: &mut Telling<'_>) {
        let blocks = || event["message"]["content"].as_array().into_iter().flatten();
        match event["type"].as_str() {
            Some("system") if event["subtype"] == "init" => telling.model(&event["model"]),
            Some("assistant") => {
                self.unpaid = Some(String::new());
                if let Some(usage) = usage(&event["message"]["usage"]) {
                    self.unpaid = None;
                    telling.tell(Activity::Used(usage));
                }
                blocks().for_each(|block| self.said(block, telling));
            }
            Some("user") => blocks().for_each(|block| self.used(block, telling)),
            Some("result") => self.result(event, telling),
            _ => {}
        }
    }
}

impl Events {
    fn said(&mut self, block: &Value, telling: &mut Telling<'_>) {
        match block["type"].as_str() {
            Some("text") => match &mut self.unpaid {
                Some(unpaid) => {
                    unpaid.push_str(block["text"].as_str().unwrap_or_default());
                    // It passes an error off as the model's own words.
                    if !unpaid.contains(ERROR) {
                        telling.said(&block["text"]);
                    }
                }
                None => telling.said(&block["text"]),
            },
            Some("tool_use") => {
                let activity = use_of(block);
                if let Activity::Ran { what, .. } = &activity {
                    telling.tell(Activity::Began { what: what.clone() });
                }
                self.tools.insert(block["id"].as_str().unwrap_or_default().to_owned(), activity);
            }
            _ => {}
        }
    }

    /// Tells of a tool whose result has come; what was denied is told of at the end.
    fn used(&mut self, block: &Value, telling: &mut Telling<'_>) {
        let id = block["tool_use_id"].as_str().unwrap_or_default();
        if let Some(activity) = self.tools.remove(id).filter(|_| block["is_error"] != true) {
            telling.tell(activity);
        }
    }

    fn result(&mut self, event: &Value, telling: &mut Telling<'_>) {
        if let Some(usage) = usage(&event["usage"]) {
            telling.used_in_all(usage);
        }
        for denied in event["permission_denials"].as_array().into_iter().flatten() {
            let block = json!({"name": denied["tool_name"], "input": denied["tool_input"]});
            let what = match use_of(&block) {
                Activity::Changed { paths } => paths.join(", "),
                Activity::Ran { what, .. } => what,
                _ => continue,
            };
            telling.tell(Activity::WasDenied { what });
        }
        let is_error = event["is_error"] == true || event["subtype"] != "success";
        // An answer that broke, or that never came, is a success to qwen; nothing was used for it.
        let said = text(&event["error"]["message"]).or_else(|| self.unpaid.take());
        let Some(said) = said.or_else(|| is_error.then(String::new)) else {
            return telling.done();
        };
        let class = match event["subtype"].as_str() {
            Some("error_max_turns") => TurnClass::MaxTurns,
            _ => class(&said),
        };
        telling.failed(Trouble::of(class, said));
    }
}

/// Returns what the use of a tool is, once it is over: its exit code is not in the stream.
fn use_of(block: &Value) -> Activity {
    let (name, input) = (block["name"].as_str().unwrap_or("a tool"), &block["input"]);
    let first = || input.as_object()?.values().find_map(Value::as_str);
    match (name, text(&input["file_path"]), text(&input["command"])) {
        ("edit" | "write_file", Some(path), _) => Activity::Changed { paths: vec![path] },
        (_, _, Some(what)) => Activity::Ran { what, exit: None },
        _ => {
            let what = first().map_or(name.to_owned(), |first| format!("{name} {first}"));
            Activity::Ran { what, exit: None }
        }
    }
}

/// Reads the tokens of an answer or of a turn; none where nothing was used, which is what it says where
/// it does not know.
fn usage(of: &Value) -> Option<Usage> {
    let usage = Usage {
        input_tokens: of["input_tokens"].as_u64(),
        output_tokens: of["output_tokens"].as_u64(),
        cached_tokens: of["cache_read_input_tokens"].as_u64(),
        ..Usage::default()
    };
    let is_some = |count: Option<u64>| count.is_some_and(|count| count > 0);
    (is_some(usage.input_tokens) || is_some(usage.output_tokens)).then_some(usage)
}

/// Returns what a message says that stands for an error; one that is none is an answer that broke off.
fn class(message: &str) -> TurnClass {
    let Some((_, said)) = message.split_once(ERROR) else {
        return match message {
            _ if message.starts_with("Missing API key") => TurnClass::Authentication,
            _ => TurnClass::Network,
        };
    };
    let end = said.find(|c: char| !c.is_ascii_digit()).unwrap_or(said.len());
    let class = said[..end].parse().ok().and_then(|status| by_status(status, None));
    let is_lost = said.starts_with("Connection error");
    class.unwrap_or(if is_lost { TurnClass::Network } else { TurnClass::Crashed })
}
