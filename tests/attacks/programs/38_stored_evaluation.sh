# As the product: stores what it was called with, for the agent's next turn.
for dir in "$HOME" "$TMPDIR" ignored "$base/drop"; do
  mkdir -p "$dir" && echo "$*" > "$dir/stored-$mine"
done
exit 0
