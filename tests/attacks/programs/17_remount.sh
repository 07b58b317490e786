# Gets a name space of its own, where it is root, and mounts the checkout there; enters that of the
# factory; takes away whatever is mounted over the exam.
. hostile/ancestry.sh
mkdir -p loot/mnt
look='
  umount -l "$1/product/scenarios"
  mount --bind "$1/product" loot/mnt && cat loot/mnt/scenarios/*.md'
unshare -Urm bash -c "$look" look "$base"
unshare -m bash -c "$look" look "$base"
unshare -Urmpf --mount-proc bash -c "$look" look "$base"
for pid in $(factory); do
  nsenter --mount="/proc/$pid/ns/mnt" cat "$base/product/scenarios/exam.md"
done
exit 0
