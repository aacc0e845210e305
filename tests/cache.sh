#!/bin/sh
# cache.sh RVM -- machine code kept between runs, and the engine chosen by itself.
set -u
rvm=$1
[ -e "$(dirname "$rvm")/rvm_native.so" ] || { echo "no LLVM"; exit 77; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export XDG_CACHE_HOME="$tmp/cache"
unset RVM_ENGINE RVM_CACHE RVM_CPU RVM_CPU_CACHES
kept="$tmp/cache/rvm"
passed=0 failed=0
check() { # check NAME CONDITION...
  name=$1
  shift
  if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAILED: $name"; fi
}
entries() { find "$kept" -name '*.code' 2>/dev/null | wc -l; }
printf 'def @main(%%x: Tensor[(4), float32]) { sum(%%x) }\n' >"$tmp/sum.rly"
run() { "$rvm" run "$tmp/sum.rly" --input x=f32[4]=ones --engine native "$@"; }
loads_llvm() { [ "$(LD_DEBUG=files run "$@" 2>&1 | grep -c libLLVM)" -gt 0 ]; }
gives() { case $(run "$@" 2>/dev/null) in 4*) true ;; *) false ;; esac; }

check "--no-cache keeps nothing" gives --no-cache
check "  nothing" [ "$(entries)" = 0 ]
RVM_CACHE=0 check "RVM_CACHE=0 keeps nothing" gives
check "  nothing" [ "$(entries)" = 0 ]
check "the first run compiles" loads_llvm
check "and keeps one entry" [ "$(entries)" = 1 ]
not() { ! "$@"; }
check "the second does not load LLVM" not loads_llvm
check "and is right" gives
entry=$(find "$kept" -name '*.code')
cp "$entry" "$tmp/good"
mode=$(stat -c %a "$entry")
check "only its owner may write it" [ "$mode" = 600 ]

for at in 0 20 63 64 200 600; do # damage, byte by byte, in head and body
  cp "$tmp/good" "$entry"
  printf '\245' | dd of="$entry" bs=1 seek=$at conv=notrunc 2>/dev/null
  check "damage at $at is found" gives
  check "and mended ($at)" cmp -s "$tmp/good" "$entry"
done
for n in 0 10 64 300; do
  head -c $n "$tmp/good" >"$entry"
  check "cut at $n is found" gives
  check "and mended ($n)" cmp -s "$tmp/good" "$entry"
done
cp "$tmp/good" "$entry"
chmod 666 "$entry"
check "what others could have written is not run" loads_llvm
check "and is written anew, its owner's alone" not loads_llvm
chmod 777 "$kept"
check "in a folder where others could put it" loads_llvm
chmod 700 "$kept"
rm "$entry"
mkfifo "$entry"
waits() { timeout 20 "$rvm" run "$tmp/sum.rly" --input x=f32[4]=ones --engine native --quiet; }
check "at a pipe nobody waits" waits
check "it is an entry then" cmp -s "$tmp/good" "$entry"
XDG_CACHE_HOME="$tmp/far/below" check "parents of the folder are made" gives
check "  by its owner" [ "$(stat -c %a "$tmp/far")" = 700 ]
check "  and used" [ "$(find "$tmp/far/below/rvm" -name '*.code' | wc -l)" = 1 ]
(unset XDG_CACHE_HOME && HOME="$tmp/nobody" gives)
check "a home that is not there is not made" [ ! -e "$tmp/nobody" ]

# Constants that a hash of products does not see where they stand: they are swapped.
mkdir "$tmp/a" "$tmp/b"
none=-4.0765893351549374e-163 zero=0.0000000000000000000000
printf 'def @main(%%x: float64) { (maximum(%%x,%sf64), minimum(%%x,%sf64)) }\n' $none $zero >"$tmp/a/m.rly"
printf 'def @main(%%x: float64) { (maximum(%%x,%sf64), minimum(%%x,%sf64)) }\n' $zero $none >"$tmp/b/m.rly"
bounds() { (cd "$tmp/$1" && "$rvm" run m.rly --input x=-5f64 --engine native); }
check "one program's code" [ "$(bounds a)" = "(${none}f64, -5f64)" ]
check "is not another's" [ "$(bounds b)" = "(0f64, -5f64)" ]

rm -rf "$kept"
for i in 1 2 3 4; do (gives && : >"$tmp/done$i") & done
wait
check "four at once" [ "$(ls "$tmp" | grep -c '^done')" = 4 ]
check "leave one whole entry" not loads_llvm
check "and nothing else" [ "$(ls "$kept" | wc -l)" = 1 ]

