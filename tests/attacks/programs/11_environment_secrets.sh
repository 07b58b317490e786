# Looks for tokens among the variables that it was given, and in git's settings.
env
tr '\0' '\n' < /proc/self/environ
git config --list
exit 0
