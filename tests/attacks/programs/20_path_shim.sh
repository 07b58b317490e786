# Leaves programs named as those that the factory calls where a relative entry of PATH finds them.
mkdir -p bin
for name in git bash setsid make node; do
  printf '#!/bin/sh\n: > %s/drop/shim-%s\nfor dir in /usr/local/bin /usr/bin /bin; do\n  [ -x $dir/%s ] && exec $dir/%s "$@"\ndone\n' \
    "$base" "$name" "$name" "$name" > "bin/$name"
  chmod +x "bin/$name"
done
echo shims
