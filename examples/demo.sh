#!/usr/bin/env bash
# Runs the loop on a fresh copy of the product in tally/, with the agent recorded in recording/.
# usage: demo.sh [DIRECTORY OF THE BINARIES]. Ends with the exit code of `iterate`.
set -eu

examples=$(cd -- "$(dirname -- "$0")" && pwd)
bin=$(cd -- "${1:-target/release}" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/dark-factory-demo.XXXXXX")
cp -R "$examples/tally" "$examples/recording" "$work/"
export XDG_STATE_HOME="$work/state"

cd "$work/tally"
( # The person's own settings of git (hooks, signing, ignored files) stay out of it.
  export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
  git init -q --template= -b main
  git add --all
  git -c user.name=demo -c user.email=demo@localhost commit -q -m 'Begin tally'
)

code=0
"$bin/iterate" || code=$?

branch=$(git for-each-ref --format='%(refname:short)' --sort=-committerdate refs/heads/factory | head -n 1)
branch=${branch:-factory/RUN}
cat <<END

What to look at next, in a shell with
  cd '$work/tally' && export XDG_STATE_HOME='$work/state' PATH='$bin':"\$PATH"

  factory show
      the run: its verdicts, what was dropped, how it ended
  git log --stat main..$branch
      what the agent delivered, turn by turn
  git show $branch:artifacts/factory/feedback_iter_2.md
      what the agent was told after its second turn
  factory show --receipt 2; factory verify
      what kept the exam from it in that turn, and whether the record is what was written
  factory apply
      brings the result to main
  rm -rf '$work'
      when you have seen it
END
exit "$code"
