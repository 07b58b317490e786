#!/usr/bin/env bash
# Searches for inputs that break the parsers: every target, or the one named.
# usage: fuzz/run.sh [TARGET [SECONDS]]. Needs cargo-fuzz (`cargo install cargo-fuzz --locked`) and a
# C++ compiler. What it learns goes to fuzz/target/corpus/, what breaks to fuzz/artifacts/.
set -eu

cd -- "$(dirname -- "$0")"
seconds=${2:-60}
if [ -n "${1:-}" ]; then targets=$1; else targets=$(cargo fuzz list --fuzz-dir .); fi
# The sanitizer's flags are unstable; with this, the stable toolchain takes them.
export RUSTC_BOOTSTRAP=1
for target in $targets; do
  echo "== $target"
  mkdir -p "target/corpus/$target"
  cargo fuzz run --fuzz-dir . "$target" "target/corpus/$target" "corpus/$target" -- \
    -max_total_time="$seconds" -max_len=20000 -timeout=10 -verbosity=0
done
