# As the product: reads what an earlier candidate left in the home, among temporary files and in what git
# ignores, and leaves it there for the next one.
for dir in "$HOME" "$TMPDIR" ignored "$base/drop"; do
  [ -d "$dir" ] || mkdir -p "$dir"
  cat "$dir/poison-$mine" 2>/dev/null
  echo spoiled > "$dir/poison-$mine"
done
exit 0
