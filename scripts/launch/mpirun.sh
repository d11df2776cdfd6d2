#!/usr/bin/env bash
# Trains on several ranks of this machine or of the hosts in a file, with Open MPI or MPICH.
#   scripts/launch/mpirun.sh -n RANKS [--hostfile FILE] -- train -c x.yaml --set parallel.expert=4
# Every host needs the same executable and the same run directory at the same paths. Ranks of one host share its
# processors out among themselves (train.threads: auto). ARTEL names another executable than build/release/artel.
set -euo pipefail

ranks=""
hostfile=""
while (($#)); do
  case "$1" in
    -n) ranks="${2:?-n needs a number of ranks}"; shift 2 ;;
    --hostfile) hostfile="${2:?--hostfile needs a file}"; shift 2 ;;
    --) shift; break ;;
    *) echo "mpirun.sh: unknown argument '$1'; see the top of scripts/launch/mpirun.sh" >&2; exit 1 ;;
  esac
done
[[ -n "$ranks" && $# -gt 0 ]] || { echo "mpirun.sh: required -n RANKS -- COMMAND…; see the top of scripts/launch/mpirun.sh" >&2; exit 1; }
artel="${ARTEL:-$(cd "$(dirname "$0")/../.." && pwd)/build/release/artel}"

# Loading a kernel when it is first called may wait for everything that the GPU is doing; behind a kernel of NCCL that
# waits for this very rank, that would be for good.
export CUDA_MODULE_LOADING="${CUDA_MODULE_LOADING:-EAGER}"
options=(-n "$ranks")
if mpirun --version 2>&1 | grep -q -e 'Open MPI' -e OpenRTE; then
  options+=(--bind-to none -x CUDA_MODULE_LOADING)
  [[ $(id -u) -eq 0 ]] && options+=(--allow-run-as-root)
  ((ranks > $(nproc))) && [[ -z "$hostfile" ]] && options+=(--oversubscribe)
  [[ -n "$hostfile" ]] && options+=(--hostfile "$hostfile")
elif [[ -n "$hostfile" ]]; then
  options+=(-f "$hostfile")
fi

# Launchers end their ranks a second after SIGTERM, too soon to save; SIGUSR1 they pass on and let be. A session of its
# own keeps Ctrl-C of a terminal from the launcher.
setsid mpirun "${options[@]}" "$artel" "$@" &
launcher=$!
asked=false
ask() {
  if $asked; then
    kill -TERM "$launcher"
  else
    asked=true
    echo "mpirun.sh: the ranks finish their step and save; once more to end them at once" >&2
    kill -USR1 "$launcher"
  fi
}
trap ask INT TERM

lives() {  # process: has it begun and not ended?
  grep -qs '^State:[[:space:]]*[^ZX[:space:]]' "/proc/$1/status"
}
# Open MPI 4's launcher can stay for good, with all its ranks gone, when one of them died while it connected.
end_idle_launcher() {
  local seen=false idle=0 child any
  while lives "$launcher"; do
    any=false
    for child in $(cat "/proc/$launcher/task"/*/children 2>/dev/null); do
      if lives "$child"; then any=true; fi
    done
    if $any; then seen=true; idle=0; else idle=$((idle + 1)); fi
    if $seen && ((idle >= 10)); then
      echo "mpirun.sh: every rank has ended and the launcher has not; ending it" >&2
      kill -KILL "$launcher"
    fi
    sleep 1
  done
}
end_idle_launcher &
watcher=$!

code=0
while :; do
  code=0
  wait "$launcher" || code=$?
  # A trapped signal ends `wait` too.
  kill -0 "$launcher" 2>/dev/null || break
done
kill "$watcher" 2>/dev/null || true
exit "$code"
