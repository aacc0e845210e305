#!/usr/bin/python3
"""bind.py RVM -- weights become constants of the image, and what keeps a parameter from it.
Ends with `N passed, N failed`."""
import os
import tempfile

from checks import ended, finish, np, rvm

PROGRAM = """
type Linear[W, B] { Linear(weight: W, bias: B) }
type Net {
  Net(layers: List[Linear[Tensor[(3, 3), float32], Tensor[(3), float32]]], scale: (float32, ())),
}
type Either { Left(Tensor[(3), float32]), Right(Tensor[(3), float32]) }

def @steps(%x: Tensor[(n, 3), float32],
           %ls: List[Linear[Tensor[(3, 3), float32], Tensor[(3), float32]]])
    -> Tensor[(n, 3), float32] {
  match (%ls) {
    Cons(Linear(%w, %b), %rest) => @steps(nn.dense(%x, %w) + %b, %rest),
    Nil => %x,
  }
}

def @main(%x: Tensor[(n, k), float32], %net: Net, %last: Tensor[(j, k), float32])
    -> Tensor[(n, j), float32] {
  match (%net) {
    Net(%layers, %scale) => {
      let %y: Tensor[(n, k), float32] = @steps(%x, %layers) * %scale.0;
      let %f = fn (%z: Tensor[(n, k), float32]) -> Tensor[(n, j), float32] { nn.dense(%z, %last) };
      %f(%y)
    },
  }
}

// One name, two extents: the second parameter does not fit what the first says.
def @square(%x: Tensor[(n, k), float32], %a: Tensor[(k, k), float32], %last: Tensor[(k, k), float32]) {
  nn.dense(nn.dense(%x, %a), %last)
}

// Called by itself: its parameters stay.
def @again(%last: Tensor[(j, k), float32], %n: int32) {
  if (%n == 0) { sum(%last) } else { @again(%last + 1.0, %n - 1) }
}

def @which(%e: Either) { match (%e) { Left(%a) => %a, Right(%b) => %b } }

// An extent that is computed from another parameter's.
def @odd(%b: Tensor[(k), float32], %last: Tensor[(j, 2 * k + 1), float32]) { dim(%last, 1) }
"""


def says(name, args, code, *parts):
    ended(name, rvm(*args), code, parts)


def text_of(array):
    return "[%s]" % ", ".join("[%s]" % ", ".join("%g" % v for v in row) for row in array)


def main():
    random = np.random.RandomState(0)
    w = {"net.scale.0": np.float32(2), "last": random.randint(-2, 3, (4, 3)).astype("f4"), "a": np.eye(3, dtype="f4")}
    y = np.ones((2, 3), "f4")
    for i in range(3):
        weight, bias = random.randint(-2, 3, (3, 3)).astype("f4"), random.randint(-2, 3, 3).astype("f4")
        w.update({"net.layers.%d.weight" % i: weight, "net.layers.%d.bias" % i: bias})
        y = y @ weight.T + bias
    want, other = text_of(y * 2 @ w["last"].T), text_of(y * 2 @ np.ones((3, 1), "f4"))
    with tempfile.TemporaryDirectory() as t:
        program, params, image = (os.path.join(t, name) for name in ("p.rly", "w.npz", "p.rvm"))
        with open(program, "w") as f:
            f.write(PROGRAM)
        np.savez(params, **w)
        np.savez(os.path.join(t, "e.npz"), e=np.zeros(3, "f4"))
        x = ["--input", "x=f32[2,3]=ones", "--params", params]
        for level in "012":
            says("run, level " + level, ["run", program, *x, "--opt", level], 0, want)
        says("an input goes before a weight", ["run", program, *x, "--input", "last=f32[1,3]=ones"], 0, other)
        says("inputs of no file", ["run", program, *x, "--inputs", os.path.join(t, "l.npz")], 4, "l.npz")
        np.savez(os.path.join(t, "l.npz"), last=np.ones((1, 3), "f4"))
        says("an input of a file too", ["run", program, *x, "--inputs", os.path.join(t, "l.npz")], 0, other)
        says("an extent a weight says", ["run", program, "--input", "x=f32[1,4]=ones", "--params", params], 1,
             "input %x: expected Tensor[(?, 3), float32], found Tensor[(1, 4), float32]")
        says("extents that differ", ["run", program, "--entry", "square", *x], 1, "last", "(4, 3)")
        says("a function that is called", ["run", program, "--entry", "again", "--params", params, "--input", "n=2"], 0,
             "%gf" % (w["last"].sum() + 24))
        says("which constructor", ["run", program, "--entry", "which", "--params", os.path.join(t, "e.npz")], 1,
             "expected Either, found a tensor")
        odd = ["run", program, "--entry", "odd", "--params", params, "--input"]
        says("an extent that is computed", [*odd, "b=f32[1]=ones"], 0, "3i64")
        says("an extent that is computed, wrong", [*odd, "b=f32[2]=ones"], 1, "last")
        says("build", ["build", program, "--params", params, "--out", image, "--opt", "2"], 0)
        says("info", ["info", image], 0, "@main(\n  %x: Tensor[(?, 3), float32]\n)")
        says("the image holds the weights", ["run", image, "--input", "x=f32[2,3]=ones"], 0, want)
        says("weights of two entries", ["build", program, "--entry", "main,odd", "--params", params, "--out", image], 2,
             "--params are of one --entry")
        with open(image, "rb") as f:
            good = f.read()
        with open(image, "wb") as f:
            f.write(good[:-1])
        says("what is no image", ["build", image, "--out", os.path.join(t, "copy.rvm")], 1, "byte")
        says("no such file", ["build", program, "--params", "none.npz", "--out", image], 4, "none.npz")


main()
finish()
