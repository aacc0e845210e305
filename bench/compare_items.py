"""The rows of compare.sh: our program, its inputs, what the peers have for it, and the ratio that is wanted."""
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, Callable


@dataclass
class Row:
    item: str
    name: str
    program: str                                # below examples/
    inputs: Any                                 # {name: spec}, or a function of the setting
    weights: str = ""                           # of weights.py, or a path
    entry: str = "main"
    peer_item: str = ""
    peers: tuple = ()                           # NAME@FW of peers.sh list
    bar: str = ""                               # "<= 0.85": of the ratio
    threads: int = 1
    fast: bool = False                          # --fast-math: a row without a bar
    measure: Callable = None
    peer_class: Any = None
    base: str = ""                              # against_ours: the row that is 1
    pair: Callable = None                       # allocations: two commands ...
    steps: int = 0                              # ... so many steps apart
    cold: bool = False                          # startup: without the cache
    memory: bool = False                        # peaks of both processes too

    def met(self, result):
        if not self.bar or result.get("ratio") is None:
            return None
        return result["ratio"] <= float(self.bar.split()[1])


def refs(name):
    return lambda setting, key: f"@{setting.config.REFS}/{name}.npz:{key}"


def ref_input(file, parameter, key, **others):
    return lambda setting: {parameter: refs(file)(setting, key), **others}


# ---- the groups -----------------------------------------------------------------------------------------------------

TORCH, ORT = "torch+mkl", "ort-1.30.0"


def gemm(c):
    for n in (256, 512, 1024, 2048):
        peers = tuple(f"nt_{n}@{fw}" for fw in ("mkl", "onednn-packed", "openblas-skx", "blis-skx")) + (f"nn_{n}@{ORT}-packed",)
        yield Row("gemm", f"gemm_{n}", "models/gemm.rly", {"x": f"f32[{n},{n}]=rand:1"}, f"gemm_{n}x{n}", peer_item="p02",
                  peers=peers, bar="<= 1.05", measure=c.paired)
    for m in (8, 16, 32, 64, 128):
        peers = tuple(f"nt_{m}x3072x768@{fw}" for fw in ("mkl", "onednn-packed", "openblas-skx", f"{ORT}-packed"))
        yield Row("gemm", f"gemm_{m}x3072x768", "models/gemm.rly", {"x": f"f32[{m},768]=rand:1"}, "gemm_3072x768", peer_item="p02",
                  peers=peers, bar="<= 1.05", measure=c.paired)


def lstm(c):
    for layers, entry in ((1, "main"), (2, "two")):
        for length in (8, 32, 64):
            peers = (f"{layers}l_S{length}_ort-op@{ORT}", f"{layers}l_S{length}_nn.LSTM@{TORCH}",
                     f"{layers}l_S{length}_nn.LSTM@torch+openblas-skx")
            yield Row("lstm", f"lstm{layers}_S{length}", "models/lstm.rly", ref_input(f"lstm{layers}", "xs", f"x_{length}"),
                      f"lstm{layers}", entry, "p03", peers, "<= 0.85", measure=c.paired)
    yield Row("lstm", "lstm1_S32_2threads", "models/lstm.rly", ref_input("lstm1", "xs", "x_32"), "lstm1", "main", "p03",
              (f"1l_S32_ort-op@{ORT}",), "<= 1.0", threads=2, measure=c.paired)


def forest(setting):
    """The 32 trees as one list; their leaves are files."""
    import numpy as np
    r, folder, trees = np.load(f"{setting.config.REFS}/treelstm.npz"), f"{setting.work}/leaves", []
    os.makedirs(folder, exist_ok=True)
    for k in range(32):
        stack = []
        for left in r[f"left_{k}"]:
            if left < 0:
                path = f"{folder}/{k}_{-left - 1}.npy"
                if not os.path.exists(path):
                    np.save(path, r[f"x_{k}"][-left - 1:-left])
                stack.append(f"Leaf(@{path})")
            else:
                second = stack.pop()
                stack.append(f"Node({stack.pop()}, {second})")
        trees += stack
    return {"trees": "".join(f"Cons({tree}, " for tree in trees) + "Nil" + ")" * len(trees)}


def treelstm(c):
    peers = (f"ort-loop-If-ScatterND@{ORT}", "eager-level-batched(schedule given)@torch+mkl", "torchscript-frozen@torch+openblas-skx")
    yield Row("treelstm", "treelstm_32trees", "models/tree_lstm.rly", forest, "tree", "forest", "p04", peers, "<= 0.4", measure=c.paired)


def bert(c):
    for length in (16, 32, 64, 128):
        peers = (f"S{length}_ort@{ORT}", f"S{length}_torchscript-frozen@{TORCH}", f"S{length}_optimize_for_inference@{TORCH}")
        yield Row("bert", f"bert_S{length}", "models/bert.rly", ref_input("bert", "x", f"x_{length}"), "bert", "main", "p05",
                  peers, "<= 0.85", measure=c.paired)
        if length >= 32:
            yield Row("fast", f"bert_S{length}_fast", "models/bert.rly", ref_input("bert", "x", f"x_{length}"), "bert", "main", "p05",
                      peers, fast=True, measure=c.paired)


