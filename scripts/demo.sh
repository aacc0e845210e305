#!/bin/sh
# demo.sh -- installs what is missing, builds, runs the examples.
set -eu
examples='examples/mlp.rly examples/lstm.rly examples/tree_lstm.rly examples/fbs_cnn.rly
examples/early_exit.rly examples/beam_search.rly'

cd "$(dirname "$0")/.."
sh scripts/deps.sh
cmake -S . -B build -DRVM_TESTS=OFF >/dev/null
cmake --build build -j "${JOBS:-2}" >/dev/null

failed=0
for f in $examples; do
  if [ ! -e "$f" ]; then
    echo "$f: not there yet, skipped"
    continue
  fi
  printf '\n$ rvm run %s\n' "$f"
  build/rvm run "$f" || { echo "FAILED: $f"; failed=$((failed + 1)); }
done
exit "$failed"
