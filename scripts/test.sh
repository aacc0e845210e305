#!/bin/sh
# test.sh -- everything, on a bare Debian 12: packages, the release build with
# gcc and its tests, the build with clang, the tests under ASan and UBSan, the
# size of the runtime, a short run of each fuzz target.  Ends with the line
# "N passed, N failed": every test once, plus one each for the clang build, the
# size and each fuzz target.  A failure under the sanitizers counts as well.
#   BUILD=dir   where to build (build)      JOBS=n   (2)
#   FUZZ_SECONDS=n per fuzz target (20)
set -u
cd "$(dirname "$0")/.."
BUILD=${BUILD:-build}
JOBS=${JOBS:-2}
FUZZ_SECONDS=${FUZZ_SECONDS:-20}
passed=0 failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

say() { printf '\n== %s\n' "$1"; }
check() { # check NAME COMMAND...: one test
  name=$1
  shift
  if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAILED: $name"; fi
}
need() { # need NAME COMMAND...: not a test, but its failure is one
  name=$1
  shift
  "$@" || { failed=$((failed + 1)); echo "FAILED: $name"; }
}
build() { # build DIR CC CMAKE-ARGS...
  dir=$1 cc=$2
  shift 2
  cmake -S . -B "$dir" -DCMAKE_C_COMPILER="$cc" -DRVM_WERROR=ON "$@" >"$log" 2>&1 ||
    { cat "$log"; return 1; }
  cmake --build "$dir" -j "$JOBS" -- -k >"$log" 2>&1 || { grep -v '^\[' "$log"; return 1; }
}
show_skipped() { # their lines, and the last that each said
  awk '/^[0-9]+: ./ { said[$1 + 0] = substr($0, index($0, ":") + 2) }
       /^ *[0-9]+\/[0-9]+ Test +#[0-9]+:.*\*\*\*Skipped/ {
         match($0, /#[0-9]+: [^ ]+/)
         id = substr($0, RSTART + 1, RLENGTH - 1)
         print "skipped: " substr(id, index(id, " ") + 1) ": " said[id + 0] }' "$log"
}
show_failed() { # the output of the tests that failed, without those lines that passed
  awk 'NR == FNR { if (/^ *[0-9]+\/[0-9]+ Test +#[0-9]+:/ && !/ Passed |\*\*\*Skipped /) {
                     match($0, /#[0-9]+/); bad[substr($0, RSTART + 1, RLENGTH - 1)] = 1; print }
                   next }
       match($0, /^[0-9]+: /) && bad[substr($0, 1, RLENGTH - 2)] &&
         !/^[0-9]+: \[( RUN|       OK)/' \
    "$log" "$log" | head -300
}
run_tests() { # run_tests DIR ARGS...: sets p and f
  dir=$1
  shift
  (cd "$dir" && ctest -V -j "$JOBS" --timeout 600 "$@") >"$log" 2>&1
  # shellcheck disable=SC2046
  set -- $(awk -f scripts/count.awk "$log")
  p=$1 f=$2
  [ $((p + f)) -gt 0 ] || { echo "no tests in $dir"; f=1; }
  [ "$f" -eq 0 ] || show_failed
  show_skipped
  echo "$p passed, $f failed"
}

say "packages"
need "packages" sh scripts/deps.sh

say "release build, gcc"
need "release build" build "$BUILD" gcc -DCMAKE_BUILD_TYPE=Release -DRVM_TESTS=ON
say "tests"
run_tests "$BUILD"
passed=$((passed + p)) failed=$((failed + f))

say "release build, clang"
check "clang build" build "$BUILD/clang" clang -DCMAKE_BUILD_TYPE=Release -DRVM_TESTS=OFF

say "tests under ASan and UBSan"
need "sanitizer build" build "$BUILD/san" clang -DCMAKE_BUILD_TYPE=Release -DRVM_SANITIZE=ON
run_tests "$BUILD/san" -L 'unit|golden|fuzz'
failed=$((failed + f))

say "size of the runtime"
check "size" sh scripts/size.sh 160

say "fuzzing, $FUZZ_SECONDS s each"
need "fuzz build" build "$BUILD/fuzz" clang -DCMAKE_BUILD_TYPE=Release -DRVM_FUZZ=ON
fuzz() { # fuzz TARGET
  new=$BUILD/fuzz/found-$1
  saved=tests/fuzz/corpus/$1
  dict=tests/fuzz/$1.dict
  mkdir -p "$new"
  [ -d "$saved" ] || saved=''
  [ -e "$dict" ] && dict="-dict=$dict" || dict=''
  # shellcheck disable=SC2086 # the options: tests/CMakeLists.txt
  ASAN_OPTIONS=detect_stack_use_after_return=0:intercept_tls_get_addr=0 "$BUILD/fuzz/tests/fuzz_$1" \
    -max_total_time="$FUZZ_SECONDS" -timeout=10 -rss_limit_mb=2048 -max_len=16384 \
    -artifact_prefix="$new/" $dict "$new" $saved >"$log" 2>&1 || { tail -40 "$log"; return 1; }
  tail -1 "$log"
}
for src in tests/fuzz/*.c; do
  target=$(basename "$src" .c)
  check "fuzz $target" fuzz "$target"
done

say "result"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
