# What tally says of input that it does not take.

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
