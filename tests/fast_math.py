#!/usr/bin/env python3
"""fast_math.py RVM -- what --fast-math costs: convolutions and products against float64.

The error of an output is measured in units of eps times the largest sum of |data| * |weight| behind an output, so it
does not depend on the numbers' size."""
import os
import subprocess
import sys
import tempfile

import numpy as np

RVM = os.path.abspath(sys.argv[1])
EPS = np.finfo(np.float32).eps
PLAIN, FAST = 4.0, {2: 4.0, 4: 32.0, "product": 8.0}  # bounds, in those units; of tiles of 2x2 and 4x4
# images, groups, channels in and out per group, height, width, padding; the tile
CASES = [(1, 1, 64, 64, 56, 56, 1, 4), (1, 1, 128, 128, 28, 28, 1, 4), (2, 1, 48, 40, 13, 21, 1, 4),
         (1, 8, 32, 32, 14, 14, 1, 4), (1, 1, 256, 256, 6, 6, 1, 2), (1, 2, 33, 47, 17, 12, 0, 4)]
PRODUCTS = [(128, 768, 768), (64, 3072, 768), (128, 768, 3072), (49, 530, 288), (600, 256, 2048)] # rows, columns, depth


def conv64(x, w, groups, pad):
    x = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    w = w.astype(np.float64)
    n, c, h, wide = x.shape
    per_in, per_out = c // groups, w.shape[0] // groups
    out = np.zeros((n, w.shape[0], h - 2, wide - 2))
    for g in range(groups):
        part, filters = x[:, g * per_in:(g + 1) * per_in], w[g * per_out:(g + 1) * per_out]
        for i in range(3):
            for j in range(3):
                window = part[:, :, i:i + h - 2, j:j + wide - 2]
                out[:, g * per_out:(g + 1) * per_out] += np.einsum("nchw,oc->nohw", window, filters[:, :, i, j])
    return out


def outputs(folder, *options):
    out = f"{folder}/y.npz"
    command = [RVM, "run", f"{folder}/m.rly", "--input", f"x=@{folder}/x.npy", "--params", f"{folder}/w.npz", "--quiet",
               "--output", out, "--engine", "native", *options]
    subprocess.run(command, check=True, env={**os.environ, "RVM_CACHE": "1", "XDG_CACHE_HOME": f"{folder}/cache"})
    with np.load(out) as f:
        return [f[name] for name in f.files]


def run(folder, *options):
    return outputs(folder, *options)[0]


def convolution(case):
    """Data, weight, what to do with %x and %w, the exact result, its size, what kind it is."""
    images, groups, c, k, h, w, pad, tile = case
    rng = np.random.default_rng(7)
    x = rng.standard_normal((images, groups * c, h, w)).astype(np.float32)
    weight = rng.standard_normal((groups * k, c, 3, 3)).astype(np.float32)
    call = f"nn.conv2d(%x, %w, padding=[{pad}, {pad}], groups={groups})"
    return x, weight, call, conv64(x, weight, groups, pad), conv64(abs(x), abs(weight), groups, pad).max(), tile


def product(case):
    rows, columns, depth = case
    rng = np.random.default_rng(7)
    x = rng.standard_normal((rows, depth)).astype(np.float32)
    weight = rng.standard_normal((columns, depth)).astype(np.float32)
    want, size = (a(x).astype(np.float64) @ a(weight).astype(np.float64).T for a in (np.positive, abs))
    return x, weight, "nn.dense(%x, %w)", want, size.max(), "product"


