#!/usr/bin/python3
"""profile.py RVM -- rvm run --profile: the calls and the work it reports are those of the program,
its trace is JSON whose events lie in order within the run.  Ends with `N passed, N failed`."""
import json
import os
import re
import tempfile

from checks import check, finish, rvm

PROGRAM = """def @step(%x: Tensor[(n, k), float32], %w: Tensor[(k, k), float32], %times: int32)
    -> Tensor[(n, k), float32] {
  if (%times == 0) { %x } else {
    @step(nn.dense(%x, %w), %w, %times - 1)
  }
}
def @main(%x: Tensor[(n, k), float32], %w: Tensor[(k, k), float32]) {
  max(@step(%x, %w, 7))
}
"""
ROW = re.compile(r"^ *([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+) +[\d.]+ +([\d.]+) +([\d.]+) +(\d+)  (\S+) +(\S+)")


def run(program, trace, engine):
    return rvm("run", program, "--input", "x=f32[64,96]=rand:1", "--input", "w=f32[96,96]=rand:2", "--engine", engine,
               "--repeat", "3", "--quiet", "--profile=" + trace)


def check_run(program, trace, engine):
    r = run(program, trace, engine)
    if engine != "interp" and "without LLVM" in r.stderr:
        return
    rows = {m.group(8): m for m in map(ROW.match, r.stderr.splitlines()) if m}
    check(engine + " table", r.returncode == 0 and "GFLOP/s" in r.stderr and "dense" in rows, r.stderr)
    if "dense" not in rows:
        return
    m = rows["dense"]
    calls, each, rate = float(m.group(3)), float(m.group(4)), float(m.group(5))
    check(engine + " calls per run", calls == 7, m.group(0))
    check(engine + " place in the source", m.group(9) == "p.rly:4", m.group(0))
    work = 2.0 * 64 * 96 * 96
    check(engine + " work", abs(rate * 1e3 * each / work - 1) < 0.05 + 0.1 / min(rate, each), m.group(0))
    with open(trace) as f:
        events = json.load(f)["traceEvents"]
    dense = [e for e in events if e["name"] == "dense"]
    check(engine + " trace", len(dense) == 7 and all(e["args"]["source"] == "p.rly:4" for e in dense), events[:3])
    ends = [e["ts"] + e["dur"] for e in events]
    check(engine + " events in order", all(end <= e["ts"] for end, e in zip(ends, events[1:])), events[:3])


LOOP = """def @main(%n: int32, %x: Tensor[(k), float32], %w: Tensor[(64, k), float32]) { max(@loop(%n, %x, %w)) }
def @loop(%n: int32, %x: Tensor[(k), float32], %w: Tensor[(64, k), float32]) -> Tensor[(64), float32] {
  let %y = reshape(nn.dense(expand_dims(%x, axis=0), %w), newshape=[64]);
  if (%n == 0) { %y } else { @loop(%n - 1, slice_like(%y, %x, axes=[0]), %w) }
}
"""


def check_long(folder):
    """More launches than fit a first guess, on the stack of compiled code."""
    program, trace = os.path.join(folder, "loop.rly"), os.path.join(folder, "loop.json")
    with open(program, "w") as f:
        f.write(LOOP)
    r = rvm("run", program, "--input", "n=300000", "--input", "x=f32[64]=ones", "--input", "w=f32[64,64]=zeros",
            "--quiet", "--profile=" + trace)
    check("a long loop", r.returncode == 0 and "dense" in r.stderr, r.stderr or r.returncode)


def main():
    text = rvm("run", "--help").stdout
    check("help", "--profile[=FILE.json]" in text, text)
    with tempfile.TemporaryDirectory() as folder:
        program, trace = os.path.join(folder, "p.rly"), os.path.join(folder, "t.json")
        with open(program, "w") as f:
            f.write(PROGRAM)
        for engine in ("interp", "vm", "native"):
            check_run(program, trace, engine)
        check_long(folder)
        r = run(program, os.path.join(folder, "none", "t.json"), "interp")
        check("a trace that cannot be written", r.returncode == 4 and "t.json" in r.stderr, r.stderr)


main()
finish()
