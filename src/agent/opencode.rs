//! opencode, by `opencode run`: the prompt on stdin, one JSON event a line on stdout, after each step.

use std::ffi::OsString;
use std::time::Duration;

use serde_json::{Value, json};

use super::stream::by_status;
use super::{
    Activity, AgentError, Backend, Launch, LaunchStdin, Login, OwnLogin, Reader, Telling, Tool,
    Trouble, Turn, Usage, UsageTold, check_login, check_tool, text,
};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{AgentSettings, Environment};
use crate::convergence::TurnClass;

/// The backend `opencode`.
#[derive(Debug)]
pub(super) struct Opencode;

impl Backend for Opencode {
    fn name(&self) -> &'static str {
        "opencode"
    }

    fn tool(&self) -> Option<Tool> {
        let hint =
            "install it with `npm install -g opencode-ai`, or choose another `agent.backend`";
        Some(Tool { program: "opencode", tested: ("1.18.33", "1.18.33"), hint })
    }

    fn login_variables(&self) -> &'static [&'static str] {
        &["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "OPENROUTER_API_KEY", "OPENCODE_API_KEY"]
    }

    fn logins(&self) -> &'static [Login] {
        &[Login::Own(&OwnLogin {
            command: &["opencode", "auth", "login"],
            usually: &[],
            logout: &["opencode", "auth", "logout"],
            home: ("XDG_DATA_HOME", ".local/share"),
            files: &[".local/share/opencode/auth.json"],
        })]
    }

    fn hosts(&self) -> &'static [&'static str] {
        &["api.openai.com:443", "api.anthropic.com:443", "openrouter.ai:443", "opencode.ai:443"]
    }

    fn base_path(&self) -> Option<&'static str> {
        Some("/v1")
    }

    fn check(&self, settings: &AgentSettings, env: &Environment) -> Result<(), AgentError> {
        check_tool(self, env)?;
        check_login(self, settings, env, ".local/share/opencode/auth.json")
    }

    fn launch(&self, turn: &Turn<'_>) -> Result<Launch, AgentError> {
        let mut args: Vec<OsString> = ["run", "--format", "json"].map(OsString::from).into();
        // It takes no option twice.
        let own = |option: &[&str]| {
            let is_it = |one: &String| one.split('=').next() == option.first().copied();
            let is_set = turn.settings.args.iter().any(is_it);
            option.iter().filter(|_| !is_set).map(OsString::from).collect::<Vec<_>>()
        };
        // Without a title it has the model invent one, and tells nothing of what that used.
        args.extend(own(&["--title", "dark-factory"]));
        // Its log names what its events call an unknown error.
        args.extend(own(&["--print-logs"]));
        args.extend(own(&["--log-level", "ERROR"]));
        let mut config = config(turn);
        if let Some(url) = turn.base_url {
            let Some(model) = turn.model else {
                let hint = "an `agent.base_url` has no model of its own";
                return Err(AgentError::Missing { backend: self.name(), key: "agent.model", hint });
            };
            config["provider"]["factory"] = json!({
                "npm": "@ai-sdk/openai-compatible",
                "options": {"baseURL": url, "apiKey": "{env:OPENAI_API_KEY}"},
                "models": {model: {}},
            });
            args.extend(["-m".into(), format!("factory/{model}").into()]);
        } else if let Some(model) = turn.model {
            args.extend(["-m".into(), model.into()]);
        }
        if let Some(effort) = &turn.settings.effort {
            args.extend(["--variant".into(), effort.into()]);
        }
        args.extend(turn.settings.args.iter().map(OsString::from));
        // In the environment they go before the product's own settings.
        let env_extra = [
            ("OPENCODE_CONFIG_CONTENT", config.to_string()),
            ("OPENCODE_DISABLE_AUTOUPDATE", "1".to_owned()),
            ("OPENCODE_DISABLE_MODELS_FETCH", "1".to_owned()),
            ("OPENCODE_DISABLE_LSP_DOWNLOAD", "1".to_owned()),
        ];
        Ok(Launch {
            stdin: LaunchStdin::File(turn.paths.prompt_file.clone()),
            env_extra: env_extra.map(|(name, value)| (name.into(), value.into())).into(),
            ..Launch::of(self.name(), "opencode", args)
        })
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::<Events>::default()
    }

    fn tells_usage(&self) -> UsageTold {
        UsageTold::AsItGoes
    }
}

/// Returns its settings. What is to be asked for is rejected, and ends the turn, so that nothing is.
fn config(turn: &Turn<'_>) -> Value {
    let permission = if turn.confined {
        json!({"*": "allow"})
    } else {
        // Unconfined it edits, and runs the gates' own `make` alone.
        json!({
            "*": "allow",
            "bash": {"*": "deny", "make": "allow", "make *": "allow"},
            "external_directory": "deny",
        })
    };
    let mut config = json!({
        "autoupdate": false,
        "share": "disabled",
        "permission": permission,
    });
    if let Some(most) = turn.settings.max_turns {
        config["agent"] = json!({"build": {"steps": most}});
    }
    config
}