def check(kind, case, folder):
    x, weight, call, want, size, bound = kind(case)
    np.save(f"{folder}/x.npy", x)
    np.savez(f"{folder}/w.npz", w=weight)
    shape = ", ".join(["?" if kind is product else str(x.shape[0]), *map(str, x.shape[1:])])
    with open(f"{folder}/m.rly", "w") as f:
        f.write(f"def @main(%x: Tensor[({shape}), float32], %w: Tensor[{weight.shape}, float32]) {{\n  nn.relu({call})\n}}\n")
    want = np.maximum(want, 0)
    fast, plain, again = run(folder, "--fast-math"), run(folder), run(folder, "--fast-math")
    shared = run(folder, "--fast-math", "--threads", "2", "--repeat", "3")
    error = [float(abs(y - want).max() / (EPS * size)) for y in (plain, fast)]
    root = [float(np.sqrt(np.square(y - want).mean()) / (EPS * size)) for y in (plain, fast)]
    said = f"{case}: {error[0]:.3f} plain, {error[1]:.3f} fast; root mean squares {root[0]:.4f}, {root[1]:.4f}"
    if error[0] > PLAIN or error[1] > FAST[bound]:
        return f"{said}: more than {PLAIN} and {FAST[bound]}"
    if np.array_equal(fast, plain):
        return f"{said}: no other way was taken"
    if not np.array_equal(fast, again):
        return f"{said}: from the cache it is another result"
    if not np.array_equal(fast, shared):
        return f"{said}: on two threads it is another result"
    print(said)
    return None


def shared_weight(kind):
    """A weight, and two uses of it of which the kernels transform it differently: data, call, exact result, size."""
    rng = np.random.default_rng(7)
    data = [rng.standard_normal(s).astype(np.float32) for s in
            ([(64, 512)] * 2 if kind is product else [(1, 64, 56, 56), (1, 64, 6, 6)])]
    w = rng.standard_normal((512, 512) if kind is product else (64, 64, 3, 3)).astype(np.float32)
    calls = ["nn.dense", "nn.matmul"] if kind is product else ["nn.conv2d"] * 2
    def exact(i, change):
        x, by = change(data[i]), change(w)
        return conv64(x, by, 1, 1) if kind is convolution else x.astype(np.float64) @ (by.T, by)[i].astype(np.float64)
    return w, [(data[i], calls[i], exact(i, np.positive), exact(i, np.abs).max()) for i in range(2)]


def check_shared(kind, first, folder):
    """Either use first: what it keeps of the weight is not the other's."""
    w, use = shared_weight(kind)
    use = (use[first], use[1 - first])
    np.savez(f"{folder}/w.npz", w=w)
    for name, (data, *_) in zip("xz", use):
        np.save(f"{folder}/{name}.npy", data)
    types = ", ".join(f"%{name}: Tensor[{a.shape}, float32]" for name, a in (("x", use[0][0]), ("z", use[1][0]), ("w", w)))
    pad = ", padding=[1, 1]" if kind is convolution else ""
    calls = ", ".join(f"{call}(%{name}, %w{pad})" for name, (_, call, *_) in zip("xz", use))
    with open(f"{folder}/m.rly", "w") as f:
        f.write(f"def @main({types}) {{\n  ({calls})\n}}\n")
    got = outputs(folder, "--fast-math", "--input", f"z=@{folder}/z.npy")
    error = [float(abs(y - want).max() / (EPS * size)) for y, (_, _, want, size) in zip(got, use)]
    said = f"one weight for two {kind.__name__}s: {error[0]:.3f} and {error[1]:.3f}"
    print(said)
    return None if all(e <= max(FAST.values()) for e in error) else said


def main():
    if not os.path.exists(os.path.join(os.path.dirname(RVM), "rvm_native.so")):
        print("no LLVM")
        sys.exit(77)
    failed = 0
    cases = [(check, convolution, case) for case in CASES] + [(check, product, case) for case in PRODUCTS]
    cases += [(check_shared, kind, first) for kind in (convolution, product) for first in range(2)]
    for test, kind, case in cases:
        with tempfile.TemporaryDirectory() as folder:
            why = test(kind, case, folder)
        if why:
            failed += 1
            print(f"FAILED {why}")
    print(f"{len(cases) - failed} passed, {failed} failed")
    sys.exit(failed > 0)


main()
