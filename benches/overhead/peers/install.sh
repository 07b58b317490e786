#!/usr/bin/env bash
# Puts the runners that `make bench` compares with into target/peers, and nothing anywhere else.
# One that can't be had is left out, here and in the table.
set -uo pipefail
cd "$(dirname "$0")/../../.."
peers=${CARGO_TARGET_DIR:-$PWD/target}/peers
mkdir -p "$peers"
export CARGO_TARGET_DIR=$peers/build
missing=()

cargo install scrut --locked --root "$peers" || missing+=(scrut)

{ [ -d "$peers/venv" ] || python3 -m venv "$peers/venv"; } &&
    "$peers/venv/bin/pip" install --quiet prysk || missing+=(prysk)

npm install --silent --no-audit --no-fund --prefix "$peers" bats || missing+=(bats)

command -v cargo-nextest >/dev/null ||
    cargo install cargo-nextest --locked --root "$peers" || missing+=(nextest)

# A test for each case, and a shell in each test.
mkdir -p "$peers/nextest/src"
cat >"$peers/nextest/Cargo.toml" <<'END'
[package]
name = "nextest-cases"
version = "0.0.0"
edition = "2021"

[workspace]
END
{
    echo '#![cfg(test)]'
    echo 'fn bash() {'
    echo '    let mut bash = std::process::Command::new("bash");'
    echo '    assert!(bash.args(["-c", "true"]).status().unwrap().success());'
    echo '}'
    for number in $(seq 200); do
        printf '#[test]\nfn case_%03d() { bash() }\n' "$number"
    done
} >"$peers/nextest/src/lib.rs"
PATH="$PATH:$peers/bin" cargo nextest run --manifest-path "$peers/nextest/Cargo.toml" --no-run ||
    missing+=("the tests for nextest")

# A program whose cases are the files that it is given the pattern of.
rm -rf "$peers/trycmd" && mkdir -p "$peers/trycmd/src"
cat >"$peers/trycmd/Cargo.toml" <<'END'
[package]
name = "trycmd-cases"
version = "0.0.0"
edition = "2021"

[dependencies]
trycmd = "1"

[workspace]
END
cat >"$peers/trycmd/src/main.rs" <<'END'
fn main() {
    let pattern = std::env::args().nth(1).expect("a pattern");
    let bash = std::env::args().nth(2).expect("the path of bash");
    trycmd::TestCases::new().register_bin("bash", std::path::Path::new(&bash)).case(&pattern);
}
END
cargo install --path "$peers/trycmd" --root "$peers" || missing+=(trycmd)

[ ${#missing[@]} -eq 0 ] || echo "not installed: ${missing[*]}"
