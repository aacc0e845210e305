#!/usr/bin/python3
"""run_peers.py RVM SOURCE_DIR WORK_DIR -- examples/models/*.rly against independent results.

LSTM, Tree-LSTM, BERT, DS-CNN and GRU: inputs and outputs that PyTorch made, in
$RVM_SHARED/peers/refs (or ../shared/peers beside the source), if they are there.  The nets of torchvision, where torch is installed, against torch.
The others against numpy, below.  WORK_DIR keeps weights and torch's results for the
next time.  Ends with `N passed, N failed, N skipped`."""
import os
import subprocess
import sys
import tempfile

import numpy as np

RVM, SOURCE, WORK = (os.path.abspath(path) for path in sys.argv[1:4])
SHARED = os.environ.get("RVM_SHARED") or os.path.join(SOURCE, "..", "shared")
PEERS = os.path.join(SHARED, "peers")
MODELS = os.path.join(SOURCE, "examples", "models")
TREES = 8                                       # of 32: each is a long argument
done = {"passed": 0, "failed": 0, "skipped": 0}


def say(result, name, detail=""):
    done[result] += 1
    print("%-8s%s  %s" % (result, name, detail), flush=True)


def compare(name, got, want, bound):
    """Lists of arrays; got may be flat where want has leading axes of 1."""
    if got is None:
        return
    if len(got) != len(want) or any(g.size != w.size for g, w in zip(got, want)):
        shapes = [[x.shape for x in side] for side in (got, want)]
        return say("failed", name, "found shapes %s, expected %s" % tuple(shapes))
    worst = max(float(np.abs(g.ravel() - w.ravel()).max()) for g, w in zip(got, want) if w.size)
    say("passed" if worst <= bound else "failed", name, "max error %.1e (bound %.0e)" % (worst, bound))


# ---- running ------------------------------------------------------------------------

def engines():
    """Those of this build: without LLVM there is only the interpreter."""
    probe = [RVM, "run", os.path.join(MODELS, "chain.rly"), "--quiet", "--input", "x=ones", "--input", "y=ones",
             "--input", "n=1", "--engine"]
    return [e for e in ("interp", "vm") if subprocess.run(probe + [e], capture_output=True).returncode == 0]


def weights(model):
    path = os.path.join(WORK, model + ".safetensors")
    script = os.path.join(MODELS, "weights.py")
    if not os.path.exists(path) or os.path.getmtime(path) < os.path.getmtime(script):
        part = path + ".part"
        subprocess.run([sys.executable, script, model, part], check=True)
        os.replace(part, path)
    return path


def arrays(model):
    """A model's weights as weights.py has them: the file is read back, not made again."""
    import json
    with open(weights(model), "rb") as f:
        data = f.read()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    return {name: np.frombuffer(data, "<f4", int(np.prod(x["shape"])), start + x["data_offsets"][0]).reshape(x["shape"])
            for name, x in header.items()}


def run(program, model, inputs, *options):
    """The leaves of the result, or None after saying why; inputs: arrays or specs."""
    with tempfile.TemporaryDirectory() as folder:
        out, args = os.path.join(folder, "out.npz"), []
        for name, value in inputs.items():
            if isinstance(value, np.ndarray):
                path = os.path.join(folder, name + ".npy")
                np.save(path, value)
                value = "@" + path
            args += ["--input", "%s=%s" % (name, value)]
        if model:
            args += ["--params", weights(model)]
        r = subprocess.run([RVM, "run", os.path.join(MODELS, program + ".rly"), "--quiet", "--output", out, *args, *options],
                           capture_output=True, text=True)
        if r.returncode != 0:
            return say("failed", "%s %s" % (program, " ".join(options)), r.stderr.strip()[-500:])
        with np.load(out) as z:
            return [z[name] for name in z.files]


def refs(name):
    return np.load(os.path.join(PEERS, "refs", name + ".npz"))


# ---- against PyTorch's results --------------------------------------------------------

def check_lstm(engine):
    for layers, entry, lengths in ((1, "main", (8, 64)), (2, "two", (32,))):
        r = refs("lstm%d" % layers)
        for n in lengths:
            got = run("lstm", "lstm%d" % layers, {"xs": r["x_%d" % n]}, "--entry", entry, "--engine", engine)
            state = [part for i in range(layers) for part in (r["h_%d" % n][i], r["c_%d" % n][i])]
            compare("lstm %s %d %s" % (entry, n, engine), got, [*r["y_%d" % n], *state], 1e-5)


