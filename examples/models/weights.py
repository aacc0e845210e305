#!/usr/bin/env python3
"""The weights of the models in this folder, by seed: weights.py NAME OUT.safetensors; weights.py --list.

The numbers of a tensor come from its name, its shape and a scale, so that any program can make the same ones bit for
bit: element i, in row-major order, is m * 2^-23 - 1 (m < 2^24: the upper bits of splitmix64(hash + i), hash the 64-bit
FNV-1a of "MODEL.TENSOR") times the scale, plus an offset, each rounded to float32.  Only numpy is needed, except for
the nets of torchvision, which are torchvision's own with seed 0: their batch norms have the statistics of one batch of
noise, so that activations keep their size from layer to layer.
"""
import json
import math
import struct
import sys

import numpy as np

MASK = (1 << 64) - 1


def name_hash(name):
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = (h ^ byte) * 0x100000001B3 & MASK
    return h


def splitmix64(x):
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ x >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ x >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return x ^ x >> np.uint64(31)


def numbers(name, shape, scale=1.0, offset=0.0):
    with np.errstate(over="ignore"):
        x = splitmix64(np.uint64(name_hash(name)) + np.arange(math.prod(shape), dtype=np.uint64))
    unit = (x >> np.uint64(40)).astype(np.float32) * np.float32(2.0 ** -23) - np.float32(1)
    y = unit * np.float32(scale)
    return (y + np.float32(offset) if offset else y).reshape(shape)


class Weights(dict):
    """Tensors by name; each method adds what one layer has."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def add(self, name, shape, scale, offset=0.0):
        self[name] = numbers(f"{self.model}.{name}", shape, scale, offset)

    def linear(self, name, out, inputs, scale, bias=True):
        self.add(f"{name}.weight", (out, inputs), scale)
        if bias:
            self.add(f"{name}.bias", (out,), 0.05)

    def norm(self, name, width):
        self.add(f"{name}.weight", (width,), 0.1, 1.0)
        self.add(f"{name}.bias", (width,), 0.05)

    def batch_norm(self, name, width):
        self.norm(name, width)
        self.add(f"{name}.running_mean", (width,), 0.05)
        self.add(f"{name}.running_var", (width,), 0.25, 1.0)

    def conv(self, name, shape, bias=True, gain=3.0):
        self.add(f"{name}.weight", shape, math.sqrt(gain / math.prod(shape[1:])))
        if bias:
            self.add(f"{name}.bias", shape[:1], 0.05)

    def fbs(self, name, out, inputs):
        self.conv(name, (out, inputs, 3, 3), bias=False, gain=6.0)
        self.add(f"{name}.mean", (out,), 0.05)
        self.add(f"{name}.variance", (out,), 0.25, 1.0)
        self.add(f"{name}.shift", (out,), 0.05, 0.1)
        self.add(f"{name}.phi", (inputs, out), 0.05 * math.sqrt(3))
        self.add(f"{name}.rho", (out,), 0.1, 1.0)

    def recurrent(self, gates, inputs, hidden, layer=0):
        scale = hidden ** -0.5
        self.add(f"rnn.weight_ih_l{layer}", (gates * hidden, inputs), scale)
        self.add(f"rnn.weight_hh_l{layer}", (gates * hidden, hidden), scale)
        self.add(f"rnn.bias_ih_l{layer}", (gates * hidden,), 0.05)
        self.add(f"rnn.bias_hh_l{layer}", (gates * hidden,), 0.05)


# ---- the models -----------------------------------------------------------------------------------------------------

def lstm1():
    w = Weights("lstm1")
    w.recurrent(4, 300, 512)
    return w


def lstm2():
    w = Weights("lstm2")
    w.recurrent(4, 300, 512)
    w.recurrent(4, 512, 512, layer=1)
    return w


def tree():
    w = Weights("tree")
    w.linear("w_iou", 450, 300, 150 ** -0.5)
    w.linear("u_iou", 450, 150, 150 ** -0.5, bias=False)
    w.linear("u_f", 150, 150, 150 ** -0.5)
    return w


def bert():
    w = Weights("bert")
    for layer in range(12):
        at = f"layers.{layer}"
        for name in "qkvo":
            w.linear(f"{at}.{name}", 768, 768, 0.035)
        w.norm(f"{at}.ln1", 768)
        w.linear(f"{at}.f1", 3072, 768, 0.035)
        w.linear(f"{at}.f2", 768, 3072, 0.035)
        w.norm(f"{at}.ln2", 768)
    return w


def dscnn():
    w = Weights("dscnn")
    w.conv("c0", (64, 1, 10, 4))
    w.batch_norm("b0", 64)
    for i in range(4):
        w.conv(f"dw.{i}", (64, 1, 3, 3))
        w.batch_norm(f"db.{i}", 64)
        w.conv(f"pw.{i}", (64, 64, 1, 1))
        w.batch_norm(f"pb.{i}", 64)
    w.linear("fc", 12, 64, math.sqrt(3 / 64))
    return w


def gru():
    w = Weights("gru")
    w.recurrent(3, 40, 128)
    w.linear("fc", 12, 128, 128 ** -0.5)
    return w


def resnext_block():
    w = Weights("resnext_block")
    for i, shape in enumerate(((128, 256, 1, 1), (128, 4, 3, 3), (256, 128, 1, 1)), 1):
        w.conv(f"conv{i}", shape, bias=False)
        w.batch_norm(f"bn{i}", shape[0])
    return w


def fbs_layer():
    w = Weights("fbs_layer")
    w.fbs("layer", 128, 128)
    return w


def cifarnet():
    w = Weights("cifarnet")
    width = (3, 64, 64, 128, 128, 128, 192, 192, 192)
    for i in range(8):
        w.fbs(f"conv{i}", width[i + 1], width[i])
    w.linear("fc", 10, 192, 192 ** -0.5)
    return w


def convolution(name, out, inputs, groups=1):
    """A 3x3 convolution with bias."""
    count = inputs // groups
    return {"weight": numbers(f"conv.{name}", (out, count, 3, 3), math.sqrt(3 / (count * 9))),
            "bias": numbers(f"convb.{name}", (out,), 0.1)}


def product(n, k):
    """A dense layer's weight, (n, k)."""
    return {"weight": numbers(f"gemm.{n}.{k}", (n, k), k ** -0.5)}


