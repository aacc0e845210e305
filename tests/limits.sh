#!/bin/sh
# limits.sh RVM -- sizes at which recursive or quadratic code would show: run
# with a 1 MB stack.
set -u
rvm=$1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0
ulimit -s 1024
expect() { # expect NAME SECONDS EXIT OUTPUT COMMAND...: within the time, that exit code, that output ("-": any)
  name=$1 seconds=$2 code=$3 want=$4
  shift 4
  start=$(date +%s%N)
  got=$(timeout 60 "$@" 2>"$tmp/err")
  status=$?
  ms=$((($(date +%s%N) - start) / 1000000))
  if [ "$status" -eq "$code" ] && { [ "$want" = - ] || [ "$got" = "$want" ]; } && [ "$ms" -le $((seconds * 1000)) ]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAILED: $name: exit $status after $ms ms (want $code within $seconds s), output $(printf %.80s "$got")"
    head -c 300 "$tmp/err"
  fi
}

awk 'BEGIN { print "def @main(%x0: float32) -> float32 {"
  for (i = 1; i <= 100000; i++) printf "  let %%x%d = add(%%x%d, 1f);\n", i, i - 1
  print "  %x100000\n}" }' >"$tmp/chain.rly"
expect "100000 lets check" 10 0 "" "$rvm" check "$tmp/chain.rly"
lets=10
[ "${RVM_ENGINE:-}" = native ] && lets=40 # LLVM, of one function of 200000 instructions
expect "100000 lets run" $lets 0 "100001f" "$rvm" run "$tmp/chain.rly" --input x0=1f
expect "100000 lets print" 10 0 - "$rvm" print "$tmp/chain.rly"
"$rvm" print "$tmp/chain.rly" >"$tmp/printed.rly"
expect "100000 lets print again" 10 0 - "$rvm" check "$tmp/printed.rly"
expect "100000 lets format" 10 0 - "$rvm" fmt "$tmp/chain.rly"
expect "100000 lets optimise" 10 0 - "$rvm" opt --level 2 "$tmp/chain.rly"

awk 'BEGIN { print "def @main(%x: float64) -> float64 {\n  %0 = add(%x, %x);"
  for (i = 1; i < 100; i++) printf "  %%%d = add(%%%d, %%%d);\n", i, i - 1, i - 1
  print "  %99\n}" }' >"$tmp/doublings.rly"
expect "100 shared doublings" 1 0 "1.2676506002282294e30f64" "$rvm" run "$tmp/doublings.rly" --input x=1f64

cat >"$tmp/loop.rly" <<'RLY'
def @main() -> int32 { @loop(10000000, 0) }
def @loop(%n: int32, %acc: int32) -> int32 { if (%n == 0) { %acc } else { @loop(%n - 1, %acc + 1) } }
RLY
expect "a loop of 10^7 steps in constant space" 10 0 "10000000" "$rvm" run "$tmp/loop.rly" --memory-limit 200000

cat >"$tmp/lstm.rly" <<'RLY'
def @build(%n: int32, %xs: List[Tensor[(1, 4), float32]]) -> List[Tensor[(1, 4), float32]] {
  if (%n == 0) { %xs } else { @build(%n - 1, Cons(full(cast(%n, dtype="float32") / 100000f, shape=[1, 4]), %xs)) }
}
def @cell(%hc: (Tensor[(1, 4), float32], Tensor[(1, 4), float32]), %x: Tensor[(1, 4), float32], %w: Tensor[(16, 8), float32])
    -> (Tensor[(1, 4), float32], Tensor[(1, 4), float32]) {
  let %g = split(nn.dense(concatenate((%x, %hc.0), axis=1), %w), indices_or_sections=4, axis=1);
  let %c = sigmoid(%g.1) * %hc.1 + sigmoid(%g.0) * tanh(%g.2);
  (sigmoid(%g.3) * tanh(%c), %c)
}
def @lstm(%xs: List[Tensor[(1, 4), float32]], %hc: (Tensor[(1, 4), float32], Tensor[(1, 4), float32]), %w: Tensor[(16, 8), float32])
    -> Tensor[(1, 4), float32] {
  match (%xs) {
    Cons(%x, %rest) => @lstm(%rest, @cell(%hc, %x, %w), %w),
    Nil => %hc.0,
  }
}
def @main() -> bool {
  let %w = full(0.1f, shape=[16, 8]);
  let %z = zeros(shape=[1, 4], dtype="float32");
  let %h = @lstm(@build(100000, Nil), (%z, %z), %w);
  all(isfinite(%h))
}
RLY
expect "an LSTM over a list of 10^5" 20 0 "True" "$rvm" run "$tmp/lstm.rly"

cat >"$tmp/deep.rly" <<'RLY'
def @main() -> int32 { @sum(1000000) }
def @sum(%n: int32) -> int32 { if (%n == 0) { 0 } else { 1 + @sum(%n - 1) } }
RLY
expect "recursion 10^6 deep" 20 0 "1000000" "$rvm" run "$tmp/deep.rly"
expect "recursion refused at a depth" 5 3 "" "$rvm" run "$tmp/deep.rly" --call-depth 1000
expect "recursion refused by memory" 5 3 "" "$rvm" run "$tmp/deep.rly" --memory-limit 100000
expect "a loop out of fuel" 5 3 "" "$rvm" run "$tmp/loop.rly" --fuel 1000

cat >"$tmp/list.rly" <<'RLY'
def @main() -> List[int32] { @build(100000, Nil) }
def @build(%n: int32, %xs: List[int32]) -> List[int32] { if (%n == 0) { %xs } else { @build(%n - 1, Cons(%n, %xs)) } }
RLY
expect "a list of 10^5 prints" 10 0 - "$rvm" run "$tmp/list.rly"

nest() { awk -v n="$1" 'BEGIN { printf "def @main() -> int32 { "; for (i = 0; i < n; i++) printf "("; printf "1"; for (i = 0; i < n; i++) printf ")"; print " }" }'; }
nest 250 >"$tmp/nest250.rly"
expect "250 parentheses" 5 0 "1" "$rvm" run "$tmp/nest250.rly"
nest 100000 >"$tmp/nest.rly"
expect "100000 parentheses are refused" 5 1 "" "$rvm" run "$tmp/nest.rly"
awk 'BEGIN { printf "def @main() -> int32 { let %%x = 1; "; for (i = 0; i < 100; i++) printf "if (%%x == %d) { ", i + 1
  printf "7"; for (i = 0; i < 100; i++) printf " } else { %d }", i; print " }" }' >"$tmp/ifs.rly"
expect "100 nested ifs" 5 0 "98" "$rvm" run "$tmp/ifs.rly"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
