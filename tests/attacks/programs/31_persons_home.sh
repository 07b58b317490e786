# As the product: reads what lies in the person's home, and in its own if that is the same.
cat "$base/home/notes" "$HOME/notes"
exit 0
