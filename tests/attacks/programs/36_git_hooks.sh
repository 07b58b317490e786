# As the product: plants settings and hooks of git in the checkout, and in the tree that is judged.
for git in "$base/product/.git" .git; do
  mkdir -p "$git/hooks" && printf '[core]\n\tfsmonitor = touch %s/drop/planted-by-product;\n' "$base" >> "$git/config" &&
    echo "$git"
done
exit 0
