#!/bin/sh
# memory.sh RVM -- what rvm run --memory says about a program whose tensors can be
# counted: x -> a -> b -> c of 4000 bytes each (4032 in steps of 64), two live at a time.
set -u
rvm=$1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cat >"$tmp/p.rly" <<'P'
def @main(%x: Tensor[(1000), float32]) {
  let %a = cumsum(%x);
  let %b = reverse(%a, axis=0);
  cumsum(%b)
}
P
"$rvm" run "$tmp/p.rly" --input x=ones --quiet --repeat 3 "--memory=$tmp/p.svg" \
  >"$tmp/out" 2>"$tmp/err" || { cat "$tmp/err"; exit 1; }
failed=0
for want in 'memory: 3 tensors in the first run, 12.10 kB one beside the other' \
  'live at once   8064 bytes' 'planned        8064 bytes' 'in the first run, 0 in the last of 3' \
  '4032 bytes   float32\[1000\]'; do
  grep -q "$want" "$tmp/err" || { echo "FAILED: no \`$want' in"; cat "$tmp/err"; failed=1; }
done
rects=$(grep -c '<rect' "$tmp/p.svg")
[ "$rects" -eq 3 ] || { echo "FAILED: $rects rectangles instead of 3"; failed=1; }
# A net of convolutions: what is really held, scratch, cells and stack of compiled code
# included, is at most 1.08 of the plan, in the first run and in later ones.
cat >"$tmp/net.rly" <<'P'
def @layer(%x: Tensor[(1, 16, 32, 32), float32], %w: Tensor[(16, 16, 3, 3), float32]) {
  nn.relu(nn.conv2d(%x, %w, padding=[1, 1], channels=16, kernel_size=[3, 3]))
}
def @main(%x: Tensor[(1, 16, 32, 32), float32], %w: Tensor[(16, 16, 3, 3), float32]) {
  let %a = @layer(%x, %w);
  let %b = @layer(@layer(%a, %w), %w);
  nn.global_avg_pool2d(@layer(add(%a, %b), %w))
}
P
for engine in interp auto; do
  for n in 1 3; do
    ratio=$("$rvm" run "$tmp/net.rly" --input x=rand:1 --input w=rand:2 --quiet --repeat $n \
      --engine $engine --memory 2>&1 | sed -n 's/.*included: \([0-9.]*\) times the plan/\1/p')
    case $ratio in
    1.0[0-8] | 0.9?) ;;
    *) echo "FAILED: the peak of the net is \`$ratio' of its plan, $n runs of $engine"; failed=1 ;;
    esac
  done
done
# A run that makes more tensors than are kept one by one, 30 states of which three live.
cat >"$tmp/loop.rly" <<'P'
def @main(%n: int32, %x: Tensor[(a, b), float32]) -> Tensor[(a, b), float32] { @steps(%n, %x) }
def @steps(%n: int32, %x: Tensor[(a, b), float32]) -> Tensor[(a, b), float32] {
  if (%n == 0) { %x } else { @steps(%n - 1, cumsum(%x * 0.5f, axis=0)) }
}
P
for engine in interp auto; do
  "$rvm" run "$tmp/loop.rly" --input n=30000 --input 'x=f32[20,30]=rand:1' --quiet --stats --engine $engine \
    --memory 2>"$tmp/err" || { echo "FAILED: a long loop, $engine"; cat "$tmp/err"; failed=1; }
  grep -q "30001 tensors in the first run" "$tmp/err" && grep -q " 30001 allocations" "$tmp/err" &&
    grep -q 'live at once   [0-9.]* *\(bytes\|kB\) ' "$tmp/err" &&
    grep -q '2432 bytes   float32.20, 30.' "$tmp/err" ||
    { echo "FAILED: what a long loop holds, $engine"; cat "$tmp/err"; failed=1; }
done
exit $failed
