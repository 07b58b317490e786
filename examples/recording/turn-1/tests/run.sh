# The tests of tally. Prints what fails, and how many passed.
set -u
cd "$(dirname "$0")/.."
data=$(mktemp -d)
trap 'rm -rf "$data"' EXIT
export TALLY_FILE=$data/expenses
passed=0 failed=0

# check NAME EXPECTED COMMAND...: what the command prints on either stream, and its exit code.
check() {
  local name=$1 expected=$2 actual
  shift 2
  actual=$("$@" 2>&1; echo "exit $?")
  if [ "$actual" = "$expected" ]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    printf 'FAILED %s\n  expected: %s\n  actual:   %s\n' "$name" "$expected" "$actual"
  fi
}

tab=$(printf '\t')
check "nothing is listed at first" "exit 0" ./tally list
check "the first id is 1" "added 1
exit 0" ./tally add 12.50 food lunch --date 2024-03-01
check "the second id is 2" "added 2
exit 0" ./tally add 7.50 Books --date 2024-02-10
check "the list is ordered by date" "2${tab}2024-02-10${tab}7.50${tab}books${tab}
1${tab}2024-03-01${tab}12.50${tab}food${tab}lunch
exit 0" ./tally list
check "the total is exact" "20.00
exit 0" ./tally total
check "a month is added up" "7.50
exit 0" ./tally total --month 2024-02
check "an expense is removed" "removed 2
exit 0" ./tally remove 2
check "an unknown command is named" "tally: unknown command 'spend'; 'tally help' lists them
exit 2" ./tally spend

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
