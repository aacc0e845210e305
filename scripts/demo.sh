#!/bin/sh
# demo.sh -- installs what is missing, builds, runs the examples.
set -eu
examples='mlp lstm tree_lstm fbs_cnn early_exit beam_search'

cd "$(dirname "$0")/.."
sh scripts/deps.sh
cmake -S . -B build >/dev/null
cmake --build build -j "${JOBS:-2}" --target rvm >/dev/null

failed=0
for name in $examples; do
  f=examples/$name.rly
  printf '\n$ rvm run %s\n' "$f"
  build/rvm run "$f" || { echo "FAILED: $f"; failed=$((failed + 1)); }
done
[ "$failed" -eq 0 ]
