# Leaves programs named as those that the factory calls where a relative entry of PATH finds them. They tell
# when they run outside of a turn and of an evaluation, or with a descriptor that the agent does not get.
mkdir -p bin
for name in git bash setsid make node; do
  cat > "bin/$name" <<EOF
#!/bin/sh
[ "\$DARK_FACTORY_TURN\$DARK_FACTORY_CHILD" ] || : > $base/drop/shim-$name
[ -e /proc/self/fd/9 ] && [ -d loot ] && cat <&9 >> loot/shim
for dir in /usr/local/bin /usr/bin /bin; do
  [ -x \$dir/$name ] && exec \$dir/$name "\$@"
done
EOF
  chmod +x "bin/$name"
done 2> /dev/null
echo shims
