# What list and total print, and the choice of expenses.

# Prints the expenses that --category and --month ask for, by date, then id.
matching() {
  local category='' month=''
  while [ $# -gt 0 ]; do
    case $1 in
      --category) category=$(small_letters "$2") ;;
      --month) month=$2 ;;
      *) invalid "unknown argument '$1' of $command" ;;
    esac
    shift 2
  done
  expenses | awk -F '\t' -v category="$category" -v month="$month" '
    (category == "" || $4 == category) && (month == "" || substr($2, 1, 7) == month)
  ' | sort -t "$(printf '\t')" -k 2,2 -k 1,1n
}

# Prints a category as it is recorded.
small_letters() {
  printf '%s' "$1" | tr 'A-Z' 'a-z'
}

list() {
  local chosen
  chosen=$(matching "$@")
  [ -n "$chosen" ] || return 0
  printf '%s\n' "$chosen" | awk -F '\t' -v OFS='\t' '
    { $3 = sprintf("%.0f.%02d", int($3 / 100), $3 % 100); print }
  '
}

total() {
  local chosen
  chosen=$(matching "$@")
  printf '%s\n' "$chosen" | awk -F '\t' '
    { sum += $3 }
    END { printf "%.0f.%02d\n", int(sum / 100), sum % 100 }
  '
}
