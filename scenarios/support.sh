# What the scenarios of this directory share; each sources it in the root of the tree that is judged.
# No scenario itself: only files that end in .md are.
set -euo pipefail

bin=$PWD/target/release
work=$(mktemp -d "${TMPDIR:-/tmp}/factory-scenario.XXXXXX")
# Once more where something that is just dying still writes there.
trap 'rm -rf "$work" 2>/dev/null || { sleep 1; rm -rf "$work"; }' EXIT

# Nothing of the person's own: no home, no state, no settings of git, no CI.
unset CI GITHUB_ACTIONS NO_COLOR
export HOME=$work/home XDG_STATE_HOME=$work/state TMPDIR=$work/tmp
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
export GIT_AUTHOR_NAME=person GIT_AUTHOR_EMAIL=person@localhost
export GIT_COMMITTER_NAME=person GIT_COMMITTER_EMAIL=person@localhost
out=$work/out err=$work/err
results=artifacts/factory/scenario_results.json
# Agents and products of scenarios write beside their trees what is looked at: nothing confines them, unless a
# scenario unsets this.
export DARK_FACTORY_WITHOUT=root,user-namespace,bubblewrap,sudo,landlock
mkdir -p "$HOME" "$TMPDIR"

# fail MESSAGE: ends the scenario.
fail() {
  printf 'failed: %s\n' "$*" >&2
  exit 1
}

# run CODE PROGRAM [ARGUMENT...]: runs one of the five binaries, which must end with CODE. What it
# wrote is in $out and $err.
run() {
  local want=$1 program=$2 got=0
  shift 2
  "$bin/$program" "$@" >"$out" 2>"$err" </dev/null || got=$?
  [ "$got" -eq "$want" ] && return
  tail -n 25 "$out" "$err" >&2
  fail "\`$program $*\` ended with $got instead of $want"
}

# has FILE TEXT...: each text stands in the file.
has() {
  local file=$1 text
  shift
  [ -f "$file" ] || fail "there is no $file"
  for text; do
    grep -qF -e "$text" "$file" && continue
    tail -n 40 "$file" >&2
    fail "$file does not say: $text"
  done
}

# lacks FILE TEXT...: the file is there, and none of the texts stands in it.
lacks() {
  local file=$1 text
  shift
  [ -f "$file" ] || fail "there is no $file"
  for text; do
    ! grep -nF -e "$text" "$file" >&2 || fail "$file says: $text"
  done
}

# is WHAT ACTUAL EXPECTED: two texts are the same.
is() {
  [ "$2" = "$3" ] || fail "$1 is \"$2\" instead of \"$3\""
}

# result ID: prints what the results file says of one scenario.
result() {
  awk -v id="\"id\": \"$1\"," 'index($0, id) { on = 1 } on { print } on && /^    }/ { exit }' "$results"
}

# told ID TEXT...: the results file says each text of one scenario.
told() {
  local id=$1
  shift
  [ -f "$results" ] || fail "there is no $results"
  result "$id" >"$work/result"
  has "$work/result" "$@"
}

# eventually COMMAND...: waits until the command succeeds, at most 20 seconds.
eventually() {
  local tries=0
  until "$@" 2>/dev/null; do
    tries=$((tries + 1))
    [ "$tries" -lt 400 ] || fail "waited 20 seconds in vain for: $*"
    sleep 0.05
  done
}

# meanwhile PID COMMAND...: waits until the command succeeds, as long as the process runs.
meanwhile() {
  local pid=$1
  shift
  until "$@" 2>/dev/null; do
    if dead "$pid"; then
      tail -n 25 "$out" "$err" >&2
      fail "it has ended before this came true: $*"
    fi
    sleep 0.05
  done
}

# dead PID: succeeds when the process has ended, whether or not anybody has waited for it.
dead() {
  ! kill -0 "$1" 2>/dev/null || grep -qs '^State:.Z' "/proc/$1/status"
}

# product: begins an empty product in $work/product, and goes there.
product() {
  mkdir -p "$work/product/scenarios"
  cd "$work/product"
}

# scenario ID [CATEGORY]: writes a scenario whose evaluation is read from standard input.
scenario() {
  printf '# Scenario: The %s scenario\n\n## Category\n%s\n\n## Behavioral Expectation\nWhat %s asks for.\n\n## Evaluation Method\n```bash\n%s\n```\n' \
    "$1" "${2:-core}" "$1" "$(cat)" >"scenarios/$1.md"
}

# repository: commits everything below the product to the branch main of a new repository.
repository() {
  git init -q --template= -b main
  git add --all
  git commit -q -m Begin
}

# greeter: begins a product that greets and says good bye, with neither done yet, a gate, two
# scenarios, and an agent that is replayed from $work/recording.
greeter() {
  product
  printf 'echo nothing\n' >greet.sh
  printf 'test:\n\tbash -n greet.sh\n' >Makefile
  printf 'artifacts/factory/*\n!artifacts/factory/feedback_iter_*.md\n' >.gitignore
  mkdir -p specs "$work/recording"
  printf '# Greeter\n\n`greet.sh hello` says hello, `greet.sh bye` says good bye.\n' >specs/greeter.md
  printf 'satisfaction: {threshold: 1.0}\nagent: {backend: replay, recording: ../recording}\n' >dark-factory.yaml
  scenario hello <<<'said=$(bash greet.sh hello); echo "$said"; test "$said" = "hello, world"'
  scenario bye <<<'said=$(bash greet.sh bye); echo "$said"; test "$said" = "good bye, world"'
  repository
}

# turn N PATH: the Nth turn of the replayed agent writes what is read from standard input.
turn() {
  mkdir -p "$(dirname "$work/recording/turn-$1/$2")"
  cat >"$work/recording/turn-$1/$2"
}

# greets WORD...: prints a greeter that knows these words: hello, bye.
greets() {
  printf 'case $1 in\n'
  for word; do
    case $word in
      hello) printf '  hello) echo "hello, world" ;;\n' ;;
      bye) printf '  bye) echo "good bye, world" ;;\n' ;;
    esac
  done
  printf 'esac\n'
}

# branch: prints the name of the one branch that a run has made.
branch() {
  git for-each-ref --format='%(refname:short)' refs/heads/factory
}
