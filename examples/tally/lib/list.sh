# What list and total print.

list() {
  expenses | awk -F '\t' -v OFS='\t' '
    { $3 = sprintf("%.0f.%02d", int($3 / 100), $3 % 100); print }
  '
}

total() {
  expenses | awk -F '\t' '
    { sum += $3 }
    END { printf "%.0f.%02d\n", int(sum / 100), sum % 100 }
  '
}
