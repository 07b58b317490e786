//! `factory login`: a login of an agent's own, made once by the agent's own command and kept apart from the
//! person's.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;

use super::exit::{Exit, Failure, OrExit as _};
use super::run_scenarios::product_root;
use crate::agent::{self, HeldLogin, KeptLogin, with_own_login};
use crate::clock::Timestamp;
use crate::config::{AgentSettings, Environment};
use crate::process::{Call, Cancel, run_attended};
use crate::report::Output;
use crate::text::{nearest, visible};
use crate::verdict::Ending;

const EXAMPLES: &str = "\
Examples:
  factory login codex                  log in with a subscription; works over SSH
  factory login claude
  factory login codex -- --with-api-key < key.txt    other arguments for the agent's own command
  factory login command                what `agent.login` in dark-factory.yaml names
  factory login codex --status         is there a login?
  factory login codex --logout         log out, and remove it

The login is the factory's own: yours is neither read nor copied, since a refresh token is good once. A
variable with a key or token that the agent gets goes before it.

Exit codes: 0 logged in (with --logout: out), 2 there is no such login, 3 not logged in, or it could not be
done.";

/// What of the person's environment a login needs beside what the factory's tools get: a terminal, and a
/// way to open a browser.
const AT_A_TERMINAL: [&str; 9] = [
    "TERM",
    "BROWSER",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
    "SSH_CONNECTION",
    "SSH_TTY",
];

