# Kills the supervisor and the factory above it. See ancestry.sh for which processes.
. hostile/ancestry.sh
pids=$(factory)
echo "ancestors $(echo "$pids" | wc -w)"
# The factory first: it ends the agent, and this, where the supervisor is gone.
kill -9 $(printf '%s\n' $pids | tac)
exit 0
