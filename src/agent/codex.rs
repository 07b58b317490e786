//! Codex, by `codex exec`: the prompt on stdin, one JSON event a line on stdout, and more in the
//! session's file.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::codex_events::Events;
use super::{
    AgentError, Backend, KeyRoute, Launch, LaunchStdin, Login, OwnLogin, Reader, Tool, Turn,
    UsageTold, check_login, check_tool,
};
use crate::config::{AgentSettings, Environment};

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

    fn key_routes(&self) -> &'static [KeyRoute] {
        const ROUTE: KeyRoute = KeyRoute {
            variable: "CODEX_API_KEY",
            provider: "https://api.openai.com/v1",
            header: "authorization",
            word: "Bearer ",
        };
        &[ROUTE, KeyRoute { variable: "OPENAI_API_KEY", ..ROUTE }]
    }

    fn hosts(&self) -> &'static [&'static str] {
        &["api.openai.com:443", "chatgpt.com:443", "auth.openai.com:443"]
    }

    fn base_path(&self) -> Option<&'static str> {
        Some("/v1")
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
