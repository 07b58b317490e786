#!/usr/bin/env bash
# The hostile agent: in turn N it plays the programs that its Nth argument names. What each prints is
# its loot, which it keeps in files that git ignores, so that it delivers none of it.
cd -- "$(dirname -- "$0")/.." || exit 1
. hostile/where
# Nothing outside of the suite's own folder is written to.
[[ $base == */factory-attacks-* ]] || exit 1
export HOME=${HOME:-$base/home} TMPDIR=${TMPDIR:-$base/tmp} mine=${base##*/}
mkdir -p loot
turn=$(($(cat loot/turn 2>/dev/null || echo 0) + 1))
echo "$turn" > loot/turn
echo "turn $turn" > progress.txt
export turn_pid=$$
exec 3>&1
for name in ${!turn}; do
  program=$(echo hostile/programs/"$name".*)
  case $program in
    *.py) run=/usr/bin/python3 ;;
    *) run=bash ;;
  esac
  timeout 15 "$run" "$program" > "loot/$name" 2> "loot/$name.err"
  echo "$?" > "loot/$name.ended"
done
exit 0