def torchvision_net(name):
    try:
        import torch
        import torchvision.models
    except ImportError as error:
        raise SystemExit(f"weights.py: {name} needs torch and torchvision: {error}")
    torch.manual_seed(0)
    net = getattr(torchvision.models, name)()
    norms = [part for part in net.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    noise = np.random.RandomState(0).rand(2, 3, 224, 224).astype(np.float32)
    with torch.no_grad():
        net.train()(torch.from_numpy(noise))
    return {key: value.numpy() for key, value in net.state_dict().items() if not key.endswith("num_batches_tracked")}


MODELS = {f.__name__: f for f in (lstm1, lstm2, tree, bert, dscnn, gru, resnext_block, fbs_layer,
                                   cifarnet)}
MODELS.update({name: lambda name=name: torchvision_net(name) for name in ("resnet18", "resnet50", "mobilenet_v2")})
MODELS.update({f"gconv_g{g}": lambda g=g: convolution(f"gconv_g{g}", 256, 256, g) for g in (1, 2, 4, 8, 16, 32, 64)})
MODELS.update({f"conv_c{c}": lambda c=c: convolution(f"prune_{c}", c, 256) for c in range(128, 257, 8)})
MODELS.update({f"gemm_{n}x{k}": lambda n=n, k=k: product(n, k)
               for n, k in ((3072, 768), (768, 768), *((s, s) for s in (128, 256, 512, 1024, 2048)))})


# ---- the file -------------------------------------------------------------------------------------------------------

def write_safetensors(path, tensors):
    """float32 only: the length of a JSON header, the header, the numbers."""
    header, at = {}, 0
    for name, value in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": [at, at + value.nbytes]}
        at += value.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-(len(text) + 8) % 64)        # the numbers start on a multiple of 64 bytes
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for value in tensors.values():
            f.write(np.ascontiguousarray(value, dtype="<f4").tobytes())


def main(arguments):
    if arguments == ["--list"]:
        print("\n".join(MODELS))
    elif len(arguments) == 2 and arguments[0] in MODELS:
        write_safetensors(arguments[1], MODELS[arguments[0]]())
    elif len(arguments) == 2:
        raise SystemExit(f"weights.py: no net {arguments[0]}; there are {', '.join(MODELS)}")
    else:
        raise SystemExit("usage: weights.py NAME OUT.safetensors\n       weights.py --list")


if __name__ == "__main__":
    main(sys.argv[1:])
