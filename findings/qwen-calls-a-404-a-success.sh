#!/usr/bin/env bash
# Tool: Qwen Code, npm package @qwen-code/qwen-code 0.15.10 (github.com/QwenLM/qwen-code).
# Expected: in the stream of `--output-format stream-json` the last line says how a turn ended. A turn in which the
#   provider answered its one request with 404, the model does not exist, is no success.
# What it does: it exits with 0, and its last line is `subtype: success`, `is_error: false`, with the error as the text
#   that the model is supposed to have said, and no token used.
# Whom it hurts: whoever runs it unattended and goes by exit code or by the fields made for that: a wrong model name is
#   a task that went well, each time.
set -euo pipefail
dir=$(mktemp -d)
trap 'kill "${server:-}" 2>/dev/null || true; rm -rf "$dir"' EXIT
npm install --prefix "$dir/npm" --ignore-scripts --no-audit --no-fund --loglevel=error @qwen-code/qwen-code@0.15.10 >/dev/null

cat >"$dir/server.py" <<'PY'
import http.server, json, sys

class Answer(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        body = json.dumps({"error": {"message": "The model `gone` does not exist", "type": "invalid_request_error",
                                     "code": "model_not_found"}}).encode()
        self.send_response(404)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
print(server.server_port, flush=True)
server.serve_forever()
PY
python3 "$dir/server.py" >"$dir/port" &
server=$!
until [ -s "$dir/port" ]; do sleep 0.1; done

mkdir "$dir/home" "$dir/work"
cd "$dir/work"
code=0
env -i PATH="$PATH" HOME="$dir/home" TERM=dumb OPENAI_API_KEY=none OPENAI_MODEL=gone \
  OPENAI_BASE_URL="http://127.0.0.1:$(cat "$dir/port")/v1" \
  timeout 300 "$dir/npm/node_modules/.bin/qwen" --auth-type openai --model gone --output-format stream-json \
  --prompt 'Say hello.' </dev/null >"$dir/stream" 2>"$dir/err" || code=$?
last=$(tail -n 1 "$dir/stream")
echo "exit code: $code"
echo "last line: $(cut -c1-400 <<<"$last")"
python3 - "$code" "$last" <<'PY'
import json, sys
code, last = int(sys.argv[1]), json.loads(sys.argv[2])
assert code == 0, f"it exits with {code} now"
assert last["type"] == "result" and last["subtype"] == "success" and last["is_error"] is False, "it tells the failure now"
assert "404" in last["result"], "the text does not name the status any more"
print("as described: a 404 is told as a success")
PY
