#!/usr/bin/python3
"""bench.py RVM -- rvm bench: its figures are in order, contenders take turns, failures are told.
Ends with `N passed, N failed`."""
import json
import os
import tempfile

from checks import check, finish, rvm

PROGRAM = """def @main(%xs: List[Tensor[(2, 3), float32]], %n: int32) -> float32 {
  match (%xs) { Cons(%x, %rest) => sum(%x) + @main(%rest, %n + 0 * (1 / %n)), Nil => 0f }
}
"""


def bench(*args):
    return rvm("bench", *args, "--seconds", "0.1")


def main():
    with tempfile.TemporaryDirectory() as folder:
        program, figures, log = (os.path.join(folder, name) for name in ("p.rly", "f.json", "log"))
        with open(program, "w") as f:
            f.write(PROGRAM)
        inputs = [program, "--input", "xs=f32[5,2,3]=rand:1", "--input", "n=7", "--engine", "interp"]
        r = bench(*inputs, "--us")
        last = r.stdout.strip().splitlines()[-1].split() if r.stdout else []
        check("--us", r.returncode == 0 and len(last) == 2 and 0 < float(last[0]) <= float(last[1]), r.stdout + r.stderr)
        command = "echo start; echo x >> %s; echo 7 9" % log
        r = bench(*inputs, "--rounds", "3", "--json", figures, "--vs", "opt=2", "--vs", command)
        check("--vs", r.returncode == 0 and "opt=2 (interp)" in r.stdout, r.stdout + r.stderr)
        with open(figures) as f:
            rows = json.load(f)
        order = [(0 < x["best_us"] <= x["median_us"] <= x["p90_us"] <= x["p99_us"]) for x in rows]
        check("json", len(rows) == 3 and all(order), rows)
        with open(log) as f:
            check("turns", f.read() == "x\n" * 3)
        other = rows[2]
        check("a command", other["best_us"] == 7 and other["median_us"] == 9 and other["samples"] == 3, other)
        check("ratio", abs(other["ratio"] * 7 / rows[0]["best_us"] - 1) < 1e-4, rows)
        for name, code, says, args in (
                ("a command that fails", 3, "status 3", [*inputs, "--vs", "exit 3"]),
                ("a command that says nothing", 4, "no time", [*inputs, "--vs", "echo hello"]),
                ("no input", 1, "needs inputs", [program]),
                ("no file", 4, "cannot read", [program + "x"]),
                ("an engine that is none", 2, "--engine", [*inputs, "--vs", "engine=fast"]),
                ("threads that are none", 2, "--threads", [*inputs, "--threads", "2", "--vs", "threads=many"]),
                ("a program that fails", 1, "zero", [program, "--input", "xs=f32[2,2,3]=ones", "--input", "n=0"]),
                ("no seconds", 2, "--seconds", [*inputs, "--seconds=0"])):
            r = rvm("bench", *args) if name == "no seconds" else bench(*args)
            check(name, r.returncode == code and says in r.stderr, "%d %s" % (r.returncode, r.stderr))


main()
finish()
