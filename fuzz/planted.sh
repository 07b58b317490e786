#!/usr/bin/env bash
# Shows that the fuzz targets find something: plants a bug in a copy of the tree for each target that has one
# in planted/, or for the one named, and demands that it is found.
# usage: fuzz/planted.sh [TARGET [SECONDS]]. Needs what run.sh needs, and patch.
set -eu

cd -- "$(dirname -- "$0")"
seconds=${2:-600}
here=$PWD copy=$(mktemp -d "${TMPDIR:-/tmp}/planted.XXXXXX")
trap 'rm -rf "$copy"' EXIT
export RUSTC_BOOTSTRAP=1
for bug in planted/${1:-*}.patch; do
  target=$(basename "$bug" .patch)
  echo "== $target"
  mkdir "$copy/$target"
  (cd .. && tar -c Cargo.toml Cargo.lock README.md src benches fuzz/Cargo.toml fuzz/Cargo.lock fuzz/fuzz_targets fuzz/corpus) |
    tar -x -C "$copy/$target"
  patch --quiet -d "$copy/$target" -p1 <"$bug"
  if (cd "$copy/$target/fuzz" &&
    cargo fuzz run --fuzz-dir . --target-dir "$here/target/planted" "$target" "corpus/$target" -- \
      -max_total_time="$seconds" -max_len=20000 -verbosity=0) >"$copy/$target.log" 2>&1; then
    echo "$target did not find the bug of $bug in $seconds s"
    exit 1
  fi
  grep -q 'panicked at' "$copy/$target.log" || { tail -n 20 "$copy/$target.log"; exit 1; }
  grep -m 1 -A 1 'panicked at' "$copy/$target.log" | cut -c 1-200
done
