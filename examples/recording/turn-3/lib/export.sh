# The expenses as CSV.

export_csv() {
  local chosen
  chosen=$(matching "$@")
  printf 'id,date,category,amount,note\n'
  [ -n "$chosen" ] || return 0
  printf '%s\n' "$chosen" | awk -F '\t' -v OFS=',' '
    # A field with a comma or a quote needs quotes, else it's printed as it is.
    function field(text) {
      if (text !~ /[,"]/) return text
      gsub(/"/, "\"\"", text)
      return "\"" text "\""
    }
    { print $1, $2, $4, sprintf("%.0f.%02d", int($3 / 100), $3 % 100), field($5) }
  '
}
