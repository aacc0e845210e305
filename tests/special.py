#!/usr/bin/env python3
"""special.py RVM -- kernels made for the extents they run with give the same bits as those for all extents, on
compiled engines; and a run that is long enough makes them by itself, keeps them, and ends quickly."""
import os
import re
import subprocess
import sys
import tempfile

import numpy as np

rvm = sys.argv[1]


def conv(channels, out, kernel, attributes="", groups=1, dtype="float32"):
    """A convolution of any image, by a constant weight."""
    shape = (out, channels // groups, *kernel)
    text = (f"%x: Tensor[(n, {channels}, h, w), {dtype}], %w: Tensor[{shape}, {dtype}]",
            f"nn.relu(nn.conv2d(%x, %w, groups={groups}{attributes}))")
    return text, shape


# name: (parameters, body), shape of %w (a constant, or None: an input), specs of %x
CASES = {
    "3x3": (*conv(16, 24, (3, 3), ", padding=[1, 1]"), ["1,16,14,14", "2,16,9,31", "1,16,7,6"]),
    "stride": (*conv(16, 32, (3, 3), ", padding=[1, 1], strides=[2, 2]"), ["1,16,28,28", "1,16,27,15"]),
    "dilated": (*conv(16, 16, (3, 3), ", padding=[2, 2], dilation=[2, 2]"), ["1,16,20,20"]),
    "7x7": (*conv(3, 64, (7, 7), ", padding=[3, 3], strides=[2, 2]"), ["1,3,64,64"]),
    "1x1": (*conv(64, 48, (1, 1)), ["1,64,14,14", "1,64,3,1"]),
    "grouped": (*conv(64, 64, (3, 3), ", padding=[1, 1]", 8), ["1,64,14,14"]),
    "depthwise": (*conv(32, 32, (3, 3), ", padding=[1, 1]", 32), ["1,32,24,24", "1,32,5,5"]),
    "depthwise_5x5": (*conv(32, 32, (5, 5), ", padding=[2, 2], strides=[2, 2]", 32), ["1,32,24,24"]),
    "few_out": (*conv(8, 2, (1, 5), ", padding=[0, 2]"), ["1,8,12,40"]),
    "int": (*conv(16, 24, (3, 3), ", padding=[1, 1]", dtype="int32"), ["1,16,14,14"]),
    "dense": (("%x: Tensor[(m, 300), float32], %w: Tensor[(200, 300), float32]", "tanh(nn.dense(%x, %w))"),
              (200, 300), [f"{m},300" for m in (1, 2, 3, 5, 7, 14, 15, 16, 29, 40)]),
    "columns": (("%x: Tensor[(8, k), float32], %w: Tensor[(16, k), float32]", "nn.dense(%x, %w)"), None,
                ["8,9", "8,64", "8,9000"]),
    "attention": (("%x: Tensor[(b, n, d), float32], %w: Tensor[(b, n, d), float32]",
                   "nn.batch_matmul(%x, %w, transpose_b=True)"), None, ["3,20,24", "1,2,70", "2,1,5"]),
    "map": (("%x: Tensor[(n, m), float32], %w: Tensor[(n, m), float32]", "exp(subtract(%x, %w))"), None, ["31,77"]),
    "pool": (("%x: Tensor[(n, c, h, w), float32], %w: Tensor[(1), float32]",
              "nn.max_pool2d(%x, pool_size=[3, 3], strides=[2, 2], padding=[1, 1])"), None, ["1,4,19,23"]),
}
failed = made = 0


def command(path, x, engine, tmp, *more):
    return [rvm, "run", path, "--engine", engine, "--threads", "2", "--quiet", "--stats", "--input", x, *more]


def outputs(path, x, engine, tmp, how, more):
    """The bytes of the result, and how many versions there were: none that an earlier run kept, but code for all
    extents is compiled once."""
    out = os.path.join(tmp, "out.npz")
    cache = ["--no-cache"] if how == "now" else []
    got = subprocess.run(command(path, x, engine, tmp, *cache, "--output", out, "--repeat", "2", "--specialise",
                                 how, *more), capture_output=True, text=True, timeout=300)
    if got.returncode:
        if "without LLVM" in got.stderr:
            sys.exit(77)
        return got.stderr.strip()[:300], 0
    with np.load(out) as z:
        result = b"".join(z[k].tobytes() for k in sorted(z.files))
    versions = re.search(r"(\d+) versions? of kernels", got.stderr)
    return result, int(versions.group(1)) if versions else 0


def write(tmp, name, text):
    path = os.path.join(tmp, name + ".rly")
    with open(path, "w") as f:
        f.write(f'#[version = "0.0.5"]\ndef @main({text[0]}) {{ {text[1]} }}\n')
    return path


def compare(tmp, name, text, shape, specs):
    global failed, made
    path = write(tmp, name, text)
    dtype = "int32" if "int32" in text[0] else "float32"
    letter = {"int32": "i32", "float32": "f32"}[dtype]
    params = []
    if shape:
        random = np.random.RandomState(1).randn(*shape) * 8
        np.savez(os.path.join(tmp, name + ".npz"), w=random.astype(dtype))
        params = ["--params", os.path.join(tmp, name + ".npz")]
    for spec in specs:
        more = params or ["--input", f"w={letter}[{'1' if name == 'pool' else spec.replace('8,', '16,', 1) if name == 'columns' else spec}]=rand:2"]
        for engine in ("vm", "native"):
            x = f"x={letter}[{spec}]=rand:1"
            want, none = outputs(path, x, engine, tmp, "off", more)
            got, versions = outputs(path, x, engine, tmp, "now", more)
            made += versions
            if want != got or none or isinstance(got, str):
                failed += 1
                said = [x for x in (want, got) if isinstance(x, str)] or ["other bits" if want != got else "versions though off"]
                print(f"FAILED: {name}, {spec}, {engine}: {'; '.join(said)}, {versions} versions")


def by_itself(tmp):
    """Recurring extents: made in the background, kept in the cache, found there."""
    global failed
    (text, shape) = conv(64, 64, (3, 3), ", padding=[1, 1]")
    path = write(tmp, "long", text)
    np.savez(os.path.join(tmp, "long.npz"), w=np.ones(shape, "f4"))

    def as_low():
        """As the thread that makes versions, which would wait for the run on a busy machine."""
        os.setpriority(os.PRIO_PROCESS, 0, max(10, os.getpriority(os.PRIO_PROCESS, 0)))

    def made_with(repeat):
        got = subprocess.run(command(path, "x=f32[1,64,56,56]=rand:1", "native", tmp, "--params", os.path.join(tmp, "long.npz"),
                                     "--repeat", str(repeat)), capture_output=True, text=True, timeout=600, preexec_fn=as_low)
        return got.returncode == 0 and "1 version of" in got.stderr

    seen = [made_with(1), any(made_with(repeat) for repeat in (400, 2000, 6000)), made_with(1)]
    if seen != [False, True, True]:
        failed += 1
        print(f"FAILED: versions in a short run, a long one, and a short one from the cache: {seen}")


with tempfile.TemporaryDirectory() as tmp:
    os.environ["XDG_CACHE_HOME"] = os.path.join(tmp, "cache")
    for name, case in CASES.items():
        compare(tmp, name, *case)
    by_itself(tmp)
if made < 20:
    failed += 1
    print(f"FAILED: only {made} versions were made")
print(f"{made} versions compared, {failed} failed")
sys.exit(failed != 0)
