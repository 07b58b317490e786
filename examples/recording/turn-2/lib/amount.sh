# Amounts are whole cents everywhere but at the edges.

# Sets `cents` from an amount as people write it.
parse_amount() {
  local pattern='^([0-9]{1,7})([.]([0-9]{1,2}))?$' whole part
  [[ $1 =~ $pattern ]] || invalid "'$1' is no amount; write 12, 12.5 or 12.50"
  whole=${BASH_REMATCH[1]}
  part=${BASH_REMATCH[3]:-0}
  [ "${#part}" -eq 2 ] || part=${part}0
  # 10# keeps bash from reading 08 as octal.
  cents=$((10#$whole * 100 + 10#$part))
  [ "$cents" -gt 0 ] || invalid "'$1' is no amount; it must be more than 0"
}

# Prints cents as an amount.
money() {
  printf '%d.%02d' "$(($1 / 100))" "$(($1 % 100))"
}
