#!/usr/bin/env bash
# Tool: Gemini CLI, npm package @google/gemini-cli 0.61.0 (github.com/google-gemini/gemini-cli).
# Expected: a request that the provider refuses ends the command with a code that tells which status it was, as it does
#   for 403 (147, the status modulo 256), and the error event of `--output-format stream-json` names the kind.
# What it does: for 404, a model that does not exist, the exit code is 1, and the stream's error is of type `unknown` with a
#   message that names neither status nor model; only the text on stderr, which is for people, has `ModelNotFoundError`.
# Whom it hurts: programs that run it and have to tell a wrong model name, which no retry mends, from a crash.
set -euo pipefail
dir=$(mktemp -d)
trap 'kill "${server:-}" 2>/dev/null || true; rm -rf "$dir"' EXIT
npm install --prefix "$dir/npm" --ignore-scripts --no-audit --no-fund --loglevel=error @google/gemini-cli@0.61.0 >/dev/null

cat >"$dir/server.py" <<'PY'
import http.server, json, sys

status = int(sys.argv[1])
name = {403: "PERMISSION_DENIED", 404: "NOT_FOUND"}[status]

class Answer(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        body = json.dumps({"error": {"code": status, "message": "models/gone is not to be had", "status": name}}).encode()
        self.send_response(status)
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

ask() {
  rm -rf "$dir/home" "$dir/work" "$dir/port"
  mkdir -p "$dir/home/.gemini" "$dir/work"
  echo '{"security": {"auth": {"selectedType": "gemini-api-key"}}, "general": {"maxAttempts": 1}}' >"$dir/home/.gemini/settings.json"
  python3 "$dir/server.py" "$1" >"$dir/port" &
  server=$!
  until [ -s "$dir/port" ]; do sleep 0.1; done
  code=0
  (cd "$dir/work" && env -i PATH="$PATH" HOME="$dir/home" TERM=dumb GEMINI_API_KEY=none \
    GOOGLE_GEMINI_BASE_URL="http://127.0.0.1:$(cat "$dir/port")" \
    timeout 300 "$dir/npm/node_modules/.bin/gemini" -p 'Say hello.' --yolo --skip-trust -o stream-json -m gemini-2.5-flash \
    </dev/null >"$dir/stream.$1" 2>"$dir/err.$1") || code=$?
  kill "$server"
  echo "$1: exit code $code; $(grep -h '"type":"\(error\|result\)"' "$dir/stream.$1" | cut -c1-300 | tail -n 1)"
  echo "$code" >"$dir/code.$1"
}
ask 403
ask 404
echo "404 on stderr: $(grep -ao 'ModelNotFoundError' "$dir/err.404" | head -n 1)"
[ "$(cat "$dir/code.403")" = 147 ] || { echo "changed: 403 does not end with 147"; exit 1; }
[ "$(cat "$dir/code.404")" = 1 ] || { echo "changed: 404 does not end with 1"; exit 1; }
if grep -q 'NOT_FOUND\|ModelNotFound\|404' "$dir/stream.404"; then echo "changed: the stream tells a 404"; exit 1; fi
grep -q ModelNotFoundError "$dir/err.404" || { echo "changed: stderr has no ModelNotFoundError"; exit 1; }
echo "as described: 404 has no code of its own, and the stream does not tell it"