def cnn(c):
    for name in ("resnet18", "resnet50", "mobilenet_v2"):
        yield Row("cnn", name, f"models/{name}.rly", {"x": "f32[1,3,224,224]=rand:1"}, name, "main", "p06",
                  (f"{name}_ort@{ORT}", f"{name}_optimize_for_inference@{TORCH}"), "<= 1.0", measure=c.paired)

    for name in ("resnet18", "resnet50"):
        yield Row("fast", f"{name}_fast", f"models/{name}.rly", {"x": "f32[1,3,224,224]=rand:1"}, name, "main", "p06",
                  (f"{name}_ort@{ORT}", f"{name}_optimize_for_inference@{TORCH}"), fast=True, measure=c.paired)


def wake_words(c):
    yield Row("dscnn", "dscnn", "models/dscnn.rly", ref_input("dscnn", "x", "x"), "dscnn", "main", "p07",
              (f"dscnn_ort@{ORT}", f"dscnn_optimize_for_inference@{TORCH}"), "<= 0.8", measure=c.paired)
    yield Row("gru", "gru_step", "models/gru.rly", {"x": "f32[1,40]=rand:1", "h": "zeros"}, "gru", "main", "p07",
              (f"gru_step_ort@{ORT}", "gru_step_GRUCell torchscript@torch+openblas-skx"), "<= 0.5", measure=c.paired)
    folder = os.path.join(c.SHARED, "models", "silero-vad")
    yield Row("silero", "silero_vad_frame", "silero_vad.rly", {"input": "f32[1,576]=rand:1", "state": "f32[2,1,128]=zeros"},
              os.path.abspath(f"{folder}/silero_vad_16k.safetensors"), "main", peers=(f"{folder}/silero_vad_16k_op15.onnx",),
              bar="<= 0.8", measure=c.paired, peer_class=OrtFile)


def convolutions(c):
    for size in (14, 28):
        for groups in (1, 2, 4, 8, 16, 32, 64):
            name = f"gconv_{size}_256_g{groups}"
            yield Row("gconv", f"gconv_{size}_g{groups}", "models/conv_sizes.rly", {"x": "rand:1"},
                      f"gconv_g{groups}", f"g{groups}_{size}", "p08", (f"{name}@{TORCH}", f"{name}@torch-ofi+mkl", f"{name}@{ORT}"),
                      "<= 0.8" if groups >= 8 else "", measure=c.paired)
            if groups in (1, 8, 16):
                yield Row("fast", f"gconv_{size}_g{groups}_fast", "models/conv_sizes.rly", {"x": "rand:1"}, f"gconv_g{groups}",
                          f"g{groups}_{size}", "p08", (f"{name}@torch-ofi+mkl", f"{name}@{ORT}"), fast=True, measure=c.paired)
    for channels in range(128, 257, 8):
        name = f"prune_{channels}"
        peers = (f"{name}@torch-ofi+mkl", f"{name}@{ORT}") if channels in (128, 184, 256) else ()
        yield Row("convC", f"convC_{channels}", "models/conv_sizes.rly", {"x": "rand:1"}, f"conv_c{channels}", "main_14",
                  "p09", peers, measure=c.paired)


