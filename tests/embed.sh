#!/bin/sh
# embed.sh LIBRVM_RT.a RVM SOURCE_DIR -- the runtime needs nothing of the C library but memory
# and string functions and libm: no stdio, no malloc, no errno, no globals; it
# shows no name but those of rvm.h; and the host of examples/embed, linked
# statically with it, runs an image.
set -eu
lib=$1 rvm=$2 src=$3
allowed='^(mem(cpy|set|move|cmp|chr)|str(len|cmp|ncmp|chr)|_GLOBAL_OFFSET_TABLE_|__stack_chk_fail|__mem(cpy|set|move)_chk|__tls_get_addr|(a?(sin|cos|tan)h?|atan2|exp2?|expm1|log|log2|log10|log1p|pow|fmod|floor|ceil|trunc|rint|nearbyint|round|roundeven|erf|sqrt|fabs|copysign|fma|fmax|fmin|ldexp|scalbn)f?)$'
own=$(nm --defined-only "$lib" 2>/dev/null | awk 'NF == 3 { print $3 }' | sort -u)
bad=$(nm -u "$lib" 2>/dev/null | awk 'NF == 2 { print $2 }' | sort -u | grep -vE "$allowed" | grep -vxF "$own" || true)
names=$(nm -g --defined-only "$lib" 2>/dev/null | awk 'NF == 3 && $3 !~ /^rvm_/ { print $3 }')
vars=$(size -A "$lib" | awk '/:$/ { f = $1 } ($1 ~ /^\.(data|bss)/ && $1 !~ /rel\.ro/ || $1 ~ /^\.t(data|bss)/) && $2 > 0 { print f $1 }')
[ -z "$bad" ] || { echo "librvm_rt needs from outside:" $bad; exit 1; }
[ -z "$names" ] || { echo "librvm_rt shows names that a host may have:" $names; exit 1; }
[ -z "$vars" ] || { echo "librvm_rt has variables:" $vars; exit 1; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
echo 'def @main(%x: Tensor[(n), float32]) -> Tensor[(n), float32] { nn.relu(%x * 2f + 1f) }' >"$tmp/m.rly"
"$rvm" build "$tmp/m.rly" --out "$tmp/m.rvm"
${CC:-cc} -std=c17 -Wall -Wextra -Werror -static -I"$src/include" "$src/examples/embed/host.c" "$lib" -lm -o "$tmp/host"
got=$("$tmp/host" "$tmp/m.rvm" 1 -2 0.5 | tr '\n' ' ')
[ "$got" = "3 0 2 " ] || { echo "the host printed: $got"; exit 1; }
# The command of docs/embedding.md for a device: a host and the files of the runtime, nothing configured.
(cd "$src" && ${CC:-cc} -std=gnu17 -O0 -w -ffp-contract=off -I. -Iinclude examples/embed/host.c base/dtype.c \
  $(ls kernel/*.c vm/*.c | grep -vEf cmake/runtime.exclude) -lm -o "$tmp/device")
[ "$("$tmp/device" "$tmp/m.rvm" 1 -2 0.5 | tr '\n' ' ')" = "$got" ] || { echo "the device's host differs"; exit 1; }
[ "$(wc -l <"$src/examples/embed/host.c")" -le 40 ] || { echo "the host is longer than 40 lines"; exit 1; }
echo "librvm_rt stands alone; a static host of $(wc -c <"$tmp/host") bytes runs an image"
