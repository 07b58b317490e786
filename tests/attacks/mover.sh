#!/bin/bash
# What a person's script does at the tier `move`: hides the exam, lets the agent work in the checkout,
# and puts the exam back.
shuffle=$1
shift
"$shuffle" hide || exit
trap '"$shuffle" restore' EXIT
bash hostile/turn.sh "$@"
