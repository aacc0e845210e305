#!/bin/sh
# roundtrip.sh RVM SOURCE_DIR -- print -> parse -> print is byte-stable, and fmt
# changes nothing the second time, for every .rly that parses: library,
# examples, tests, and the corpus where it is.
set -u
rvm=$1 src=$2
shared=${RVM_SHARED:-$src/../shared}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0
for f in "$src"/stdlib/*.rly "$src"/examples/*.rly "$src"/tests/golden/*/*.rly "$shared"/corpus/*/model.rly; do
  [ -e "$f" ] || continue
  dir=$(dirname "$f")
  "$rvm" print --all "$f" >"$tmp/1.rly" 2>"$tmp/err"
  case $? in
    0) ;;
    1 | 4) continue ;; # meant to be refused
    *) failed=$((failed + 1)); echo "print fails: $f"; head -3 "$tmp/err"; continue ;;
  esac
  cp "$tmp/1.rly" "$tmp/in.rly"
  ok=yes
  "$rvm" print --all "$tmp/in.rly" >"$tmp/2.rly" 2>"$tmp/err" && cmp -s "$tmp/1.rly" "$tmp/2.rly" || ok="print"
  "$rvm" fmt "$f" >"$tmp/f1.rly" 2>/dev/null && "$rvm" fmt "$tmp/f1.rly" >"$tmp/f2.rly" 2>/dev/null &&
    cmp -s "$tmp/f1.rly" "$tmp/f2.rly" || ok="$ok fmt"
  if [ "$ok" = yes ]; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "$ok differs: $f"; head -3 "$tmp/err"; fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
