//! Claude Code, by `claude -p`: the prompt on stdin, one JSON event a line on stdout.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use super::claude_events::Events;
use super::{
    AgentError, Backend, KeyRoute, Launch, LaunchStdin, Login, OwnLogin, Reader, Tool, Turn,
    UsageTold, check_login, check_tool,
};
use crate::config::{AgentSettings, Environment};

/// The backend `claude`.
#[derive(Debug)]
pub(super) struct Claude;

impl Backend for Claude {
    fn name(&self) -> &'static str {
        "claude"
    }

    fn tool(&self) -> Option<Tool> {
        let hint = "install it with `npm install -g @anthropic-ai/claude-code`, or choose another `agent.backend`";
        Some(Tool { program: "claude", tested: ("2.1.197", "2.1.197"), hint })
    }

    fn login_variables(&self) -> &'static [&'static str] {
        &["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"]
    }

    fn logins(&self) -> &'static [Login] {
        &[
            Login::Own(&OwnLogin {
                command: &["claude", "auth", "login"],
                usually: &[],
                logout: &["claude", "auth", "logout"],
                home: ("CLAUDE_CONFIG_DIR", ".claude"),
                files: &[".claude/.credentials.json"],
            }),
            Login::Cloud {
                name: "Bedrock",
                switch: "CLAUDE_CODE_USE_BEDROCK",
                variables: &[
                    "AWS_REGION",
                    "AWS_DEFAULT_REGION",
                    "AWS_PROFILE",
                    "AWS_ACCESS_KEY_ID",
                    "AWS_SECRET_ACCESS_KEY",
                    "AWS_SESSION_TOKEN",
                    "AWS_BEARER_TOKEN_BEDROCK",
                    "ANTHROPIC_BEDROCK_BASE_URL",
                ],
            },
            Login::Cloud {
                name: "Vertex",
                switch: "CLAUDE_CODE_USE_VERTEX",
                variables: &[
                    "CLOUD_ML_REGION",
                    "ANTHROPIC_VERTEX_PROJECT_ID",
                    "ANTHROPIC_VERTEX_BASE_URL",
                    "GOOGLE_APPLICATION_CREDENTIALS",
                    "GOOGLE_CLOUD_PROJECT",
                ],
            },
        ]
    }

    fn key_routes(&self) -> &'static [KeyRoute] {
        &[KeyRoute {
            variable: "ANTHROPIC_API_KEY",
            provider: "https://api.anthropic.com",
            header: "x-api-key",
            word: "",
        }]
    }

    fn hosts(&self) -> &'static [&'static str] {
        &["api.anthropic.com:443", "platform.claude.com:443", "claude.ai:443"]
    }

    fn base_path(&self) -> Option<&'static str> {
        Some("")
    }

    fn check(&self, settings: &AgentSettings, env: &Environment) -> Result<(), AgentError> {
        check_tool(self, env)?;
        check_login(self, settings, env, ".claude/.credentials.json")
    }

    fn launch(&self, turn: &Turn<'_>) -> Result<Launch, AgentError> {
        // Unconfined, edits are allowed, and of commands only the gates' own `make`; `agent.args` widens
        // that.
        let permissions: &[&str] = if turn.confined {
            &["--permission-mode", "bypassPermissions"]
        } else {
            &["--permission-mode", "acceptEdits", "--allowedTools", "Bash(make:*)"]
        };
        let mut args: Vec<OsString> = ["-p", "--output-format", "stream-json", "--verbose"]
            .iter()
            .chain(permissions)
            .map(OsString::from)
            .collect();
        if let Some(model) = turn.model {
            args.extend(["--model".into(), model.into()]);
        }
        if let Some(money) = turn.money {
            args.extend(["--max-budget-usd".into(), format!("{money:.4}").into()]);
        }
        if let Some(effort) = &turn.settings.effort {
            args.extend(["--effort".into(), effort.into()]);
        }
        if let Some(most) = turn.settings.max_turns {
            args.extend(["--max-turns".into(), most.to_string().into()]);
        }
        if turn.is_metered {
            // Without them what the model writes is told at the end of the turn only.
            args.push("--include-partial-messages".into());
        }
        args.extend(turn.settings.args.iter().map(OsString::from));
        let mut env_extra = BTreeMap::from(
            [
                ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
                ("DISABLE_AUTOUPDATER", "1"),
                // The default retries a refused login for longer than anybody would wait.
                ("CLAUDE_CODE_MAX_RETRIES", "5"),
            ]
            .map(|(name, value)| (OsString::from(name), OsString::from(value))),
        );
        if let Some(url) = turn.base_url {
            env_extra.insert("ANTHROPIC_BASE_URL".into(), url.into());
        }
        if turn.confined {
            env_extra.insert("IS_SANDBOX".into(), "1".into());
        }
        env_extra.insert("CLAUDE_CONFIG_DIR".into(), turn.paths.home.join(".claude").into());
        Ok(Launch {
            stdin: LaunchStdin::File(turn.paths.prompt_file.clone()),
            env_extra,
            home_dirs: vec![PathBuf::from(".claude")],
            ..Launch::of(self.name(), "claude", args)
        })
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::<Events>::default()
    }

    fn tells_usage(&self) -> UsageTold {
        UsageTold::AsItGoes
    }
}