#[derive(Default)]
struct Events {
    used: Usage,
    is_over: bool,
    was_denied: bool,
    /// What its log says of a model that its own list has not: its events call that an unknown error.
    not_found: Option<String>,
}

impl Reader for Events {
    fn read(&mut self, event: &Value, telling: &mut Telling<'_>) {
        let part = &event["part"];
        match event["type"].as_str() {
            Some("text") => telling.said(&part["text"]),
            Some("tool_use") => self.tool(part, telling),
            Some("step_finish") => {
                let usage = usage(part);
                self.used = self.used.plus(usage);
                telling.tell(Activity::Used(usage));
                self.step(part["reason"].as_str().unwrap_or_default(), telling);
            }
            Some("error") => telling.troubled(trouble(&event["error"])),
            _ => {}
        }
    }

    fn read_stderr(&mut self, line: &str, _telling: &mut Telling<'_>) {
        let error = line.split_once(" error=\"ProviderModelNotFoundError: ");
        if let Some((_, said)) = error.filter(|_| line.starts_with("timestamp=")) {
            self.not_found = Some(said.split('"').next().unwrap_or_default().to_owned());
        }
    }

    fn close(&mut self, exit: Option<i32>, telling: &mut Telling<'_>) {
        if let Some(said) = self.not_found.take() {
            telling.troubled(Trouble::of(TurnClass::NotFound, said));
        }
        // Where it asks and nobody answers it ends within a step.
        if exit == Some(0) && !self.is_over && self.was_denied {
            telling.used_in_all(self.used);
            telling.done();
        }
    }
}

impl Events {
    /// There is no event of the turn's end: it is over after a step that ends with no tool.
    fn step(&mut self, reason: &str, telling: &mut Telling<'_>) {
        let refused =
            || Trouble::of(TurnClass::Refused, "the model's provider filtered its answer");
        match reason {
            "stop" => telling.done(),
            "content-filter" => telling.failed(refused()),
            _ => return,
        }
        self.is_over = true;
        telling.used_in_all(self.used);
    }

    fn tool(&mut self, part: &Value, telling: &mut Telling<'_>) {
        let (state, tool) = (&part["state"], part["tool"].as_str().unwrap_or("a tool"));
        let input = &state["input"];
        let command = text(&input["command"]);
        let first = || input.as_object()?.values().find_map(Value::as_str);
        let what = command.unwrap_or_else(|| match first() {
            Some(first) => format!("{tool} {first}"),
            None => tool.to_owned(),
        });
        let error = state["error"].as_str().filter(|_| state["status"] == "error");
        let denied =
            ["The user has specified a rule which prevents", "The user rejected permission"];
        let exit = state["metadata"]["exit"].as_i64().and_then(|code| i32::try_from(code).ok());
        match (error, text(&input["filePath"])) {
            (Some(error), _) if denied.iter().any(|words| error.starts_with(words)) => {
                self.was_denied = true;
                telling.tell(Activity::WasDenied { what });
            }
            (None, Some(path)) if ["edit", "write", "multiedit"].contains(&tool) => {
                telling.tell(Activity::Changed { paths: vec![path] });
            }
            _ => telling.tell(Activity::Ran { what, exit }),
        }
    }
}

/// Reads what a step used; its input is without what came from the cache, and its output without the
/// model's thoughts. A model whose price it does not know costs it nothing.
fn usage(part: &Value) -> Usage {
    let tokens = &part["tokens"];
    let cache = &tokens["cache"];
    let sum = |values: &[&Value]| {
        values.iter().filter_map(|value| value.as_u64()).reduce(u64::saturating_add)
    };
    Usage {
        input_tokens: sum(&[&tokens["input"], &cache["read"], &cache["write"]]),
        output_tokens: sum(&[&tokens["output"], &tokens["reasoning"]]),
        cached_tokens: cache["read"].as_u64(),
        cache_write_tokens: cache["write"].as_u64(),
        cost_usd: part["cost"].as_f64().filter(|cost| *cost > 0.0),
    }
}

/// Reads an error. It exits with 1 once it has told of one that did not pass.
fn trouble(error: &Value) -> Trouble {
    let data = &error["data"];
    let message = text(&data["message"]).or_else(|| text(&error["name"]));
    let body = data["responseBody"].as_str().unwrap_or_default();
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let code = body["error"]["code"].as_str().or(body["error"]["type"].as_str());
    let status = data["statusCode"].as_u64();
    let class = match (error["name"].as_str(), status) {
        (Some("ProviderAuthError"), _) => TurnClass::Authentication,
        (_, Some(status)) => by_status(status, code).unwrap_or(TurnClass::Crashed),
        // It has the system's word for what broke the connection.
        (_, None) if data["metadata"]["code"].is_string() => TurnClass::Network,
        _ => TurnClass::Crashed,
    };
    let after = data["responseHeaders"]["retry-after"].as_str().and_then(|text| text.parse().ok());
    let after = after.filter(|_| class == TurnClass::RateLimited).map(Duration::from_secs);
    Trouble {
        class,
        message: message.unwrap_or_else(|| "opencode failed and did not say why".to_owned()),
        resets: after.map(|after| SystemClock.now().plus(after)),
    }
}
