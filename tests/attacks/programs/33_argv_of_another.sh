# As the product: reads the command line of an evaluation that runs beside its own. It looks at the
# processes below the runner that started it, which it finds by the line of parents.
. hostile/ancestry.sh
below() {
  local child
  for child in $(cat "/proc/$1"/task/*/children); do
    tr '\0' '\n' < "/proc/$child/cmdline" && below "$child"
  done
}
for try in $(seq 20); do
  for pid in $(factory); do below "$pid"; done | grep -aoE -m 1 'kanari-argv-[0-9a-f]+' && exit 0
  sleep 0.1
done
exit 0
