#!/usr/bin/env bash
# Tool: opencode, npm package opencode-ai 1.18.33 (github.com/sst/opencode).
# Expected: `opencode run --format json` tells what each call of the model used, in `step_finish` events with tokens and
#   cost, so that their sum is what the provider billed.
# What it does: for a session without a title it makes a second call of the model, to have one invented, of which no event
#   tells; with `--title` it does not.
# Whom it hurts: whoever keeps a budget, or a ledger, by what the stream says: each run costs a call more than is told.
set -euo pipefail
dir=$(mktemp -d)
trap 'kill "${server:-}" 2>/dev/null || true; rm -rf "$dir"' EXIT
npm install --prefix "$dir/npm" --ignore-scripts --no-audit --no-fund --loglevel=error opencode-ai@1.18.33 >/dev/null
(cd "$dir/npm/node_modules/opencode-ai" && node postinstall.mjs >/dev/null)

cat >"$dir/server.py" <<'PY'
import http.server, json, sys

class Answer(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        with open(sys.argv[1], "a") as calls:
            calls.write("call\n")
        base = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        chunks = [
            {**base, "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hello."}, "finish_reason": None}]},
            {**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
            {**base, "choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}},
        ]
        body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
print(server.server_port, flush=True)
server.serve_forever()
PY
python3 "$dir/server.py" "$dir/calls" >"$dir/port" &
server=$!
until [ -s "$dir/port" ]; do sleep 0.1; done

ask() { # ask NAME [ARGS]
  local name=$1
  shift
  rm -rf "$dir/home" "$dir/work"
  mkdir "$dir/home" "$dir/work"
  : >"$dir/calls"
  cat >"$dir/home/opencode.json" <<JSON
{"autoupdate": false, "share": "disabled", "model": "own/m", "provider": {"own": {"npm": "@ai-sdk/openai-compatible",
 "options": {"baseURL": "http://127.0.0.1:$(cat "$dir/port")/v1", "apiKey": "none"},
 "models": {"m": {"cost": {"input": 1, "output": 1}, "limit": {"context": 100000, "output": 4096}}}}}}
JSON
  (cd "$dir/work" && env -i PATH="$PATH" HOME="$dir/home" TERM=dumb OPENCODE_CONFIG="$dir/home/opencode.json" \
    OPENCODE_DISABLE_MODELS_FETCH=1 timeout 300 "$dir/npm/node_modules/.bin/opencode" run --format json "$@" \
    -m own/m 'Say hello.' </dev/null >"$dir/stream" 2>"$dir/err")
  told=$(grep -c '"type":"step_finish"' "$dir/stream")
  billed=$(wc -l <"$dir/calls")
  echo "$name: $told calls are told, $billed were made"
}
ask 'without a title'
[ "$told" = 1 ] && [ "$billed" = 2 ] || { echo "changed: it tells $told of $billed calls"; exit 1; }
ask 'with --title' --title greeting
[ "$told" = 1 ] && [ "$billed" = 1 ] || { echo "changed: with --title it tells $told of $billed calls"; exit 1; }
echo "as described: without a title a call is made that no event tells"
