# The data file: `tally 1 NEXT`, then a line for each expense: id, date, cents, category, note.

# Ends tally where the data file is damaged or can't be read.
check_store() {
  local line
  [ -e "$file" ] || return 0
  [ -f "$file" ] && [ -r "$file" ] || fail "$file: can't be read"
  line=$(awk -F '\t' '
    NR == 1 { if ($0 !~ /^tally 1 [1-9][0-9]*$/) { print NR; exit }; next }
    NF != 5 || $1 !~ /^[1-9][0-9]*$/ || $3 !~ /^[1-9][0-9]*$/ || $4 !~ /^[a-z0-9-]+$/ ||
      $2 !~ /^[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]$/ { print NR; exit }
  ' <"$file")
  [ -z "$line" ] || fail "$file:$line: damaged: not a line that tally wrote"
}

# Prints the expenses in the order of adding.
expenses() {
  [ ! -e "$file" ] || tail -n +2 <"$file"
}

# Prints the id that the next expense gets.
next_id() {
  local id=1
  [ ! -s "$file" ] || id=$(awk 'NR == 1 { print $3; exit }' <"$file")
  printf '%s\n' "$id"
}

# Replaces the data file: the next id, and the expenses from standard input.
save() {
  local new=$file.new.$$
  if ! { printf 'tally 1 %s\n' "$1" && cat; } 2>/dev/null >"$new" || ! mv -f -- "$new" "$file"; then
    rm -f -- "$new"
    fail "$file: can't be written"
  fi
}

# Records an expense: amount, category, words of the note, --date.
add() {
  local words=() date id category cents note
  date=$(date +%Y-%m-%d)
  while [ $# -gt 0 ]; do
    case $1 in
      --date) [ $# -ge 2 ] || invalid "--date needs a date"; date=$2; shift 2 ;;
      --) shift; words+=("$@"); break ;;
      --*) invalid "unknown option '$1' of add" ;;
      *) words+=("$1"); shift ;;
    esac
  done
  [ "${#words[@]}" -ge 2 ] || invalid "add needs an amount and a category"
  parse_amount "${words[0]}"
  parse_category "${words[1]}"
  note=${words[*]:2}
  check_note "$note"
  check_date "$date"

  id=$(next_id)
  { expenses; printf '%s\t%s\t%s\t%s\t%s\n' "$id" "$date" "$cents" "$category" "$note"; } |
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
