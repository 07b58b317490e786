//! Codex, by `codex exec`: the prompt on stdin, one JSON event a line on stdout, and more in the
//! session's file.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::codex_session::Session;
use super::stream::by_status;
use super::{
    Activity, AgentError, Backend, Launch, LaunchStdin, Login, OwnLogin, Reader, Telling, Tool,
    Trouble, Turn, Usage, UsageTold, check_login, check_tool, reset_time,
};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{AgentSettings, Environment};
use crate::convergence::TurnClass;

/// The backend `codex`.
#[derive(Debug)]
pub(super) struct Codex;

impl Backend for Codex {
    fn name(&self) -> &'static str {
        "codex"
    }

    fn tool(&self) -> Option<Tool> {
        let hint =
            "install it with `npm install -g @openai/codex`, or choose another `agent.backend`";
        Some(Tool { program: "codex", tested: ("0.169.0", "0.169.0"), hint })
    }

    fn login_variables(&self) -> &'static [&'static str] {
        &["CODEX_API_KEY", "OPENAI_API_KEY"]
    }

    fn logins(&self) -> &'static [Login] {
        &[
            Login::Own(&OwnLogin {
                command: &["codex", "login"],
                // The other way needs a browser on this machine.
                usually: &["--device-auth"],
                logout: &["codex", "logout"],
                home: ("CODEX_HOME", ".codex"),
                files: &[".codex/auth.json"],
            }),
            Login::Cloud {
                name: "Azure",
                switch: "AZURE_OPENAI_API_KEY",
                variables: &["AZURE_OPENAI_API_VERSION"],
            },
        ]
    }

    fn hosts(&self) -> &'static [&'static str] {
        &["api.openai.com:443", "chatgpt.com:443", "auth.openai.com:443"]
    }

    fn check(&self, settings: &AgentSettings, env: &Environment) -> Result<(), AgentError> {
        check_tool(self, env)?;
        check_login(self, settings, env, ".codex/auth.json")
    }

    fn launch(&self, turn: &Turn<'_>) -> Result<Launch, AgentError> {
        let mut args: Vec<OsString> =
            ["exec", "--json", "--skip-git-repo-check", "--color", "never"]
                .map(OsString::from)
                .into();
        let sandbox = if turn.confined { "danger-full-access" } else { "workspace-write" };
        args.extend(["-s".into(), sandbox.into()]);
        args.extend(["-C".into(), turn.paths.workspace.clone().into()]);
        let mut set = |value: String| args.extend(["-c".into(), value.into()]);
        // What it would ask for of other hosts than its model's.
        set("analytics.enabled=false".to_owned());
        set("features.plugins=false".to_owned());
        if let Some(effort) = &turn.settings.effort {
            set(format!("model_reasoning_effort={}", toml(effort)));
        }
        if let Some(url) = turn.base_url {
            set("model_provider=factory".to_owned());
            set(format!(
                "model_providers.factory={{name=\"factory\",base_url={},\
                 env_key=\"CODEX_API_KEY\",wire_api=\"responses\"}}",
                toml(url)
            ));
        }
        if let Some(model) = turn.model {
            args.extend(["-m".into(), model.into()]);
        }
        args.extend(turn.settings.args.iter().map(OsString::from));
        // The prompt comes on stdin; with a prompt in argv too, stdin would be appended to it.
        args.push("-".into());
        let mut home_files = BTreeMap::new();
        if turn.confined {
            // Nobody is there to approve it, and codex takes it for dangerous in its own sandbox or none.
            let rule = "prefix_rule(pattern = [\"rm\"], decision = \"allow\")\n";
            home_files.insert(".codex/rules/factory.rules".into(), rule.to_owned());
        }
        Ok(Launch {
            stdin: LaunchStdin::File(turn.paths.prompt_file.clone()),
            env_extra: BTreeMap::from([
                ("CODEX_HOME".into(), turn.paths.home.join(".codex").into()),
                // It names the time of a limit's end by the clock, and no zone.
                ("TZ".into(), "UTC".into()),
            ]),
            // `codex exec` takes a key from CODEX_API_KEY alone.
            env_aliases: vec![("CODEX_API_KEY", "OPENAI_API_KEY")],
            // codex refuses a CODEX_HOME that is not there.
            home_dirs: vec![PathBuf::from(".codex")],
            home_files,
            ..Launch::of(self.name(), "codex", args)
        })
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::<Events>::default()
    }

    fn tells_usage(&self) -> UsageTold {
        UsageTold::AsItGoes
    }

    /// Stdout says only at the end what a turn has used, and of a command that codex's own sandbox
    /// kept from running nothing at all; the session's file does.
    fn side(&self, home: &Path) -> Option<PathBuf> {
        Some(home.join(".codex/sessions"))
    }
}

/// Writes a text as TOML does.
fn toml(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[derive(Default)]
struct Events {
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
    if begins("Quota exceeded") || begins("To use Codex with your ChatGPT plan") {
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