def tree_text(left, right, leaf):
    """A tree in post-order as a value of the language."""
    stack = []
    for l, r in zip(left, right):
        if l < 0:
            stack.append("Leaf(@%s)" % leaf(-l - 1))
        else:
            second = stack.pop()
            stack.append("Node(%s, %s)" % (stack.pop(), second))
    return stack[0]


def check_tree(engine):
    r = refs("treelstm")
    with tempfile.TemporaryDirectory() as folder:
        texts = []
        for k in range(TREES):
            def leaf(i):
                path = os.path.join(folder, "%d_%d.npy" % (k, i))
                np.save(path, r["x_%d" % k][i:i + 1])
                return path
            texts.append(tree_text(r["left_%d" % k], r["right_%d" % k], leaf))
        got = run("tree_lstm", "tree", {"tree": texts[0]}, "--engine", engine)
        compare("tree_lstm %s" % engine, got, [r["h_0"], r["c_0"]], 1e-5)
        forest = "".join("Cons(%s, " % t for t in texts) + "Nil" + ")" * len(texts)
        got = run("tree_lstm", "tree", {"trees": forest}, "--entry", "forest", "--engine", engine)
        compare("tree_lstm forest %s" % engine, got, [r["%s_%d" % (s, k)] for k in range(TREES) for s in "hc"], 1e-5)


def check_bert(engine):
    r = refs("bert")
    for n in (16,) if engine == "interp" else (16, 128):
        got = run("bert", "bert", {"x": r["x_%d" % n]}, "--engine", engine)
        compare("bert %d %s" % (n, engine), got, [r["y_%d" % n]], 5e-5)


def check_dscnn(engine):
    r = refs("dscnn")
    compare("dscnn %s" % engine, run("dscnn", "dscnn", {"x": r["x"]}, "--engine", engine), [r["y"]], 1e-6)


def check_gru(engine):
    r = refs("gru_kws")
    got = run("gru", "gru", {"xs": r["x"].reshape(50, 1, 40), "h": "zeros"}, "--entry", "all", "--engine", engine)
    compare("gru all %s" % engine, got, [*r["y"], r["h"]], 1e-5)
    got = run("gru", "gru", {"x": r["x"][0].reshape(1, 40), "h": "zeros"}, "--engine", engine)
    compare("gru %s" % engine, got and got[:1], [r["y"][0]], 1e-5)


def image():
    return np.random.RandomState(0).rand(1, 3, 224, 224).astype(np.float32)


def torch_result(name):
    """What torch makes of the image with the same weights: computed once."""
    path = os.path.join(WORK, name + "_torch.npy")
    if not os.path.exists(path) or os.path.getmtime(path) < os.path.getmtime(weights(name)):
        import torch
        import torchvision.models
        net = getattr(torchvision.models, name)().eval()
        state = {key: torch.from_numpy(value.copy()) for key, value in arrays(name).items()}
        net.load_state_dict(state, strict=False)
        with torch.no_grad():
            np.save(path, net(torch.from_numpy(image())).numpy())
    return np.load(path)


def check_cnns(engine):
    for name in ("resnet18", "mobilenet_v2", "resnet50"):
        try:
            want = torch_result(name)
        except (ImportError, subprocess.CalledProcessError):
            say("skipped", name, "torchvision is not there")
            continue
        got = run(name, name, {"x": image()}, "--engine", engine)
        compare("%s %s" % (name, engine), got, [want], 1e-4 * float(np.abs(want).max()))


# ---- against numpy --------------------------------------------------------------------

