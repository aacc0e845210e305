#!/bin/sh
# size.sh [LIMIT_KB] -- code bytes (.text at -Os) of the runtime to embed:
# kernel, vm and the part of base below them, without the tools that
# cmake/runtime.exclude names.  Fails above the limit.
set -eu
cd "$(dirname "$0")/.."
limit=${1:-160}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
for f in base/dtype.c kernel/*.c vm/*.c; do
  [ -e "$f" ] || continue
  echo "$f" | grep -qE -f cmake/runtime.exclude && continue
  ${CC:-gcc} -std=gnu17 -Os -DNDEBUG -ffp-contract=off -fno-math-errno -I. -Iinclude \
    -c "$f" -o "$out/$(echo "$f" | tr / _).o"
done
size -A "$out"/*.o | awk -v limit="$limit" '
  /:$/ { file = $1; sub(/.*\//, "", file); sub(/_/, "/", file); sub(/\.o$/, "", file) }
  $1 ~ /^\.text/ { text[file] += $2; all += $2 }
  $1 ~ /^\.rodata/ { ro += $2 }
  END {
    for (f in text) printf "%8d  %s\n", text[f], f | "sort -rn"
    close("sort -rn")
    printf "librvm_rt: %.1f KB of code, %.1f KB of constants; the limit is %d KB of code\n",
           all / 1024, ro / 1024, limit
    exit all > limit * 1024
  }'
