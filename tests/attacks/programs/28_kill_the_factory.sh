# Kills the supervisor and the factory above it. See ancestry.sh for which processes.
. hostile/ancestry.sh
pids=$(factory)
echo "ancestors $(echo "$pids" | wc -w)"
kill -9 $pids
exit 0
