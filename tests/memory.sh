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
exit $failed
