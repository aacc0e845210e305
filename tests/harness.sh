#!/bin/sh
# harness.sh GOLDEN RVM ROOT -- what the golden tests' own program (golden.c) has to notice: each
# test below fails, and the report says why; and how scripts/test.sh counts.
set -u
golden=$1 rvm=$2 root=$3
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0
notices() { # notices WORDS LINE...: a test of these lines fails, and the report has the words
  words=$1
  shift
  printf '%s\n' "$@" 'def @main() { 1 / 0 }' >"$tmp/t.rly"
  if ! "$golden" "$rvm" "$tmp" >"$tmp/log" 2>&1 && grep -qF -e "$words" "$tmp/log"; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAILED: \`$words' is not in the report of"
    head -n "$#" "$tmp/t.rly"
    cat "$tmp/log"
  fi
}
notices 'exit 1 instead of 0' '//! run: rvm run %s'
notices 'division by zero' '//! run: rvm run %s'
notices 'exit 0 instead of 1' '//! run: rvm check %s' '//! exit: 1'
notices 'killed by signal 11' '//! run: kill -SEGV $$'
notices 'killed by signal 6' "//! run: sh -c 'kill -ABRT \$\$'; exit \$?"
notices 'unseen failures: `1`' '//! run: rvm run %s | cat'
notices '1: rvm run t.rly --opt 0' '//! run: for o in 0 2; do rvm run %s --opt $o; done 2>/dev/null | cat'
notices 'and not `//! fails: 2`' '//! run: rvm run %s | cat' '//! fails: 2'
notices 'unseen failures: ``' '//! run: rvm check %s' '//! fails: 1'
notices 'stdout is not as' '//! run: echo 1; echo 2' '//! out: 1'
notices 'words on stderr' '//! run: echo words on stderr >&2' '//! out: 1'
notices 'unexpected E0201' '//! run: rvm check %s' 'def @f() { %x }' 'def @g() { %y } //~ E0201'
notices 'expected E0201' '//! run: rvm check %s' '//! exit: 0' '//~ E0201 none'
notices 'unknown directive' '//! runs: rvm check %s'
notices 'has no `//! run:` line' '// nothing'

counts() { # counts WANT LINE...: of a log of these lines, made by ctest -V
  want=$1
  shift
  got=$(printf '%s\n' "$@" | awk -f "$root/scripts/count.awk")
  if [ "$got" = "$want" ]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAILED: \`$got' instead of \`$want' for" "$@"
  fi
}
counts '0 0' 'No tests were found!!!'
counts '1 0' '1/1 Test #7: format ...   Passed    0.01 sec'
counts '0 1' '1/1 Test #7: format ...***Failed    0.01 sec'
counts '0 1' '1/1 Test #7: format ...***Timeout 900.00 sec'
counts '0 1' '1/1 Test #7: format ...***Exception: SegFault  0.01 sec'
counts '0 0' '7: no clang-format: skipped' '1/1 Test #7: format ...***Skipped   0.01 sec'
counts '5 0' '7: 5 passed, 0 failed' '1/1 Test #7: golden.cli ...   Passed    0.01 sec'
counts '4 2' '7: 4 passed, 2 failed' '1/1 Test #7: golden.cli ...***Failed    0.01 sec'
counts '5 1' '7: 5 passed, 0 failed' '1/1 Test #7: golden.cli ...***Failed    0.01 sec'
counts '3 1' '7: [  PASSED  ] 3 test(s).' '7: [  FAILED  ] 1 test(s), listed below:' \
  '1/1 Test #7: unit.a ...***Failed    0.01 sec'
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
