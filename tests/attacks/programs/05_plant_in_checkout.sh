# Plants in the person's checkout what the person's next command runs: a setting of git, a hook, a
# recipe of the Makefile.
target=$base/product
printf '[core]\n\tfsmonitor = touch %s/drop/planted;\n' "$base" >> "$target/.git/config" && echo config
mkdir -p "$target/.git/hooks" && printf '#!/bin/sh\ntouch %s/drop/planted\n' "$base" > "$target/.git/hooks/pre-commit" &&
  chmod +x "$target/.git/hooks/pre-commit" && echo hook
printf 'test:\n\ttouch %s/drop/planted\n' "$base" >> "$target/Makefile" && echo Makefile
exit 0
