# The sum of each category, the largest first.

report() {
  local chosen
  chosen=$(matching "$@")
  [ -n "$chosen" ] || return 0
  printf '%s\n' "$chosen" | awk -F '\t' -v OFS='\t' '
    { sum[$4] += $3 }
    END { for (category in sum) printf "%.0f\t%s\n", sum[category], category }
  ' | sort -t "$(printf '\t')" -k 1,1nr -k 2,2 | awk -F '\t' -v OFS='\t' '
    { print $2, sprintf("%.0f.%02d", int($1 / 100), $1 % 100) }
  '
}
