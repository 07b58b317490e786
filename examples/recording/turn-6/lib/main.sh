# The command line.

usage() {
  cat <<'END'
usage: tally [--file PATH] COMMAND [ARGUMENT...]

  add AMOUNT CATEGORY [NOTE...] [--date YYYY-MM-DD]   record an expense
  list                                                print the expenses
  total                                               print the sum
  report                                              print each category with its sum
  export                                              print the expenses as CSV
  remove ID                                           forget an expense
  help                                                print this

list, total, report and export take --category NAME and --month YYYY-MM.
The expenses are kept in PATH, else in $TALLY_FILE, else in ~/.tally.
END
}

main() {
  file=${TALLY_FILE:-${HOME:-.}/.tally}
  if [ "${1-}" = --file ]; then
    [ -n "${2-}" ] || invalid "--file needs a path"
    file=$2
    shift 2
  fi
  [ $# -gt 0 ] || invalid "no command; 'tally help' lists them"
  command=$1
  shift
  case $command in
    help | -h | --help) usage ;;
    add | list | total | report | remove) check_store; "$command" "$@" ;;
    export) check_store; export_csv "$@" ;;
    *) invalid "unknown command '$command'; 'tally help' lists them" ;;
  esac
}