def conv(x, w, padding=1, stride=1, groups=1):
    x = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (padding,) * 2, (padding,) * 2))
    k = w.shape[2]
    windows = np.lib.stride_tricks.sliding_window_view(x, (k, k), axis=(2, 3))[:, :, ::stride, ::stride]
    n, c, h, wd = windows.shape[:4]
    windows = windows.reshape(n, groups, c // groups, h, wd, k, k)
    w = w.astype(np.float64).reshape(groups, -1, *w.shape[1:])
    return np.einsum("ngchwij,gocij->ngohw", windows, w, optimize=True).reshape(n, -1, h, wd)


def norm(x, mean, var, gamma, beta):
    column = [v.astype(np.float64)[None, :, None, None] for v in (mean, var, gamma, beta)]
    return (x - column[0]) / np.sqrt(column[1] + 1e-5) * column[2] + column[3]


def relu(x):
    return np.maximum(x, 0)


def noise(seed, *shape):
    return (np.random.RandomState(seed).rand(*shape) * 2 - 1).astype(np.float32)


def check_resnext(engine):
    w, x = arrays("resnext_block"), noise(1, 1, 256, 9, 7)

    def part(y, i, **more):
        stats = [w["bn%d.%s" % (i, s)] for s in ("running_mean", "running_var", "weight", "bias")]
        return norm(conv(y, w["conv%d.weight" % i], **more), *stats)
    y = relu(part(x, 1, padding=0))
    y = relu(part(y, 2, groups=32))
    want = relu(part(y, 3, padding=0) + x)
    compare("resnext_block %s" % engine, run("resnext_block", "resnext_block", {"x": x}, "--engine", engine), [want], 1e-4)


def check_conv(engine):
    x = noise(2, 1, 256, 6, 7)
    for model, entry, groups in (("conv_c184", "main", 1), ("gconv_g8", "g8", 8), ("gconv_g64", "g64", 64)):
        w = arrays(model)
        want = conv(x, w["weight"], groups=groups) + w["bias"][None, :, None, None]
        compare("conv %s %s" % (model, engine), run("conv", model, {"x": x}, "--entry", entry, "--engine", engine), [want], 1e-4)


def fbs(x, w, name, density, padding=1, stride=1):
    """The layer computed whole, what is left out zero."""
    p = {key: w["%s.%s" % (name, key)] for key in ("weight", "mean", "variance", "shift", "phi", "rho")}
    gains = relu(np.abs(x).mean(axis=(2, 3)) @ p["phi"].astype(np.float64) + p["rho"])[0]
    keep = int(np.ceil(np.float32(density) * np.float32(len(gains))))
    bar = np.sort(gains)[::-1][keep] if keep < len(gains) else 0.0
    gains = np.where(gains > bar, gains, 0)
    y = norm(conv(x, p["weight"], padding, stride), p["mean"], p["variance"], gains, np.where(gains > 0, p["shift"], 0))
    return relu(y), np.flatnonzero(gains)


def check_fbs(engine):
    w, x, active = arrays("fbs_layer"), noise(3, 1, 128, 9, 8), np.arange(0, 128, 2, dtype=np.int32)
    whole = np.zeros_like(x)
    whole[:, active] = x[:, active]
    y, kept = fbs(whole, w, "layer", 0.25)
    got = run("fbs_layer", "fbs_layer", {"x": x[:, active], "active": active, "density": "0.25"}, "--engine", engine)
    compare("fbs_layer %s" % engine, got, [y[:, kept], kept], 1e-4)
    got = run("fbs_layer", "fbs_layer", {"x": whole, "density": "0.25"}, "--entry", "masked", "--engine", engine)
    compare("fbs_layer masked %s" % engine, got, [y], 1e-4)


def check_cifarnet(engine):
    w, x = arrays("cifarnet"), noise(4, 1, 3, 32, 32)
    for density in (1.0, 0.5, 0.25):
        y = x
        for i in range(8):
            y = fbs(y, w, "conv%d" % i, density, padding=i > 0, stride=2 if i in (2, 5) else 1)[0]
        want = y.mean(axis=(2, 3)) @ w["fc.weight"].T.astype(np.float64) + w["fc.bias"]
        got = run("cifarnet", "cifarnet", {"x": x, "density": str(density)}, "--engine", engine)
        compare("cifarnet %g %s" % (density, engine), got, [want], 1e-6)


def check_small(engine):
    x, w = noise(5, 5, 768), arrays("gemm_768x768")["weight"]
    compare("gemm %s" % engine, run("gemm", "gemm_768x768", {"x": x}, "--engine", engine), [x @ w.T.astype(np.float64)], 1e-4)
    x, y = noise(6, 16), noise(7, 16)
    want = x.copy()
    for _ in range(1000):
        want += y
    compare("chain %s" % engine, run("chain", None, {"x": x, "y": y, "n": 1000}, "--engine", engine), [want], 0)
    want = x.copy()
    for _ in range(1000):
        want = want - y if want[0] > 0.5 else want + y
    got = run("chain", None, {"x": x, "y": y, "n": 1000}, "--entry", "branch", "--engine", engine)
    compare("chain branch %s" % engine, got, [want], 0)


def main():
    os.makedirs(WORK, exist_ok=True)
    found = engines()
    by_torch = (check_lstm, check_tree, check_bert, check_dscnn, check_gru)
    if not os.path.isdir(os.path.join(PEERS, "refs")):
        say("skipped", "LSTM, Tree-LSTM, BERT, DS-CNN and GRU", "no references at " + PEERS)
        by_torch = ()
    for engine in found:
        for check in (*by_torch, check_resnext, check_conv, check_fbs, check_cifarnet, check_small):
            check(engine)
    check_cnns(found[-1])
    print("%(passed)d passed, %(failed)d failed, %(skipped)d skipped" % done)
    return 1 if done["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
