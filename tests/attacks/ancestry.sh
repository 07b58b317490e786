# Prints the processes of the factory above this one, nearest first. They are found by the line of
# parents alone, and the first that is not the factory's ends it.
factory() {
  local pid=$$ met=
  while pid=$(sed -n 's/^PPid:\t//p' "/proc/$pid/status" 2>/dev/null) && [[ ${pid:-0} -gt 0 ]]; do
    case $(cat "/proc/$pid/comm") in
      iterate | run-scenarios | mover) echo "$pid" && met=yes ;;
      *) [[ $met ]] && return ;;
    esac
  done
}
