# As the product: leaves a program in a directory of PATH that it can write, for the next candidate's
# evaluation to call instead of the right one.
for dir in "$base/tools" "$HOME/bin" "$HOME/.local/bin" bin; do
  mkdir -p "$dir" && printf '#!/bin/sh\necho shimmed\n' > "$dir/verdict-tool" && chmod +x "$dir/verdict-tool"
done
exit 0
