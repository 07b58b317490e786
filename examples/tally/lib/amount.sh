# Amounts are whole cents everywhere but at the edges.

# Sets `cents` from an amount as people write it.
parse_amount() {
  local whole=${1%%.*} part=${1#*.}
  cents=$((whole * 100 + part))
}
