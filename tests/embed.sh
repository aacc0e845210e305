#!/bin/sh
# embed.sh LIBRVM_RT.a -- the runtime needs nothing of the C library but memory
# and string functions and libm: no stdio, no malloc, no errno, no globals.
set -eu
lib=$1
allowed='^(mem(cpy|set|move|cmp|chr)|str(len|cmp|ncmp|chr)|_GLOBAL_OFFSET_TABLE_|__stack_chk_fail|__mem(cpy|set|move)_chk|__tls_get_addr|(a?(sin|cos|tan)h?|atan2|exp2?|expm1|log|log2|log10|log1p|pow|fmod|floor|ceil|trunc|rint|nearbyint|round|roundeven|erf|sqrt|fabs|copysign|fma|fmax|fmin|ldexp|scalbn)f?)$'
own=$(nm --defined-only "$lib" 2>/dev/null | awk 'NF == 3 { print $3 }' | sort -u)
bad=$(nm -u "$lib" 2>/dev/null | awk 'NF == 2 { print $2 }' | sort -u | grep -vE "$allowed" | grep -vxF "$own" || true)
vars=$(size -A "$lib" | awk '/:$/ { f = $1 } ($1 ~ /^\.(data|bss)/ && $1 !~ /rel\.ro/ || $1 ~ /^\.t(data|bss)/) && $2 > 0 { print f $1 }')
[ -z "$bad" ] || { echo "librvm_rt needs from outside:" $bad; exit 1; }
[ -z "$vars" ] || { echo "librvm_rt has variables:" $vars; exit 1; }
echo "librvm_rt stands alone"
