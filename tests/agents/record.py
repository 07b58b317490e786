#!/usr/bin/env python3
"""Records what the pinned agent binaries print, case by case, into tests/fixtures/streams.

usage: record.py [AGENT | AGENT/CASE]...     all of them without arguments

Needs `make agents` and `cargo build --features model-server --bin fake-model`. Each case is one process of an
agent in a home of its own, driven by the fake model server with a script of its own; what it writes to standard
output is kept with the paths of this machine taken out (`/w` is where it worked). CASE.yaml beside it says how
the process ended and what provoked that. Homes lie in RECORD_DIR (default /dev/shm): codex refuses to work
with one below the temporary directory.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
AGENTS = ROOT / "target" / "agents"
SERVER = Path(os.environ.get("FAKE_MODEL", ROOT / "target" / "debug" / "fake-model"))
STREAMS = ROOT / "tests" / "fixtures" / "streams"
PACKAGES = {
    "codex": "@openai/codex",
    "claude": "@anthropic-ai/claude-code",
    "opencode": "opencode-ai",
    "gemini": "@google/gemini-cli",
    "qwen": "@qwen-code/qwen-code",
}
KEY = "sk-ant-fake-00000000000000000000"
PROMPT = "Make the file made_by_agent.txt."
MAKES = "{run: echo hello > made_by_agent.txt, usage: {input: 1200, output: 40, cached: 200}}"
DONE = "{say: All done., usage: {input: 1300, output: 20, cached: 1200}}"


# What the provider of each says of a model that it has not.
NO_MODEL = {
    **dict.fromkeys(["codex", "opencode", "qwen"],
                    "{status: 404, times: 60, error: {type: model_not_found, message: The model `fake-model` does not exist or you do not have access to it.}}"),
    "claude": "{status: 404, times: 60, error: {message: 'model: fake-model'}}",
    "gemini": "{status: 404, times: 60, error: {message: 'models/gemini-2.5-flash is not found for API version v1beta, or is not supported for generateContent.'}}",
}


def turn(*replies):
    return "turns:\n- replies:\n" + "".join(f"  - {reply}\n" for reply in replies)


ELSEWHERE = "elsewhere"


class Elsewhere(BaseHTTPRequestHandler):
    """Answers as a web server does that is not the provider's: there is no such page."""

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length") or 0))
        body = b"<html><head><title>404 Not Found</title></head><body><h1>404 Not Found</h1></body></html>\n"
        self.send_response(404)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

    do_GET = do_HEAD = do_POST

    def log_message(self, *_):
        pass


class Case:
    def __init__(self, name, what, script, args=(), env=None, stop=None, server=True, without=(), resumes=False,
                 stderr=False):
        self.name = name
        self.what = what
        self.script = script
        self.args = list(args)  # more arguments of the agent
        self.env = env or {}
        self.stop = stop  # (signal, lines of the ledger to wait for, seconds after that)
        self.server = server  # False: nobody listens; ELSEWHERE: a web server that knows of no model
        self.without = without  # arguments taken away
        self.stderr = stderr  # what it writes to standard error is kept too
        self.resumes = resumes  # a process before it takes the first turn, without the arguments


