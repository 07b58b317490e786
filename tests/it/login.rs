//! A login that an agent's CLI renews by itself, against a token endpoint that takes each refresh token once:
//! kept between the turns and over a kill, and in nothing that is stored.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use dark_factory::clock::SystemClock;
use dark_factory::model_server::{Options, Script, Server};
use dark_factory::text::base64;
use serde_json::{Value, json};

use crate::support::{Product, Ran, contains, wait_until, walk};

/// What the tokens begin with, those that are renewed too.
const SECRETS: [&str; 2] = ["access-token-of-a-person", "refresh-token-of-a-person"];

/// A CLI that has a login of its own. It takes a token that is refused for one that has run out, renews it,
/// and tells everybody what it has, as a CLI should not. Each turn brings a line more.
const CLI: &str = r#"#!/usr/bin/env bash
set -eu
auth=$HOME/.my-agent/auth.json
if [ "$1" = login ]; then
  mkdir -p "$HOME/.my-agent"
  cp -- "$2" "$auth"
  echo "logged in" && exit
fi
port=$2
field() { sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p"; }
post() {
  exec 3<>"/dev/tcp/127.0.0.1/$port"
  printf 'POST %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %s\r\n\r\n%s' \
    "$1" "$2" "${#3}" "$3" >&3
  cat <&3
}
body='{"model": "m", "tools": [{"type": "function", "function": {"name": "bash"}}], "messages": [{"role": "user", "content": "turn"}]}'
token=$(field access_token <"$auth")
answer=$(post /v1/chat/completions "$token" "$body")
if [[ $answer = *" 401 "* ]]; then
  echo "refused with $token"
  refresh=$(field refresh_token <"$auth")
  new=$(post /oauth/token "" "{\"grant_type\": \"refresh_token\", \"refresh_token\": \"$refresh\"}")
  new=${new##*$'\r\n\r\n'}
  echo "before it is stored: $new" >&2
  new=$(printf '%s' "$new" | tr -d '\n' | sed 's/":"/": "/g')
  printf '{"access_token": "%s", "refresh_token": "%s"}' "$(field access_token <<<"$new" | head -n 1)" \
    "$(field refresh_token <<<"$new")" >"$auth.new"
  mv -- "$auth.new" "$auth"
  token=$(field access_token <"$auth")
  answer=$(post /v1/chat/completions "$token" "$body")
  if [ -e "$3/hang" ]; then sleep 100; fi
fi
echo "stored: $(cat "$auth")"
[[ $answer = *" 200 "* ]]
echo "line" >>lines.txt
"#;

struct Bench {
    product: Product,
}

impl Bench {
    /// Makes a product that wants two lines, an agent with a login, and the provider of both.
    fn new(isolation: &str) -> Self {
        let product = Product::new();
        let at = |name: &str| product.base().join(name);
        let port = serve(
            &product,
            &format!(
                "oauth: {{access: {}-1, refresh: {}-1}}\nturns:\n- replies: [{{say: fine, times: 50}}]\n",
                SECRETS[0], SECRETS[1]
            ),
        );
        let issued = format!(
            r#"{{"access_token": "{}-that-has-run-out", "refresh_token": "{}-1"}}"#,
            SECRETS[0], SECRETS[1]
        );
        fs::write(at("issued.json"), issued).unwrap();
        let cli = at("my-agent").display().to_string();
        let base = product.base().display().to_string();
        let product = product
            .executable("../my-agent", CLI)
            .file("lines.txt", "")
            .config(&format!(
                "satisfaction: {{threshold: 1.0}}\nagent:\n  backend: command\n  \
                 command: [\"{cli}\", turn, \"{port}\", \"{base}\"]\n  \
                 login: {{command: [\"{cli}\", login, \"{base}/issued.json\"], files: [.my-agent/auth.json]}}\n\
                 {isolation}"
            ))
            .scenario("two", "test \"$(wc -l <lines.txt)\" -ge 2")
            .committed();
        fs::set_permissions(product.base(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
        Self { product }
    }

    fn log_in(&self) {
        self.product.factory(&["login", "command"]).code(0).says("command is logged in");
    }

    /// Makes a product whose agent is the real codex with a subscription, whose token has run out; none where
    /// `make agents` has not installed it.
    fn codex() -> Option<(Self, String)> {
        let agents =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("target/agents").canonicalize().ok()?;
        let path = format!(
            "{}:{}",
            agents.join("node_modules/.bin").display(),
            std::env::var("PATH").unwrap()
        );
        let product = Product::new();
        let replies = "- replies: [{run: \"echo line >>lines.txt\"}, {say: All done.}]\n".repeat(2);
        let port = serve(
            &product,
            &format!(
                "oauth: {{access: {}-1, refresh: {}-1, jwt: true}}\nturns:\n{replies}",
                SECRETS[0], SECRETS[1]
            ),
        );
        let address = format!("http://127.0.0.1:{port}");
        let product = product
            .file("lines.txt", "")
            .config(&format!(
                "satisfaction: {{threshold: 1.0}}\nspecs: []\nagent:\n  backend: codex\n  model: fake-model\n  \
                 env: [CODEX_REFRESH_TOKEN_URL_OVERRIDE]\n  args:\n  - -c\n  - model_provider=fake\n  \
                 - -c\n  - 'model_providers.fake={{name=\"fake\",base_url=\"{address}/v1\",\
                 wire_api=\"responses\",requires_openai_auth=true}}'\n"
            ))
            .scenario("two", "test \"$(wc -l <lines.txt)\" -ge 2")
            .committed();
        let home = product.state().join("dark-factory/logins/codex/.codex");
        fs::create_dir_all(&home).unwrap();
        let token = jwt();
        let auth = json!({
            "auth_mode": "chatgpt",
            "OPENAI_API_KEY": null,
            "tokens": {
                "id_token": token,
                "access_token": token,
                "refresh_token": format!("{}-1", SECRETS[1]),
                "account_id": "account",
            },
            "last_refresh": "2026-01-01T00:00:00Z",
        });
        fs::write(home.join("auth.json"), auth.to_string()).unwrap();
        Some((Self { product }, path))
    }

    /// Returns the status of each request to the token endpoint.
    fn refreshes(&self) -> Vec<u64> {
        let ledger =
            fs::read_to_string(self.product.base().join("ledger.jsonl")).unwrap_or_default();
        let entries = ledger.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        entries
            .filter(|entry| entry["protocol"] == "oauth")
            .map(|entry| entry["status"].as_u64().unwrap())
            .collect()
    }

    fn logins(&self) -> PathBuf {
        self.product.state().join("dark-factory/logins")
    }

    /// Fails unless the login home has the renewed login, and nobody else anything of any.
    #[track_caller]
    fn check(&self, ran: &Ran) {
        assert_eq!(self.refreshes(), [200], "{}\n{}", ran.stdout, ran.stderr);
        let kept = self.logins().join("command-my-agent/.my-agent/auth.json");
        let kept = fs::read_to_string(kept).unwrap();
        assert!(kept.contains(&format!("{}-1-2", SECRETS[1])), "{kept}");
        self.check_stored_nowhere(ran, &SECRETS);
        // The search would have found them: the agent has told them all, and they were taken out.
        let told = fs::read_to_string(self.product.run_state().join("turns/1-1/stdout")).unwrap();
        assert!(told.contains("refused with [redacted]"), "{told}");
        let told = fs::read_to_string(self.product.run_state().join("turns/1-1/stderr")).unwrap();
        assert!(told.contains("before it is stored: ") && told.contains("[redacted]"), "{told}");
    }

    /// Fails where a file beside the login home, or a stream, holds one of `secrets`.
    #[track_caller]
    fn check_stored_nowhere(&self, ran: &Ran, secrets: &[&str]) {
        let mut looked_at = 0;
        walk(self.product.base(), &mut |path, metadata| {
            if path == self.logins()
                || path.ends_with("issued.json")
                || path.ends_with("script.yaml")
            {
                return false;
            }
            if metadata.is_file() {
                looked_at += 1;
                let bytes = fs::read(path).unwrap();
                for secret in secrets {
                    assert!(!contains(&bytes, secret.as_bytes()), "{secret} in {}", path.display());
                }
            }
            true
        });
        assert!(looked_at > 30, "{looked_at} files are not all of them");
        for stream in [&ran.stdout, &ran.stderr] {
            assert!(secrets.iter().all(|secret| !stream.contains(secret)), "{stream}");
        }
    }
}

/// Starts a provider that answers from `script`, and returns its port.
fn serve(product: &Product, script: &str) -> u16 {
    let at = |name: &str| product.base().join(name);
    fs::write(at("script.yaml"), script).unwrap();
    let options = Options {
        script: Script::load(&at("script.yaml")).unwrap(),
        ledger: Some(at("ledger.jsonl")),
        ..Options::default()
    };
    let server = Server::bind(options, Box::new(SystemClock)).unwrap();
    let port = server.address().unwrap().port();
    thread::spawn(move || server.serve());
    port
}

/// Returns a token as codex looks into it, which has run out.
fn jwt() -> String {
    let claims = json!({
        "exp": 1_700_000_000, "email": "person@localhost",
        "https://api.openai.com/auth": {
            "chatgpt_plan_type": "plus", "chatgpt_account_id": "account", "chatgpt_user_id": "user",
        },
    });
    let part = |value: &Value| {
        let text = base64(value.to_string().as_bytes());
        text.trim_end_matches('=').replace('+', "-").replace('/', "_")
    };
    format!("{}.{}.c2lnbmF0dXJl", part(&json!({"alg": "none", "typ": "JWT"})), part(&claims))
}

/// The real one, where `make agents` has installed it.
#[test]
fn codex_renews_its_subscription_once_and_the_factory_keeps_it() {
    let Some((bench, path)) = Bench::codex() else { return };
    let server = fs::read_to_string(bench.product.path("dark-factory.yaml")).unwrap();
    let port = server.split("http://127.0.0.1:").nth(1).unwrap().split('/').next().unwrap();
    let url = format!("http://127.0.0.1:{port}/oauth/token");
    let env = [("PATH", path.as_str()), ("CODEX_REFRESH_TOKEN_URL_OVERRIDE", url.as_str())];
    let ran = bench.product.iterate_with(&[], &env).code(0).says("converged");
    assert_eq!(bench.refreshes(), [200], "{}\n{}", ran.stdout, ran.stderr);
    let kept = bench.logins().join("codex/.codex/auth.json");
    let kept: Value = serde_json::from_str(&fs::read_to_string(kept).unwrap()).unwrap();
    assert_eq!(kept["tokens"]["refresh_token"], format!("{}-1-2", SECRETS[1]));
    let access = kept["tokens"]["access_token"].as_str().unwrap();
    bench.check_stored_nowhere(&ran, &[SECRETS[1], access, &jwt()]);
}

#[test]
fn a_login_is_renewed_once_over_two_turns_kept_and_stored_nowhere_else() {
    let bench = Bench::new("");
    bench.log_in();
    let ran = bench.product.iterate(&[]).code(0).says("converged");
    assert_eq!(bench.product.events_named("agent.finished").len(), 2);
    bench.check(&ran);
    let told = fs::read_to_string(bench.product.run_state().join("turns/1-1/stdout")).unwrap();
    assert!(told.contains("stored: {\"access_token\": \"[redacted]\""), "{told}");
    bench.product.factory(&["login", "command", "--status"]).code(0).says("logged in: ");
}

#[test]
fn so_it_is_for_an_agent_that_is_confined() {
    let bench = Bench::new("isolation: {agent: sandbox, judge: copy}\nnetwork: {access: open}\n");
    bench.log_in();
    let ran = bench.product.iterate(&[]).code(0).says("converged");
    bench.check(&ran);
}

#[test]
fn a_login_that_was_renewed_in_a_killed_turn_is_kept() {
    let bench = Bench::new("");
    bench.log_in();
    let hang = bench.product.base().join("hang");
    fs::write(&hang, "").unwrap();
    let running = bench.product.start_iterate(&[], &[]);
    let renewed = || {
        bench.refreshes() == [200]
            && fs::read_to_string(bench.product.run_state().join("agent-home/.my-agent/auth.json"))
                .is_ok_and(|text| text.contains("-1-2"))
    };
    wait_until("the agent renews its login", renewed);
    running.signal(rustix::process::Signal::KILL);
    running.wait();
    fs::remove_file(&hang).unwrap();
    let ran = bench.product.iterate(&["--resume"]).code(0).says("converged");
    bench.check(&ran);
}

#[test]
fn without_a_login_the_run_says_how_to_get_one() {
    let bench = Bench::new("");
    bench.product.iterate(&[]).code(3).says("factory login command");
    let ran = bench.product.factory(&["doctor"]).code(3);
    assert!(ran.stdout.contains("-> factory login command"), "{}", ran.stdout);
    bench.product.factory(&["login", "command", "--status"]).code(3).says("not logged in");
    bench.log_in();
    let ran = bench.product.factory(&["doctor"]).code(0);
    assert!(ran.stdout.contains("made by `factory login command`"), "{}", ran.stdout);
    bench.product.factory(&["login", "command", "--logout"]).code(0).says("logged out");
    bench.product.iterate(&[]).code(3).says("factory login command");
}
