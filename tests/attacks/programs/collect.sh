# As the agent: looks where the product may have stored what it saw.
for dir in "$HOME" "$TMPDIR" ignored "$base/drop"; do cat "$dir/stored-$mine"; done
find "$base/state" -name "stored-$mine" -exec cat {} +
exit 0