def common(agent):
    """The cases that every agent has."""
    refused = "{status: %s, times: 60, error: {message: The fake provider says %s.}%s}"
    return [
        Case("done", "a tool call makes a file, then a closing word", turn(MAKES, DONE)),
        Case("no-tool", "the agent says that there is nothing to do", turn("{say: There is nothing to do.}")),
        Case("bad-request", "each request is answered with 400", turn(refused % (400, 400, ""))),
        Case("no-such-model", "each request is answered with 404, which says that there is no such model",
             turn(NO_MODEL[agent]), stderr=agent == "gemini"),
        Case("wrong-address", "the address is that of a web server which has no such page: 404 in HTML",
             turn(), server=ELSEWHERE, stderr=agent == "gemini"),
        Case("unauthorized", "each request is answered with 401", turn(refused % (401, 401, ""))),
        Case("rate-limited", "each request is answered with 429, a reset in 2 s and retry-after: 1",
             turn(refused % (429, 429, ", retry_after: 1, reset_in: 2s"))),
        Case("server-error", "each request is answered with 500", turn(refused % (500, 500, ""))),
        Case("overloaded", "each request is answered with %d" % (529 if agent == "claude" else 503),
             turn(refused % ((529, 529, "") if agent == "claude" else (503, 503, "")))),
        Case("late-error", "a tool call is made, then each request is answered with 500",
             turn(MAKES, refused % (500, 500, ""))),
        Case("recovered", "the first request is answered with 500, what follows is done",
             turn(refused.replace("60", "1") % (500, 500, ""), MAKES, DONE)),
        Case("cut", "each stream ends in the middle",
             turn("{say: This is the beginning of a long answer., cut: true, times: 60}")),
        Case("malformed", "a line in the middle of each stream is no JSON",
             turn("{say: All done., malformed: true, times: 60}")),
        Case("command-failed", "the command of the tool call fails with exit 1, then a closing word",
             turn("{run: 'echo no such thing >&2; exit 1'}", DONE)),
        Case("interrupted", "SIGINT while the second request hangs; SIGKILL 15 s later where it goes on",
             turn(MAKES, "{hang: true}"), stop=(signal.SIGINT, "hang", 1)),
        Case("terminated", "SIGTERM while the second request hangs",
             turn(MAKES, "{hang: true}"), stop=(signal.SIGTERM, "hang", 1)),
        Case("unreachable", "nobody listens at the provider's address; SIGTERM after 12 s where it goes on",
             turn(), server=False, stop=(signal.SIGTERM, None, 12)),
    ]


OWN = {
    "codex": [
        Case("resumed", "a second process goes on with a conversation whose first turn used 2500 and 60 tokens",
             turn(MAKES, DONE) + "- replies:\n  - {say: There is nothing more to do., usage: {input: 1400, output: 10, cached: 1300}}\n",
             args=["resume", "--last"], resumes=True),
        Case("usage-limit", "429 with usage_limit_reached and resets_at in 90 s",
             turn("{status: 429, times: 60, reset_in: 90s, error: {type: usage_limit_reached, message: The usage limit has been reached}}")),
        Case("quota", "429 with insufficient_quota",
             turn("{status: 429, times: 60, error: {type: insufficient_quota, message: You exceeded your current quota}}")),
        Case("no-such-model-400", "each request is answered with 400 and model_not_found, as of a provider without the model",
             turn(NO_MODEL["codex"].replace("404", "400"))),
        Case("no-key", "the variable of the key is not set", turn(), env={"FAKE_KEY": None}),
        Case("sandbox-unusable", "workspace-write with a home below the temporary directory: the helper is missing",
             turn(MAKES, DONE), without=["--dangerously-bypass-approvals-and-sandbox"],
             args=["-s", "workspace-write"], env={"HOME_IN_TMP": "1"}),
        Case("command-rejected", "codex takes `rm -f` for dangerous, and there is nobody to approve it",
             turn("{run: 'echo hello > made_by_agent.txt && rm -f no-such-file'}", DONE)),
    ],
    "claude": [
        Case("resumed", "a second process goes on with a conversation whose first turn used 2500 and 60 tokens",
             turn(MAKES, DONE) + "- replies:\n  - {say: There is nothing more to do., usage: {input: 1400, output: 10, cached: 1300}}\n",
             args=["-c"], resumes=True),
        Case("denied", "default mode, the tool is not allowed",
             turn(MAKES, DONE), without=["--permission-mode", "bypassPermissions"], args=["--permission-mode", "default"]),
        Case("max-turns", "--max-turns 1, and a second is needed", turn(MAKES, DONE), args=["--max-turns", "1"]),
        Case("budget", "--max-budget-usd 0.001, and the first answer costs more",
             turn(MAKES, DONE), args=["--max-budget-usd", "0.001"]),
        Case("usage-limit", "429 with the headers of a plan's limit that is lifted in 90 s, to a login by OAuth",
             turn("{status: 429, times: 60, reset_in: 90s, error: {message: This request would exceed your account's rate limit. Please try again later.}}"),
             env={"ANTHROPIC_API_KEY": None, "CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat01-fake-0000000000000000000000000000"}),
        Case("credit", "400 which says that the credit balance is too low",
             turn("{status: 400, times: 60, error: {message: Your credit balance is too low to access the Anthropic API.}}")),
        Case("no-login", "there is no login", turn(), env={"ANTHROPIC_API_KEY": None}),
        Case("refused-as-root", "bypassPermissions as root without IS_SANDBOX", turn(), env={"IS_SANDBOX": None}),
    ],
    "opencode": [
        Case("unknown-model", "its settings have no such model", turn(), without=["fake/fake-model"],
             args=["fake/no-such-model"], stderr=True),
        Case("resumed", "a second process goes on with a conversation whose first turn used 2500 and 60 tokens",
             turn(MAKES, DONE) + "- replies:\n  - {say: There is nothing more to do., usage: {input: 1400, output: 10, cached: 1300}}\n",
             args=["-c"], resumes=True),
        Case("denied", "the configuration denies the tool", turn(MAKES, DONE), env={"PERMISSION": "deny"}),
        Case("asks", "the configuration asks before the tool, and nobody answers", turn(MAKES, DONE), env={"PERMISSION": "ask"}),
    ],
    "gemini": [
        Case("denied", "a policy denies the command", turn(MAKES, DONE), env={"DENY": "1"}),
        Case("no-login", "no way to log in is set", turn(), env={"NO_SETTINGS": "1"}),
        Case("max-turns", "maxSessionTurns is 1, and a second is needed", turn(MAKES, DONE), env={"MAX_TURNS": "1"}),
        Case("rate-limited-long", "429 with a reset in 90 s; SIGTERM after 30 s",
             turn("{status: 429, times: 60, reset_in: 90s}"), stop=(signal.SIGTERM, None, 30)),
        Case("quota", "429 that names a daily quota",
             turn("{status: 429, times: 60, error: {message: 'Quota exceeded for quota metric GenerateContent requests per day'}}")),
    ],
    "qwen": [
        Case("denied", "a rule denies the command", turn(MAKES, DONE), env={"DENY": "1"}),
        Case("no-login", "the variable of the key is not set", turn(), env={"OPENAI_API_KEY": None}),
        Case("max-turns", "--max-session-turns 1, and a second is needed", turn(MAKES, DONE), args=["--max-session-turns", "1"]),
        Case("quota", "429 with insufficient_quota",
             turn("{status: 429, times: 60, error: {type: insufficient_quota, message: You exceeded your current quota}}")),
    ],
}


