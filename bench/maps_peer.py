#!/usr/bin/env python3
"""The work of maps.c in torch, on one thread, as JSON: maps_peer.py [seconds per case]"""
import json
import sys
import time

import torch

torch.set_num_threads(1)
torch.set_grad_enabled(False)
seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 0.2


def tensor(*shape):
    n = torch.Size(shape).numel()
    return ((torch.arange(n) % 97) / 64 + 0.5).to(torch.float32).reshape(shape)


def best(run):
    run()
    start, group, least = time.perf_counter(), 1, 1e9
    while time.perf_counter() - start < 2e-5:
        run()
        group += 1
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        for _ in range(group):
            run()
        least = min(least, (time.perf_counter() - start) / group)
    return least


def two(name, n, op):
    x, w, y = tensor(n), tensor(n), tensor(n)
    return f"{name}_{n}", lambda: op(x, w, out=y)


def one(name, n, op):
    x, y = tensor(n), tensor(n)
    return f"{name}_{n}", lambda: op(x, out=y)


def plain(name, op, *shape):
    x = tensor(*shape)
    return f"{name}_{'x'.join(map(str, shape))}", lambda: op(x)


def layer_norm(m, n):
    x, g, b = tensor(m, n), tensor(n), tensor(n)
    return f"layer_norm_{m}x{n}", lambda: torch.layer_norm(x, (n,), g, b)


image, channel = tensor(1, 64, 56, 56), tensor(64)
cases = [two("add", n, torch.add) for n in (16, 40, 512, 65536, 16777216)]
cases += [one("tanh", n, torch.tanh) for n in (16, 512, 65536)]
cases += [one("sigmoid", n, torch.sigmoid) for n in (512, 65536)]
cases += [one(f, 65536, getattr(torch, f)) for f in ("relu", "exp", "log", "sin") if f != "relu"]
cases += [plain("relu", torch.relu, 65536), plain("gelu", torch.nn.functional.gelu, 65536),
          two("pow", 65536, torch.pow)]
cases += [plain("softmax", lambda x: torch.softmax(x, 1), *s) for s in ((1, 1000), (128, 128), (128, 768))]
cases += [layer_norm(m, 768) for m in (1, 128)]
cases += [plain("sum_last", lambda x: x.sum(1), 128, 768), plain("max_last", lambda x: x.amax(1), 128, 768),
          plain("sum_first", lambda x: x.sum(0), 128, 768), plain("max_first", lambda x: x.amax(0), 128, 768),
          ("mean_hw_512x49", (lambda x: lambda: x.mean((1, 2)))(tensor(512, 7, 7))),
          ("batch_norm_64x56x56", lambda: torch.batch_norm(image, channel, channel, channel, channel, False, .1, 1e-5, False)),
          ("max_pool_3x3_64x56x56", lambda: torch.max_pool2d(image, 3, 2, 1)),
          plain("argmax", lambda x: x.argmax(1), 128, 768)]
print(json.dumps([{"name": n, "ns": round(best(f) * 1e9, 1)} for n, f in cases], indent=1))