/// Log an agent in with a login of the factory's own, by the agent's own command.
#[derive(Debug, Clone, Parser)]
#[command(name = "login", after_help = EXAMPLES)]
pub struct Args {
    /// The backend of the agent.
    #[arg(value_name = "BACKEND", help = format!("The agent: {}, or command with `agent.login`", with_own_login().join(", ")))]
    pub backend: String,
    /// Say whether there is a login, and change nothing
    #[arg(long, conflicts_with_all = ["logout", "args"])]
    pub status: bool,
    /// Log out, and remove what is kept
    #[arg(long, conflicts_with = "args")]
    pub logout: bool,
    /// Arguments for the agent's own command, in place of the usual ones
    #[arg(last = true, value_name = "ARGS")]
    pub args: Vec<String>,
    /// The root of the product, for `agent.login` [default: from here up the first with dark-factory.yaml, else
    /// the repository's top]
    #[arg(long, value_name = "DIR")]
    pub workdir: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// There is no such login, somebody has it, or the agent's own command fails.
pub fn run(args: &Args, env: &Environment) -> anyhow::Result<Exit> {
    let kept = kept(args, env)?;
    let mut output = Output::stdout(env.no_color());
    let exit = if args.status {
        let files = kept.files();
        for path in &files {
            let millis = path.metadata().map_or(0, |found| found.mtime() * 1_000);
            let at = Timestamp::from_unix_millis(millis);
            output
                .line(format_args!("logged in: {}, of {at}", visible(&path.display().to_string())));
        }
        if files.is_empty() {
            output.line(format_args!("not logged in; `factory login {}` does so", args.backend));
            Exit::Broken
        } else {
            Exit::Satisfied
        }
    } else {
        let held = kept.hold().context("the place of the login can't be had")?;
        let Some(held) = held else {
            let why = format!(
                "the login `{}` is in use by a run or another `factory login`; wait for it",
                kept.name
            );
            return Err(Failure::because(Exit::Broken, why));
        };
        let said =
            if args.logout { log_out(&kept, &held, env)? } else { log_in(args, &kept, env)? };
        output.line(said);
        Exit::Satisfied
    };
    output.finish().context("can't write to standard output")?;
    Ok(exit)
}

/// Finds the login that is meant.
fn kept(args: &Args, env: &Environment) -> anyhow::Result<KeptLogin> {
    let name = args.backend.as_str();
    let settings = if name == "command" {
        let root = product_root(args.workdir.as_deref(), env)?;
        let config = crate::config::load(&root).or_exit(Exit::Usage)?;
        let mut agents = (0..).map_while(|number| config.agent.of(number));
        let asked =
            |one: &AgentSettings| one.backend.as_deref() == Some(name) && one.login.is_some();
        agents.find(asked).ok_or_else(|| {
            let why = "no agent in dark-factory.yaml has the backend `command` and `login`; write \
                       `agent.login: {command: [my-agent, login], files: [.my-agent/auth.json]}`";
            Failure::because(Exit::Usage, why)
        })?
    } else {
        AgentSettings { backend: Some(name.to_owned()), ..AgentSettings::default() }
    };
    let backend = agent::backend(&settings).or_exit(Exit::Usage)?;
    env.state_dir().or_exit(Exit::Broken)?;
    KeptLogin::of(backend, &settings, env).ok_or_else(|| {
        let with = with_own_login();
        let near = nearest(name, with.iter().copied()).map(|near| format!("; did you mean `{near}`?"));
        let variables = match backend.login_variables() {
            [] => String::new(),
            some => format!("; it takes {}", some.join(", ")),
        };
        let why = format!(
            "`{name}` has no login that the factory could keep{variables}{}; those that have one are {} \
             and `command`",
            near.unwrap_or_default(),
            with.join(", ")
        );
        Failure::because(Exit::Usage, why)
    })
}

fn log_in(args: &Args, kept: &KeptLogin, env: &Environment) -> anyhow::Result<String> {
    let before = contents(kept);
    let more = if args.args.is_empty() { &kept.usually } else { &args.args };
    let command = [kept.command.as_slice(), more].concat();
    let ending = talk(kept, &command, env)?;
    let shown = command.join(" ");
    if ending != (Ending::Exited { code: 0 }) {
        let stays = if before.is_empty() { "" } else { "; the earlier login stays" };
        let why = match ending {
            Ending::Exited { code } => format!("`{shown}` ended with {code}{stays}"),
            _ => format!("`{shown}` was interrupted{stays}"),
        };
        return Err(Failure::because(Exit::Broken, why));
    }
    let files = kept.files();
    if files.is_empty() {
        let why = format!(
            "`{shown}` kept no login that the factory knows in {}; see whether it uses a keychain, and set \
             a variable with a key or token instead",
            kept.home().display()
        );
        return Err(Failure::because(Exit::Broken, why));
    }
    for path in &files {
        fs::set_permissions(path, Permissions::from_mode(0o600))
            .with_context(|| format!("can't make `{}` private", path.display()))?;
    }
    Ok(format!("{} is logged in; kept in {}", args.backend, kept.home().display()))
}

fn log_out(kept: &KeptLogin, held: &HeldLogin, env: &Environment) -> anyhow::Result<String> {
    let mut said = "logged out".to_owned();
    if kept.is_there() && !kept.logout.is_empty() {
        // What is kept goes in any case; the provider's side may need another way.
        match talk(kept, &kept.logout, env) {
            Ok(Ending::Exited { code: 0 }) => {}
            Ok(_) | Err(_) => {
                said = format!(
                    "removed what was kept; `{}` failed, so that the provider may not know",
                    kept.logout.join(" ")
                );
            }
        }
    }
    held.forget()?;
    Ok(said)
}

/// Runs a command of the agent's on this terminal, with the login's own home.
fn talk(kept: &KeptLogin, command: &[String], env: &Environment) -> anyhow::Result<Ending> {
    let home = kept.home();
    let mut variables = env.for_tools();
    for name in AT_A_TERMINAL {
        if let Some(value) = env.get(name) {
            variables.insert(name.into(), value.into());
        }
    }
    variables.remove(std::ffi::OsStr::new("XDG_CONFIG_HOME"));
    variables.insert("HOME".into(), home.clone().into());
    if let Some((variable, dir)) = kept.directory {
        let dir = home.join(dir);
        fs::create_dir_all(&dir).with_context(|| format!("can't make `{}`", dir.display()))?;
        variables.insert(variable.into(), dir.into());
    }
    // A key that interrupts ends the agent's command, and this one tells of it.
    let _signals = Cancel::on_signals().context("can't watch for signals")?;
    let (program, rest) = command.split_first().context("`agent.login.command` is empty")?;
    let call = Call::new(program, &home).args(rest).env(variables);
    run_attended(&call)
        .with_context(|| format!("can't run `{program}`; install it, or correct PATH"))
        .or_exit(Exit::Broken)
}

fn contents(kept: &KeptLogin) -> Vec<Vec<u8>> {
    kept.files().iter().filter_map(|path| fs::read(path).ok()).collect()
}
