#!/usr/bin/env bash
# Installs the agents that package-lock.json pins into target/agents, or the directory that is named.
# Does nothing where they are there already. Of their install scripts two are run, which put a program for
# this platform into its place; of those of what they depend on none.
# usage: install.sh [DIRECTORY]. Ends with 3 where node or npm is missing, or npm fails.
set -eu

here=$(cd -- "$(dirname -- "$0")" && pwd)
to=${1:-$here/../../target/agents}

for tool in node npm; do
  if ! command -v "$tool" > /dev/null; then
    echo "error: $tool is not installed; the agents need Node 20 or newer, see https://nodejs.org" >&2
    exit 3
  fi
done
major=$(node --version | sed 's/^v//; s/\..*//')
if [ "$major" -lt 20 ]; then
  echo "error: this is node $(node --version); the agents need 20 or newer" >&2
  exit 3
fi

mkdir -p "$to"
to=$(cd -- "$to" && pwd)
stamp=$to/installed
wanted=$(cat "$here/package.json" "$here/package-lock.json" | sha256sum | cut -d ' ' -f 1)

if [ "$(cat "$stamp" 2> /dev/null || true)" = "$wanted" ]; then
  echo "the agents in $to are those of package-lock.json"
else
  rm -f "$stamp"
  cp "$here/package.json" "$here/package-lock.json" "$to/"
  echo "installing agents into $to"
  # Not `npm ci`: it wants each platform's package in the lock file, and not every registry has them all.
  # What is in the lock file is installed as it is there, and its digest is checked.
  (cd "$to" && npm install --no-save --ignore-scripts --no-audit --no-fund --no-progress --loglevel=error) || exit 3
  (cd "$to/node_modules/@anthropic-ai/claude-code" && node install.cjs) || exit 3
  (cd "$to/node_modules/opencode-ai" && node postinstall.mjs) || exit 3
  echo "$wanted" > "$stamp"
fi

cd "$to/node_modules"
for package in @openai/codex @anthropic-ai/claude-code opencode-ai @google/gemini-cli @qwen-code/qwen-code; do
  version=$(node -p "require('./$package/package.json').version")
  pinned=$(node -p "require('$here/package.json').dependencies['$package']")
  if [ "$version" != "$pinned" ]; then
    echo "error: $package is $version, and $pinned is pinned; remove $to and try again" >&2
    exit 3
  fi
  # What is for this platform alone lies in packages beside it.
  size=$(du -cshL "$package" "${package%-ai}"-* 2> /dev/null | tail -n 1 | cut -f 1)
  printf '  %-28s %-10s %s\n' "$package" "$version" "$size"
done
