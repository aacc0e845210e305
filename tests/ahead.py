#!/usr/bin/env python3
"""ahead.py RVM -- products that wait while a recurrence reads its weights (codegen/native/ahead.h): whole programs
compiled give the bits of compiled kernels, which wait for nothing, for lists of many lengths, also when they are
stopped between steps, on two threads, or fail."""
import os
import subprocess
import sys
import tempfile

import numpy as np

rvm = sys.argv[1]
PROGRAM = """
def @walk(%xs: List[Tensor[(1, DEPTH), float32]], %s: Tensor[(1, 512), float32], %w: Tensor[(COLUMNS, DEPTH), float32],
          %u: Tensor[(COLUMNS, 512), float32], %all: List[Tensor[(1, 512), float32]]) -> List[Tensor[(1, 512), float32]] {
  match (%xs) {
    Cons(%x, %rest) => {
      let %gates = nn.dense(%x, %w) + nn.dense(%s, %u);
      let %h = tanh(strided_slice(%gates, begin=[0, LAST], end=[1, COLUMNS]));
      let %new = tanh(strided_slice(%gates, begin=[0, 0], end=[1, 512])) + %h * 0.5f;
      @walk(%rest, %new, %w, %u, Cons(%new, %all))
    },
    Nil => %all,
  }
}
def @main(%xs: List[Tensor[(1, DEPTH), float32]], %s: Tensor[(1, 512), float32], %w: Tensor[(COLUMNS, DEPTH), float32],
          %u: Tensor[(COLUMNS, 512), float32]) { @walk(%xs, %s, %w, %u, Nil) }
/// A failure in step n, with a product waiting.
def @fails(%xs: List[Tensor[(1, DEPTH), float32]], %s: Tensor[(1, 512), float32], %w: Tensor[(COLUMNS, DEPTH), float32],
           %u: Tensor[(COLUMNS, 512), float32], %n: int32) -> Tensor[(1, 512), float32] {
  match (%xs) {
    Cons(%x, %rest) => {
      let %gates = nn.dense(%x, %w) + nn.dense(%s, %u);
      let %one = 1 / %n;
      let %new = tanh(strided_slice(%gates, begin=[0, 0], end=[1, 512])) + cast(%one, dtype="float32");
      @fails(%rest, %new, %w, %u, %n - 1)
    },
    Nil => %s,
  }
}
"""
failed = 0


def check(ok, what):
    global failed
    if not ok:
        failed += 1
        print("FAILED", what)


def run(*args):
    got = subprocess.run([rvm, "run", *args], capture_output=True, text=True, timeout=300,
                         env=dict(os.environ, XDG_CACHE_HOME=tmp))
    if "without LLVM" in got.stderr:
        sys.exit(77)
    return got


def result(path):
    with np.load(path) as file:
        return {name: file[name].tobytes() for name in file.files}


with tempfile.TemporaryDirectory() as tmp:
    for depth, columns in ((96, 1536), (171, 1040)):
        text = PROGRAM.replace("DEPTH", str(depth)).replace("COLUMNS", str(columns)).replace("LAST", str(columns - 512))
        with open(f"{tmp}/p.rly", "w") as file:
            file.write(text)
        random = np.random.default_rng(depth)
        np.savez(f"{tmp}/w.npz", w=random.standard_normal((columns, depth), dtype="f4") / 8,
                 u=random.standard_normal((columns, 512), dtype="f4") / 16)
        common = [f"{tmp}/p.rly", f"--params={tmp}/w.npz", "--quiet", "--repeat=2", "--input=s=f32[1,512]=rand:3"]
        for n in (0, 3, 4, 7, 8, 9, 15, 16, 23, 24, 31, 32, 33, 40, 45, 61) if depth == 96 else (24, 43):
            xs = [f"--input=xs=f32[{n},1,{depth}]=rand:{n + 1}"] if n else ["--input=xs=Nil"]
            got = []
            for more in (["--engine=vm"], ["--engine=native", "--threads=1"], ["--engine=native", "--threads=2"]):
                done = run(*common, *xs, f"--output={tmp}/y.npz", *more)
                check(done.returncode == 0, f"{n} of {depth}, {more}: {done.stderr}")
                got.append(result(f"{tmp}/y.npz") if done.returncode == 0 else None)
            check(got[0] == got[1] == got[2], f"{n} of {depth}: results differ")
    words = [f"{tmp}/p.rly", f"--params={tmp}/w.npz", "--quiet", "--input=s=f32[1,512]=rand:3", "--entry=fails",
             "--input=xs=f32[40,1,171]=rand:1", "--engine=native", "--threads=1", "--repeat=2"]
    for n, code in ((13, 1), (41, 0)):
        done = run(*words, f"--input=n={n}")
        check(done.returncode == code and (code == 0 or "division by zero" in done.stderr), f"fails: {done.stderr}")
print(f"{failed} failed")
sys.exit(failed != 0)
