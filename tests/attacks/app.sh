#!/usr/bin/env bash
# The hostile product: plays the program that its first argument names.
cd -- "$(dirname -- "$0")" || exit 1
. hostile/where
# Nothing outside of the suite's own folder is written to.
[[ $base == */factory-attacks-* ]] || exit 1
export HOME=${HOME:-$base/home} TMPDIR=${TMPDIR:-$base/tmp} mine=${base##*/}
exec bash "hostile/programs/$1.sh" "${@:2}"
