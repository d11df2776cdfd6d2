#!/bin/sh
# Runs a compiler that was told -Xptxas=-v: what ptxas says of every kernel goes to OBJECT.ptxas, the rest to the screen.
#   tools/keep_ptxas_output.sh nvcc … -o OBJECT
object=""
previous=""
for argument; do
  [ "$previous" = "-o" ] && object=$argument
  previous=$argument
done
[ -n "$object" ] || exec "$@"
"$@" 2>"$object.ptxas"
code=$?
grep -v -e '^ptxas info' -e 'bytes stack frame' "$object.ptxas" >&2
exit $code