def launch(agent, case, home, work, url):
    """Returns the arguments and the variables that are its own."""
    bin_ = str(AGENTS / "node_modules" / ".bin" / agent)
    if agent == "codex":
        provider = (f'model_providers.fake={{name="fake",base_url="{url}/v1",env_key="FAKE_KEY",wire_api="responses",'
                    "request_max_retries=1,stream_max_retries=1}")
        args = ["exec", "--json", "--skip-git-repo-check", "-C", str(work), "--dangerously-bypass-approvals-and-sandbox",
                "-c", "model_provider=fake", "-c", provider, "-m", "fake-model"]
        env = {"CODEX_HOME": str(home), "FAKE_KEY": KEY}
        tail = [PROMPT]
    elif agent == "claude":
        args = ["-p", PROMPT, "--output-format", "stream-json", "--verbose", "--permission-mode", "bypassPermissions"]
        env = {"CLAUDE_CONFIG_DIR": str(home), "ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": KEY, "IS_SANDBOX": "1",
               "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "CLAUDE_CODE_MAX_RETRIES": "1"}
        tail = []
    elif agent == "opencode":
        config = {
            "autoupdate": False, "share": "disabled", "model": "fake/fake-model",
            "provider": {"fake": {"npm": "@ai-sdk/openai-compatible",
                                  "options": {"baseURL": url + "/v1", "apiKey": KEY},
                                  "models": {"fake-model": {"cost": {"input": 1, "output": 2},
                                                            "limit": {"context": 100000, "output": 4096}}}}},
            # A tool that is denied altogether is not even offered.
            "permission": {"*": "allow", "bash": {"*": "allow", "echo *": case.env.get("PERMISSION", "allow")}},
        }
        (home / "opencode.json").write_text(json.dumps(config))
        # Its log names what its events call an unknown error.
        args = ["run", "--format", "json", "--title", "recorded", "--print-logs", "--log-level", "ERROR", "-m", "fake/fake-model"]
        env = {"OPENCODE_CONFIG": str(home / "opencode.json"), "OPENCODE_DISABLE_MODELS_FETCH": "1"}
        tail = [PROMPT]
    elif agent == "qwen":
        settings = {"privacy": {"usageStatisticsEnabled": False}, "general": {"enableAutoUpdate": False},
                    "model": {"generationConfig": {"maxRetries": 1}}}
        if "DENY" in case.env:
            settings["permissions"] = {"deny": ["Bash(echo *)"]}
        (home / ".qwen").mkdir()
        (home / ".qwen" / "settings.json").write_text(json.dumps(settings))
        args = [PROMPT, "--yolo", "--auth-type", "openai", "-o", "stream-json", "-m", "fake-model"]
        env = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": url + "/v1"}
        tail = []
    else:
        # Of itself it asks ten times, for minutes.
        settings = {"security": {"auth": {"selectedType": "gemini-api-key"}}, "general": {"maxAttempts": 2}}
        if "MAX_TURNS" in case.env:
            settings["model"] = {"maxSessionTurns": int(case.env["MAX_TURNS"])}
        if "NO_SETTINGS" not in case.env:
            (home / ".gemini").mkdir()
            (home / ".gemini" / "settings.json").write_text(json.dumps(settings))
        if "DENY" in case.env:
            (home / ".gemini" / "policies").mkdir()
            (home / ".gemini" / "policies" / "deny.toml").write_text(
                '[[rule]]\ntoolName = "run_shell_command"\ncommandPrefix = "echo"\ndecision = "deny"\npriority = 900\n')
        args = ["-p", PROMPT, "--yolo", "--skip-trust", "-o", "stream-json", "-m", "gemini-2.5-flash"]
        env = {"GOOGLE_GEMINI_BASE_URL": url}
        if "NO_SETTINGS" not in case.env:
            env["GEMINI_API_KEY"] = KEY
        tail = []
    left = list(case.without)
    args = [arg for arg in args if not (arg in left and (left.remove(arg) or True))]
    for name, value in case.env.items():
        if value is None:
            env.pop(name, None)
        else:
            env[name] = value
    return [bin_, *args, *case.args, *tail], env


def record(agent, version, case):
    base = Path(tempfile.mkdtemp(prefix="record-", dir=os.environ.get("RECORD_DIR", "/dev/shm")))
    in_tmp = Path(tempfile.mkdtemp(prefix="record-")) if "HOME_IN_TMP" in case.env else None
    server = None
    try:
        home, work, tmp = in_tmp or base / "home", base / "work", base / "tmp"
        for directory in (home, work, tmp):
            directory.mkdir(exist_ok=True)
        (work / "README.md").write_text("# A product\n")
        (base / "script.yaml").write_text(case.script)
        url = "http://127.0.0.1:9"
        if case.server == ELSEWHERE:
            elsewhere = ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
            threading.Thread(target=elsewhere.serve_forever, daemon=True).start()
            url = f"http://127.0.0.1:{elsewhere.server_address[1]}"
        elif case.server:
            server = subprocess.Popen([SERVER, "--script", base / "script.yaml", "--ledger", base / "ledger.jsonl"],
                                      stdout=subprocess.PIPE, text=True)
            url = server.stdout.readline().strip()
        argv, own = launch(agent, case, home, work, url)
        env = {"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(in_tmp.parent if in_tmp else tmp),
               "LANG": "C.UTF-8", "TERM": "dumb", "TZ": "UTC", **own}
        if case.resumes:
            first = [arg for arg in argv if arg not in case.args]
            subprocess.run(first, cwd=work, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL, check=True)
        begun = time.monotonic()
        with open(base / "stdout", "wb") as out, open(base / "stderr", "wb") as err:
            child = subprocess.Popen(argv, cwd=work, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                     start_new_session=True)
            code = wait(child, case, base / "ledger.jsonl")
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        text = normal((base / "stdout").read_text(), base, in_tmp, url)
        to = STREAMS / agent / version
        to.mkdir(parents=True, exist_ok=True)
        (to / f"{case.name}.jsonl").write_text(text)
        rollout = next(home.glob("sessions/**/rollout-*.jsonl"), None)
        # What a process before has written is not this one's.
        if rollout and not case.resumes:
            keep_calls(rollout, to / f"{case.name}.rollout", lambda text: normal(text, base, in_tmp, url))
        if case.stderr:
            # Where in its program an error arose is nobody's business.
            lines = [line for line in (base / "stderr").read_text().splitlines(True) if not line.startswith("    at ")]
            (to / f"{case.name}.stderr").write_text(normal("".join(lines), base, in_tmp, url))
        end = f"signal: {-code}" if code < 0 else f"exit: {code}"
        write_case(to / f"{case.name}.yaml", end, case.what)
        made = " made a file" if (work / "made_by_agent.txt").exists() else ""
        print(f"{agent}/{case.name}: {end},{made} {time.monotonic() - begun:.1f} s, {len(text.splitlines())} lines", flush=True)
        if keep := os.environ.get("KEEP"):
            shutil.copytree(base, Path(keep) / agent / case.name, dirs_exist_ok=True, symlinks=True,
                            ignore=lambda d, names: [n for n in names if d != str(base) or n in ("home", "tmp", "work")])
    finally:
        if server:
            server.terminate()
            server.wait()
        for directory in filter(None, (base, in_tmp)):
            shutil.rmtree(directory, ignore_errors=True)


def write_case(path, end, what):
    """Keeps what the case is expected to come to."""
    lines = path.read_text().splitlines() if path.exists() else []
    expected = [line for line in lines if line.split(":")[0] not in ("exit", "signal", "what")]
    path.write_text("\n".join([end, f"what: {json.dumps(what)}", *expected]) + "\n")


def keep_calls(rollout, to, normal):
    """Keeps what codex writes of its calls into its home, where its stream shows fewer of them."""
    lines = [line for line in rollout.read_text().splitlines(True)
             if json.loads(line).get("payload", {}).get("type") in ("function_call", "function_call_output")]
    shown = to.with_suffix(".jsonl").read_text().count('"type":"item.completed","item":{"id":"item_1","type":"command_execution"')
    if lines and not shown:
        to.write_text(normal("".join(lines)))


def wait(child, case, ledger):
    """Returns how the child ended, after the signal that the case asks for; it is killed 15 s after that, and
    after 300 s."""
    limit = time.monotonic() + 300
    stop_at = None
    while child.poll() is None:
        now = time.monotonic()
        if case.stop and stop_at is None:
            _, until, seconds = case.stop
            hangs = until is None or (ledger.exists() and '"status":null' in ledger.read_text())
            stop_at = now + seconds if hangs else None
        if stop_at is not None and now > stop_at:
            # As a terminal does: to all of them.
            os.killpg(child.pid, case.stop[0])
            stop_at = float("inf")
            limit = now + 15
        if now > limit:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        time.sleep(0.05)
    return child.returncode


def normal(text, base, in_tmp, url):
    """Takes the paths of this machine out."""
    for path, shown in ((base / "home", "/w/home"), (base / "work", "/w/work"), (base, "/w"), (in_tmp, "/w/home"),
                        (AGENTS, "/w/agents"), (ROOT, "/w/root"), (Path.home(), "/w/person")):
        if path:
            # claude writes a path as the name of a directory, too.
            text = text.replace(str(path), shown).replace(re.sub(r"[/._]", "-", str(path)), shown.replace("/", "-"))
    return text.replace(url.removeprefix("http://"), "127.0.0.1:8080").replace("/" + "tmp/", "/w/tmp/")


def main():
    wanted = sys.argv[1:]
    for agent, package in PACKAGES.items():
        manifest = AGENTS / "node_modules" / package / "package.json"
        if not manifest.exists():
            sys.exit(f"{package} is not in target/agents; run `make agents`")
        version = json.loads(manifest.read_text())["version"]
        for case in common(agent) + OWN[agent]:
            if not wanted or agent in wanted or f"{agent}/{case.name}" in wanted:
                record(agent, version, case)


main()
