# The data file: `tally 1 NEXT`, then a line for each expense: id, date, cents, category, note.

# Prints the expenses in the order of adding.
expenses() {
  [ ! -e "$file" ] || tail -n +2 <"$file"
}

# Prints the id that the next expense gets.
next_id() {
  expenses | awk -F '\t' '$1 > last { last = $1 } END { print last + 1 }'
}

# Replaces the data file: the next id, and the expenses from standard input.
save() {
  { printf 'tally 1 %s\n' "$1" && cat; } >"$file.new"
  mv -f -- "$file.new" "$file"
}

# Records an expense: amount, category, words of the note, --date.
add() {
  local words=() date id category cents
  date=$(date +%Y-%m-%d)
  while [ $# -gt 0 ]; do
    case $1 in
      --date) date=$2; shift 2 ;;
      *) words+=("$1"); shift ;;
    esac
  done
  [ "${#words[@]}" -ge 2 ] || invalid "add needs an amount and a category"
  parse_amount "${words[0]}"
  category=$(small_letters "${words[1]}")

  id=$(next_id)
  { expenses; printf '%s\t%s\t%s\t%s\t%s\n' "$id" "$date" "$cents" "$category" "${words[*]:2}"; } |
    save "$((id + 1))"
  printf 'added %s\n' "$id"
}

# Forgets an expense.
remove() {
  [ $# -eq 1 ] || invalid "remove needs one id"
  [[ $1 =~ ^[1-9][0-9]*$ ]] || invalid "'$1' is no id"
  expenses | awk -F '\t' -v id="$1" '$1 == id { found = 1 } END { exit !found }' ||
    fail "there is no expense $1"
  expenses | awk -F '\t' -v id="$1" '$1 != id' | save "$(next_id)"
  printf 'removed %s\n' "$1"
}
