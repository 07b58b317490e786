# Reads from descriptors that whoever started the factory had left open.
for fd in /proc/self/fd/*; do
  fd=${fd##*/}
  case $fd in 0 | 1 | 2 | 3 | 255) continue ;; esac
  cat <&"$fd" && echo "read $fd"
done
exit 0
