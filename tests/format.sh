#!/bin/sh
# format.sh SOURCE_DIR -- every .c of the product is as clang-format 14 lays it
# out (headers and tables are laid out by hand; examples/embed/host.c is kept to
# forty lines).
set -eu
cd "$1"
command -v clang-format >/dev/null || { echo "no clang-format: skipped"; exit 77; }
bad=$(find base kernel vm ir parser typeinfer stdlib opt autodiff codegen cli bench -name '*.c' |
  xargs clang-format --style=file --dry-run -Werror 2>&1 | grep -E ': error' | cut -d: -f1 | sort -u) || true
[ -z "$bad" ] || { echo "not laid out by clang-format:" $bad; exit 1; }
echo "laid out by clang-format"
