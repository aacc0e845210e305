#!/bin/sh
# install.sh BUILD_DIR -- what `cmake --install` puts into a prefix that the build was not told of
# works from there: the command finds its compiler, the examples run, and a host builds against
# the libraries in C and C++, through pkg-config and through find_package.
set -eu
build=$1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
fail() { echo "$*"; exit 1; }
cmake --install "$build" --prefix "$tmp/first" >/dev/null
mv "$tmp/first" "$tmp/moved to"
pre="$tmp/moved to"
rvm="$pre/bin/rvm"

native=$(find "$pre" -name rvm_native.so)
"$rvm" version | grep -q "engines: interp${native:+, vm, native}" || fail "engines: $("$rvm" version)"
got=$("$rvm" run --no-cache ${native:+--engine native} "$pre/share/rvm/examples/mlp.rly" | cut -c 1-25)
[ "$got" = "([[0.458, 0.195, 0.348], " ] || fail "mlp.rly gave $got"
if [ -n "$native" ]; then # an engine that was asked for and is not there is said, not replaced
  mv "$native" "$tmp"
  ! "$rvm" run --no-cache --engine native "$pre/share/rvm/examples/mlp.rly" 2>"$tmp/err" || fail "no native.so, yet it ran"
  grep -q 'rvm_native.so is neither beside rvm nor in' "$tmp/err" || fail "$(cat "$tmp/err")"
  "$rvm" version | grep -q 'engines: interp (no vm, no native: ' || fail "$("$rvm" version)"
fi
[ -s "$pre/share/man/man1/rvm.1" ] || fail "no manual page"
find "$pre/share" -name '*.md' | while read -r doc; do # no link leads to what is not installed
  grep -o ']([A-Za-z0-9_-]*[./][A-Za-z0-9_./-]*' "$doc" | sed 's,^](,,' | while read -r link; do
    [ -e "$(dirname "$doc")/$link" ] || echo "$doc: $link"
  done
done >"$tmp/links"
[ ! -s "$tmp/links" ] || fail "links to nothing: $(cat "$tmp/links")"
! grep -q '](base)' "$pre/share/doc/rvm/README.md" || fail "README.md links to a folder of the sources"

cd "$tmp"
ln -s "moved to" pre # compilers' flags hold no spaces
cat >host.c <<'C'
#include <rvm/rvm.h>
#include <stdio.h>
static void *none(void *user, void *old, size_t was, size_t want, rvm_kind kind) {
  (void)user, (void)old, (void)was, (void)want, (void)kind;
  return 0;
}
int main(void) {
  rvm_alloc alloc = {none, 0};
  rvm_program *p;
  rvm_error e;
  printf("%d\n", rvm_program_load("not an image", 12, alloc, &p, &e) == RVM_OK);
  return 0;
}
C
pc=$(dirname "$(find pre/ -name rvm_rt.pc)")
export PKG_CONFIG_PATH="$pc"
for lib in rvm_rt rvm; do
  # shellcheck disable=SC2046
  ${CC:-cc} host.c $(pkg-config --cflags --libs $lib) -o host
  [ "$(./host)" = 0 ] || fail "$lib: $(./host)"
done
if command -v c++ >/dev/null; then
  # shellcheck disable=SC2046
  c++ -x c++ -std=c++11 -Wall -Wextra -Werror -pedantic host.c -x none $(pkg-config --cflags --libs rvm_rt) -o host
  [ "$(./host)" = 0 ] || fail "C++: $(./host)"
fi
mkdir cm
cat >cm/CMakeLists.txt <<'C'
cmake_minimum_required(VERSION 3.16)
project(host C)
find_package(rvm REQUIRED)
add_executable(host ../host.c)
target_link_libraries(host rvm::rt)
C
{ cmake -S cm -B cm/b "-DCMAKE_PREFIX_PATH=$pre" && cmake --build cm/b; } >cm.log 2>&1 || fail "$(cat cm.log)"
[ "$(cm/b/host)" = 0 ] || fail "find_package: $(cm/b/host)"
echo "an installed tree works where it was moved to"
