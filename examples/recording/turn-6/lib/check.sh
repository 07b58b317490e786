# What tally says of input that it does not take, and the checks that find it.

# Ends tally: the request makes no sense.
invalid() {
  printf 'tally: %s\n' "$1" >&2
  exit 2
}

# Ends tally: the request can't be met.
fail() {
  printf 'tally: %s\n' "$1" >&2
  exit 1
}

# Sets `category` from a category as people write it.
parse_category() {
  category=$(printf '%s' "$1" | tr 'A-Z' 'a-z')
  [[ $category =~ ^[a-z0-9-]{1,20}$ ]] ||
    invalid "'$1' is no category; use 1 to 20 letters, digits and -"
}

check_month() {
  [[ $1 =~ ^[0-9]{4}-(0[1-9]|1[0-2])$ ]] || invalid "'$1' is no month; write YYYY-MM"
}

check_date() {
  local pattern='^([0-9]{4})-(0[1-9]|1[0-2])-([0-9]{2})$' year month day days
  [[ $1 =~ $pattern ]] || invalid "'$1' is no date; write YYYY-MM-DD"
  year=$((10#${BASH_REMATCH[1]})) month=${BASH_REMATCH[2]} day=$((10#${BASH_REMATCH[3]}))
  case $month in
    04 | 06 | 09 | 11) days=30 ;;
    02) days=28 ;;
    *) days=31 ;;
  esac
  if [ "$month" = 02 ] && { [ $((year % 400)) -eq 0 ] ||
    { [ $((year % 4)) -eq 0 ] && [ $((year % 100)) -ne 0 ]; }; }; then
    days=29
  fi
  [ "$day" -ge 1 ] && [ "$day" -le "$days" ] || invalid "'$1' is not in the calendar"
}

check_note() {
  case $1 in
    *$'\t'* | *$'\n'* | *$'\r'*) invalid "the note $(printf %q "$1") has a tab or a line break" ;;
  esac
}