def fbs(c):
    def shape(kept):
        return f"f32[1,{kept},28,28]=rand:1"

    def active(kept):
        return "[%s]" % ", ".join(str(i) for i in range(0, 128, 128 // kept))
    yield Row("fbs", "fbs_dense", "models/fbs_layer.rly", {"x": shape(128)}, "fbs_layer", "whole", measure=c.paired)
    yield Row("fbs", "fbs_masked_0.5", "models/fbs_layer.rly", {"x": shape(128), "density": "0.5"}, "fbs_layer", "masked",
              measure=c.against_ours, base="fbs_dense")
    for density, bar in ((0.5, "<= 0.45"), (0.25, "<= 0.20")):
        kept = int(128 * density)
        yield Row("fbs", f"fbs_{density}", "models/fbs_layer.rly", {"x": shape(kept), "active": active(kept), "density": str(density)},
                  "fbs_layer", "main", bar=bar, measure=c.against_ours, base="fbs_dense")


def random_files(**shapes):
    """Inputs that are files of small random numbers; a tuple of shapes is a tuple of tensors."""
    def write(setting, name, shape):
        import numpy as np
        if isinstance(shape[0], tuple):
            return "(" + ", ".join(write(setting, f"{name}_{i}", part) for i, part in enumerate(shape)) + ")"
        path = f"{setting.work}/{name}_{'x'.join(map(str, shape))}.npy"
        if not os.path.exists(path):
            np.save(path, np.random.default_rng(len(path)).normal(0, 0.05, shape).astype("f4"))
        return "@" + path
    return lambda setting: {name: write(setting, name, shape) for name, shape in shapes.items()}


def training(c):
    """Forward and backward; the net of dense layers also takes the step."""
    def mlp(setting):
        files = random_files(w=(((512, 784), (512,)), ((512, 512), (512,)), ((10, 512), (10,))), x=(64, 784))
        return dict(files(setting), y="rand:5")

    def lstm(batch):
        return random_files(p=((2048, 300), (2048, 512), (2048,), (2048,)), x=(32, batch, 300))
    yield Row("train", "train_mlp_b64", "train/step_mlp.rly", mlp, "", "main", "p10",
              (f"mlp_784-512-512-10_b64_fwd+bwd+sgd@{TORCH}",), "<= 0.85", measure=c.paired, memory=True)
    yield Row("train", "train_lstm_S32_b1", "train/step_lstm.rly", lstm(1), "", "main", "p10",
              (f"lstm_300_512_S32_b1_fwd+bwd@{TORCH}", f"lstmcell_pyloop_S32_b1_fwd+bwd@{TORCH}"), "<= 0.3", measure=c.paired, memory=True)
    yield Row("train", "train_lstm_S32_b16", "train/step_lstm.rly", lstm(16), "", "batch", "p10",
              (f"lstm_300_512_S32_b16_fwd+bwd@{TORCH}",), "<= 0.6", measure=c.paired, memory=True)
    yield Row("train", "train_chain_1000", "train/step_chain.rly", {"x": "rand:1", "y": "rand:2"}, "", "main", "p11",
              ("add16_x1000_grad-fwd+bwd@torch-eager+mkl",), "<= 0.05", measure=c.paired, memory=True)


def small(c):
    chain = {"x": "rand:1", "y": "rand:2", "n": "1000"}
    yield Row("chain", "chain_1000", "models/chain.rly", chain, "", "main", "p11",
              (f"add16_x1000_ort-Loop@{ORT}", "add16_x1000_torchscript-for@torchscript+mkl", "add16_x1000_numpy@numpy+mkl"),
              "<= 0.06", measure=c.paired)
    yield Row("chain", "chain_branch_1000", "models/chain.rly", chain, "", "branch", "p11",
              ("branch16_x1000_torchscript@torchscript+mkl",), "<= 0.06", measure=c.paired)

    def two_lengths(entry):
        return lambda setting: [setting.command(Row("", "", "models/lstm.rly", {"xs": f"f32[{n},1,300]=rand:1"}, "lstm1", entry))
                                for n in (64, 96)]    # behind the first chunks

    def two_chains(setting):
        return [setting.command(Row("", "", "models/chain.rly", dict(chain, n=str(n)))) for n in (10, 1010)]
    yield Row("allocations", "allocations_chain", "models/chain.rly", chain, measure=c.allocations, pair=two_chains, steps=1000)
    yield Row("allocations", "allocations_lstm1", "models/lstm.rly", {}, measure=c.allocations, pair=two_lengths("main"), steps=32)
    yield Row("allocations", "allocations_lstm1_last", "models/lstm.rly", {}, measure=c.allocations, pair=two_lengths("last"), steps=32)
    yield Row("startup", "startup_dscnn_cached", "models/dscnn.rly", {"x": "f32[1,1,49,10]=zeros"}, "dscnn", peer_item="p13",
              peers=(f"ort_c_dscnn_process_wall@{ORT}",), bar="<= 0.65", measure=c.startup)
    yield Row("startup", "startup_resnet50_cold", "models/resnet50.rly", {"x": "f32[1,3,224,224]=zeros"}, "resnet50",
              measure=c.startup, cold=True)
    yield Row("startup", "startup_resnet50_cached", "models/resnet50.rly", {"x": "f32[1,3,224,224]=zeros"}, "resnet50",
              measure=c.startup)


def rows(compare):
    """compare: the module with the ways to measure."""
    return [row for group in (gemm, lstm, treelstm, bert, cnn, wake_words, convolutions, fbs, small, training) for row in group(compare)]


# ---- an ONNX file that is no item of the peers ----------------------------------------------------------------------

SERVE = """
import sys, numpy as np
from ort import Session
session = Session(sys.argv[1], 1).feed(input=np.random.rand(1, 576).astype("f4"), state=np.zeros((2, 1, 128), "f4"),
                                       sr=np.array(16000, "i8"))
print("@ ready", flush=True)
for line in sys.stdin:
    t = session.measure(float(line))
    print("@", t.best, t.median, flush=True)
"""


class OrtFile:
    """silero-vad's ONNX file in ONNX Runtime."""

    def __init__(self, setting, row, path):
        Missing = sys.modules[type(setting).__module__].Missing
        if not os.path.exists(path):
            raise Missing(f"{path} is not there")
        config = setting.config
        self.name = f"{os.path.basename(path)}@{ORT}"
        self.process = subprocess.Popen([config.PYTHON, "-c", SERVE, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        stderr=subprocess.DEVNULL, cwd=config.HERE, env=config.environment("ort", 1),
                                        preexec_fn=config.pinned(1))
        if self._answer() is None:
            raise Missing("ONNX Runtime refuses it")

    def _answer(self):
        return next((line[2:] for line in self.process.stdout if line.startswith("@ ")), None)

    def measure(self, budget):
        self.process.stdin.write(f"{budget}\n")
        self.process.stdin.flush()
        best, median = self._answer().split()
        return float(best), float(median)

    def close(self):
        self.process.stdin.close()
        self.process.wait()
