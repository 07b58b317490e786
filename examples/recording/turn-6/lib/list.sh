# What list and total print, and the choice of expenses that report and export share.

# Prints the expenses that --category and --month ask for, by date, then id.
matching() {
  local category='' month=''
  while [ $# -gt 0 ]; do
    case $1 in
      --category) [ $# -ge 2 ] || invalid "--category needs a name"; parse_category "$2" ;;
      --month) [ $# -ge 2 ] || invalid "--month needs a month"; month=$2; check_month "$month" ;;
      *) invalid "unknown argument '$1' of $command" ;;
    esac
    shift 2
  done
  expenses | awk -F '\t' -v category="$category" -v month="$month" '
    (category == "" || $4 == category) && (month == "" || substr($2, 1, 7) == month)
  ' | sort -t "$(printf '\t')" -k 2,2 -k 1,1n
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