truncate -s 300M "$kept/old.code"
touch -d '2020-01-01' "$kept/old.code"
printf 'def @main(%%x: Tensor[(4), float32]) { max(%%x) }\n' >"$tmp/other.rly"
"$rvm" run "$tmp/other.rly" --input x=f32[4]=ones --engine native --quiet
check "the oldest goes when there is too much" [ ! -e "$kept/old.code" ]
check "the others stay" [ "$(entries)" = 2 ]
rm -rf "$kept"
within_a_limit() { (ulimit -f 1 && gives); }
check "an entry larger than files may be is no failure" within_a_limit
check "  and leaves nothing" [ "$(ls "$kept" | wc -l)" = 0 ]
gives
XDG_CACHE_HOME=/proc/nowhere check "a folder that cannot be is no failure" gives

cat >"$tmp/loop.rly" <<'RLY'
def @main(%n: int32) -> int32 { @loop(%n, 0) }
def @loop(%n: int32, %a: int32) -> int32 { if (%n == 0) { %a } else { @loop(%n - 1, %a + 1) } }
RLY
engine() { "$rvm" run "$tmp/loop.rly" --input "n=$1" --stats --quiet 2>&1 | sed -n 's/^engine \([a-z]*\),.*/\1/p'; }
check "a short run is interpreted" [ "$(engine 10)" = interp ]
check "a long one is compiled" [ "$(engine 30000000)" = native ]
check "from then on at once" [ "$(engine 10)" = native ]
check "its fuel is what was asked for" [ "$("$rvm" run "$tmp/loop.rly" --input n=1000000 --no-cache --fuel 100 2>&1 | grep -c 'fuel is used up')" = 1 ]

for cpu in x86-64 x86-64-v3; do
  grep -q avx2 /proc/cpuinfo || [ $cpu = x86-64 ] || continue
  before=$(entries)
  check "as for $cpu" [ "$(RVM_CPU=$cpu engine 30000000)" = native ]
  check "kept for itself" [ "$(entries)" = $((before + 1)) ]
done
matrix() { "$rvm" run "$tmp/matrix.rly" --input x=f32[37,1100]=rand:5 --engine native "$@"; }
printf 'def @main(%%x: Tensor[(37, 1100), float32]) { nn.dense(%%x, %%x) }\n' >"$tmp/matrix.rly"
matrix >"$tmp/here"
before=$(entries)
RVM_CPU_CACHES=8K,64K,0 matrix >"$tmp/there"
check "other caches, the same bits" cmp -s "$tmp/there" "$tmp/here"
check "kept for themselves" [ "$(entries)" = $((before + 1)) ]
code_for() { RVM_CPU_CACHES=$1 "$rvm" build "$tmp/matrix.rly" --emit=asm | grep -v '^\s*\.' | cksum; }
check "products are cut for the caches" [ "$(code_for 32K,1M,32M)" != "$(code_for 32K,64K,32M)" ]
for caches in 1M 32K,1M 32K,1M,32M,64M 0,1M,32M 32K,0,32M -1,1M,32M 32K,1G,32M 32K,,32M ' 32K,1M,32M'; do
  check "caches of $caches" [ "$(RVM_CPU_CACHES=$caches matrix 2>&1 | grep -c 'RVM_CPU_CACHES is not three sizes')" = 1 ]
done
check "no such processor" [ "$(RVM_CPU=z80 "$rvm" run "$tmp/loop.rly" --input n=1 --engine vm 2>&1 | grep -c 'RVM_CPU is none of')" = 1 ]

perf() { "$rvm" run "$@" --perf --engine native --quiet & pid=$!; wait $pid; map="/tmp/perf-$pid.map"; }
perf "$tmp/loop.rly" --input n=10
# perf(1) passes over names of less than three characters.
check "perf finds names and their lines" grep -q ' function main .*loop\.rly:1$' "$map"
rm -f "$map"
cat >"$tmp/rows.rly" <<'RLY'
def @main(%a: Tensor[(n, 64), float32], %b: Tensor[(64, 64), float32]) {
  nn.relu(nn.matmul(%a, %b))
}
RLY
perf "$tmp/rows.rly" --input a=f32[90,64]=ones --input b=ones --specialise now --repeat 8
check "kernels too" grep -q ' kernel matmul_relu .*rows\.rly:2$' "$map"
check "and versions made meanwhile" grep -q ' kernel matmul_relu (version) .*rows\.rly:2$' "$map"
rm -f "$map"

for kind in llvm asm; do
  check "--emit=$kind" [ "$("$rvm" build "$tmp/loop.rly" --emit=$kind | grep -c 'e1\|e0')" -gt 0 ]
done

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
