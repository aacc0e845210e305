#!/usr/bin/env python3
"""threads.py RVM -- large kernels on 1, 2, 3 and 5 threads give the same bits, on compiled engines:
maps, reductions over every axis, products, windows, convolutions, failing checks."""
import hashlib
import os
import subprocess
import sys
import tempfile

import numpy as np

rvm = sys.argv[1]
F = "Tensor[(%s), float32]"
programs = {
    "map": ("%x: " + F % "700, 900", "tanh(%x)", {"x": "f32[700,900]=rand:1"}),
    "softmax": ("%x: " + F % "700, 900", "nn.softmax(%x, axis=1)", {"x": "f32[700,900]=rand:1"}),
    "sum_first": ("%x: " + F % "900, 711", "sum(%x, axis=[0])", {"x": "f32[900,711]=rand:2"}),
    "sum_last": ("%x: " + F % "711, 900", "sum(%x, axis=[1])", {"x": "f32[711,900]=rand:2"}),
    "dense": ("%x: " + F % "33, 400" + ", %w: " + F % "333, 400", "nn.dense(%x, %w)",
              {"x": "f32[33,400]=rand:3", "w": "f32[333,400]=rand:4"}),
    "row": ("%x: " + F % "1, 900" + ", %w: " + F % "1000, 900", "nn.dense(%x, %w)",
            {"x": "f32[1,900]=rand:3", "w": "f32[1000,900]=rand:4"}),
    "batch": ("%x: " + F % "5, 60, 70" + ", %w: " + F % "5, 70, 80", "nn.batch_matmul(%x, %w)",
              {"x": "f32[5,60,70]=rand:3", "w": "f32[5,70,80]=rand:4"}),
    "conv": ("%x: " + F % "1, 16, 40, 40" + ", %w: " + F % "24, 16, 3, 3",
             "nn.relu(nn.conv2d(%x, %w, padding=[1, 1]))",
             {"x": "f32[1,16,40,40]=rand:5", "w": "f32[24,16,3,3]=rand:6"}),
    "depthwise": ("%x: " + F % "1, 32, 60, 60" + ", %w: " + F % "32, 1, 3, 3",
                  "nn.conv2d(%x, %w, padding=[1, 1], groups=32)",
                  {"x": "f32[1,32,60,60]=rand:5", "w": "f32[32,1,3,3]=rand:6"}),
    "dynamic": ("%x: Tensor[(n, m), float32]", "nn.softmax(multiply(%x, %x), axis=0)",
                {"x": "f32[701,901]=rand:7"}),
}
# A weight that is a constant of the program takes other ways.
CONSTANT = {"planes": ("%x: " + F % "1, 16, 40, 40" + ", %w: " + F % "24, 16, 3, 3",
                       "nn.relu(nn.conv2d(%x, %w, padding=[1, 1], strides=[2, 1]))",
                       {"x": "f32[1,16,40,40]=rand:5"}, (24, 16, 3, 3)),
            "packed": ("%x: " + F % "1, 900" + ", %w: " + F % "1000, 900", "tanh(nn.dense(%x, %w))",
                       {"x": "f32[1,900]=rand:3"}, (1000, 900))}
failed = 0


def run(path, inputs, engine, threads, out, params):
    command = [rvm, "run", path, "--engine", engine, "--threads", str(threads), "--quiet", "--output", out,
               "--repeat", "3", "--no-cache"] + params
    for name, spec in inputs.items():
        command += ["--input", f"{name}={spec}"]
    got = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if got.returncode:
        if "without LLVM" in got.stderr:
            sys.exit(77)
        return got.stderr.strip()[:200]
    with open(out, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


with tempfile.TemporaryDirectory() as tmp:
    for name, (params, body, inputs, shape) in CONSTANT.items():
        n = int(np.prod(shape))
        np.savez(os.path.join(tmp, name + ".npz"), w=(np.arange(n) % 97 / 64 - 0.7).astype("f4").reshape(shape))
        programs[name] = (params, body, inputs)
    for name, (params, body, inputs) in programs.items():
        given = ["--params", os.path.join(tmp, name + ".npz")] if name in CONSTANT else []
        path = os.path.join(tmp, name + ".rly")
        with open(path, "w") as f:
            f.write(f'#[version = "0.0.5"]\ndef @main({params}) {{ {body} }}\n')
        for engine in ("vm", "native"):
            got = {t: run(path, inputs, engine, t, os.path.join(tmp, "out.npz"), given) for t in (1, 2, 3, 5)}
            if len(set(got.values())) != 1 or len(got[1]) != 64:
                failed += 1
                print(f"FAILED: {name}, {engine}: {got}")
print(f"{2 * len(programs) - failed} passed, {failed} failed")
sys.exit(failed != 0)
