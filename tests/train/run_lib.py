#!/usr/bin/python3
"""run_lib.py RVM ROOT -- the training library of stdlib/ against NumPy.

random, init, loss, metrics, data, optim and audio: each function is run with
inputs of an .npz file and compared with the definitions below, in float64."""
import os
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
import checks
from checks import finish, leaves, np, rvm

ROOT = sys.argv[2]
WRAP = os.path.join(ROOT, 'tests/train/wrap.rly')
rng = np.random.RandomState(5)


# ---- running and comparing -----------------------------------------------------------

def file_of(entry):
    """The file that defines an entry: the wrapper, or one of the library."""
    names = ['random', 'init', 'loss', 'metrics', 'data', 'optim', 'audio']
    for path in [WRAP] + [os.path.join(ROOT, 'stdlib', n + '.rly') for n in names]:
        with open(path, encoding='utf-8') as f:
            if 'def @%s(' % entry in f.read():
                return path
    return WRAP


def run(entry, tensors, specs=()):
    """The outputs, in order, or a sentence."""
    with tempfile.TemporaryDirectory() as tmp:
        np.savez(tmp + '/in.npz', **{k: np.asarray(v) for k, v in tensors.items()})
        r = rvm('run', file_of(entry), '--entry', entry, '--quiet', '--inputs', tmp + '/in.npz', '--output', tmp + '/out.npz',
                *['--input=' + s for s in specs])
        return leaves(tmp + '/out.npz') if r.returncode == 0 else 'exit %d: %s' % (r.returncode, r.stderr)


def compare(got, want, rtol=1e-5, atol=1e-6):
    if isinstance(got, str):
        return got
    if len(got) != len(want):
        return '%d outputs, not %d' % (len(got), len(want))
    for i, (g, w) in enumerate(zip(got, want)):
        w = np.asarray(w)
        if g.shape != w.shape:
            return 'output %d has shape %s, not %s' % (i, g.shape, w.shape)
        if w.dtype.kind in 'iub' and not np.array_equal(g, w):
            return 'output %d differs' % i
        if not np.allclose(g, w, rtol=rtol, atol=atol, equal_nan=True):
            return 'output %d differs by %g' % (i, np.abs(g - w).max())
    return None


def check(entry, tensors, *want, specs=(), **tolerance):
    why = compare(run(entry, tensors, specs), want, **tolerance)
    checks.check(entry, why is None, why)


def f4(*shape):
    return rng.randn(*shape).astype(np.float32)


# ---- random numbers --------------------------------------------------------------------

def philox(key, counter):
    """Philox 4x32-10 on Python's integers."""
    c, k = [int(x) for x in counter], [int(x) for x in key]
    for _ in range(10):
        p, q = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
        c = [(q >> 32) ^ c[1] ^ k[0], q & 0xffffffff, (p >> 32) ^ c[3] ^ k[1], p & 0xffffffff]
        k = [(k[0] + 0x9E3779B9) & 0xffffffff, (k[1] + 0xBB67AE85) & 0xffffffff]
    return c


def key_of(seed):
    return [seed & 0xffffffff, (seed >> 32) & 0xffffffff]


def bits(seed, n):
    return np.array([philox(key_of(seed), (i // 4, 0, 0, 0))[i % 4] for i in range(n)], np.uint32)


def test_random():
    # The test vectors that come with the function (Random123, kat_vectors).
    known = [((0, 0), (0, 0, 0, 0), (0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8)),
             ((0xffffffff,) * 2, (0xffffffff,) * 4,
              (0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd)),
             ((0xa4093822, 0x299f31d0), (0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344),
              (0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1))]
    for k, c, want in known:
        assert tuple(philox(k, c)) == want
        check('philox1', {'k': np.uint32(k), 'c': np.uint32(c).reshape(4, 1)},
              *[np.uint32([w]) for w in want])
    for seed in (0, 7, -1, 1 << 40):
        check('bits_of', {'seed': np.int64(seed), 'n': np.int64(9)}, bits(seed, 9))
        check('folded', {'seed': np.int64(seed), 'i': np.int64(seed + 5)},
              np.uint32(philox(key_of(seed), key_of(seed + 5) + [0, 1])[:2]))
    check('bits_of', {'seed': np.int64(1), 'n': np.int64(0)}, np.zeros(0, np.uint32))
    b = bits(3, 1000)
    check('uniform_of', {'seed': np.int64(3), 'n': np.int64(1000)}, (b >> 8) / 2.0**24, rtol=0,
          atol=0)
    check('integers_of', {'seed': np.int64(3), 'below': np.int32(7), 'n': np.int64(1000)},
          ((b.astype(np.uint64) * 7) >> 32).astype(np.int32))
    check('permutation_of', {'seed': np.int64(3), 'n': np.int64(1000)},
          np.argsort(b, kind='stable').astype(np.int32))
    import statistics
    inverse = statistics.NormalDist().inv_cdf
    p = np.concatenate([np.geomspace(6e-8, .4, 300), np.linspace(.01, .99, 300),
                        1 - np.geomspace(6e-8, .4, 100)]).astype(np.float32)
    check('normal_quantile', {'p': p}, np.array([inverse(float(x)) for x in p]), rtol=1e-5)
    check('log_exact', {'x': p}, np.log(p.astype(np.float64)), rtol=3e-7)
    check('normal_of', {'seed': np.int64(3), 'n': np.int64(1000)},
          np.array([inverse(((int(x) >> 9) + .5) / 2**23) for x in b]), rtol=1e-5)
    for name, shape, groups in (('dropout', (40, 25), 1000), ('dropout3', (4, 10, 25), 1000),
                                ('dropout_channels', (20, 50, 2, 3), 1000)):
        x = f4(*shape)
        drop = ((bits(9, groups) >> 8) / 2.0**24 < .25).reshape(shape if groups == x.size else
                                                                shape[:2] + (1, 1))
        check(name + '_of', {'seed': np.int64(9), 'x': x}, np.where(drop, 0, x / .75))


# ---- first weights ---------------------------------------------------------------------

def test_init():
    got = run('inits', {'seed': np.int64(4)})
    if isinstance(got, str):
        return checks.check('inits', False, got)
    u = [(0, np.sqrt(6 / 100)), None, (0, np.sqrt(6 / 40)), None, None, (2.5, .5), None, None,
         (0, np.sqrt(6 / (68 * 15)))]
    deviation = [0, np.sqrt(2 / 100), 0, np.sqrt(2 / 40), .02, 0, np.sqrt(2 / 40),
                 np.sqrt(2 / 120), 0]
    for i, g in enumerate(got):
        g = g.astype(np.float64)
        if u[i]:
            centre, bound = u[i]
            far = np.abs(g - centre).max()
            checks.check('inits %d: bound' % i, .99 * bound < far <= bound * 1.000001, far)
            want, mean = bound / np.sqrt(3), centre
        else:
            want, mean = deviation[i], 0
        checks.check('inits %d: deviation' % i, abs(g.std() / want - 1) < .04, g.std() / want)
        checks.check('inits %d: mean' % i, abs(g.mean() - mean) < .06 * want, g.mean())
    got = run('layers', {'seed': np.int64(4)})
    for i, g in enumerate(got):
        bound = 1 / np.sqrt(50 if i < 2 else 16)
        checks.check('layers %d' % i, .9 * bound < np.abs(g).max() <= bound, np.abs(g).max())
    flat = [tuple(g.ravel()[:5]) for g in got]
    checks.check('layers use different numbers', len(set(flat)) == len(flat))


# ---- losses and metrics ------------------------------------------------------------------

def log_softmax(z):
    z = z.astype(np.float64)
    return z - z.max(-1, keepdims=True) - np.log(np.exp(z - z.max(-1, keepdims=True)).sum(-1, keepdims=True))


def test_losses():
    z, t = f4(6, 5) * 3, rng.randint(0, 5, 6).astype(np.int32)
    soft = np.exp(log_softmax(f4(6, 5))).astype(np.float32)
    lp, hot = log_softmax(z), np.eye(5)[t]
    check('cross_entropy', {'logits': z, 'labels': t}, -lp[np.arange(6), t].mean())
    none = t.copy()
    none[2] = -1
    check('cross_entropy', {'logits': z, 'labels': none},
          -np.where(none < 0, 0, lp[np.arange(6), t]).mean())
    beyond = np.where(np.arange(6) == 3, 5, t).astype(np.int32)
    check('cross_entropy', {'logits': z, 'labels': beyond}, np.nan)
    check('cross_entropy_smooth', {'logits': z, 'labels': none, 'share': np.float32(.2)},
          -np.where(none[:, None] < 0, 0, (hot * .8 + .04) * lp).sum(1).mean())
    for entry, more in ('cross_entropy', {}), ('cross_entropy_smooth', {'share': np.float32(.2)}):
        check(entry, {'logits': z, 'labels': t * 0 - 1, **more}, 0)
        check(entry, {'logits': z[:1, :1], 'labels': t[:1] * 0, **more}, 0)
    check('cross_entropy_smooth', {'logits': z, 'labels': t, 'share': np.float32(0)}, -lp[np.arange(6), t].mean())
    check('cross_entropy_smooth', {'logits': z, 'labels': beyond, 'share': np.float32(.2)}, np.nan)
    check('cross_entropy_soft', {'logits': z, 'targets': soft}, -(soft * lp).sum(1).mean())
    check('cross_entropy_smooth', {'logits': z, 'labels': t, 'share': np.float32(.2)},
          -((hot * .8 + .04) * lp).sum(1).mean())
    big, target = f4(4, 3) * 60, rng.rand(4, 3).astype(np.float32)
    e = big.astype(np.float64)
    check('binary_cross_entropy', {'logits': big, 'targets': target},
          (np.logaddexp(0, e) - e * target).mean())
    x, y = f4(4, 3), f4(4, 3)
    d = np.abs(x.astype(np.float64) - y)
    check('mse', {'x': x, 'y': y}, (d * d).mean())
    check('mse1', {'x': x[0], 'y': y[0]}, (d[0] * d[0]).mean())
    check('mae', {'x': x, 'y': y}, d.mean())
    check('huber', {'x': x, 'y': y, 'delta': np.float32(.7)},
          np.where(d <= .7, d * d / 2, .7 * (d - .35)).mean())
    p, q = log_softmax(x), log_softmax(y)
    check('divergence', {'p': x, 'q': y}, (np.exp(p) * (p - q)).sum(1).mean())
    check('accuracy', {'logits': z, 'labels': t}, (z.argmax(1) == t).mean())
    check('top_k_accuracy', {'logits': z, 'labels': t, 'k': np.int32(2)},
          np.mean([t[i] in np.argsort(-z[i])[:2] for i in range(6)]))
    check('binary_accuracy', {'logits': big, 'targets': target}, ((big > 0) == (target > .5)).mean())
    table = np.zeros((5, 5), np.int32)
    np.add.at(table, (t, z.argmax(1)), 1)
    check('confusion', {'logits': z, 'labels': t}, table)
    a, b = f4(20), f4(20)
    check('r_squared', {'x': a, 'y': b}, 1 - ((a - b)**2).sum() / ((b - b.mean())**2).sum(), rtol=1e-4)


# ---- sequences -----------------------------------------------------------------------------

def test_sequences():
    x, n = f4(4, 6, 3), np.int32([6, 1, 3, 2])
    on = np.arange(6) < n[:, None]
    check('mask', {'lengths': n, 'x': x}, on.astype(np.float32))
    check('masked_mean', {'lengths': n, 'x': x}, np.stack([x[i, :n[i]].mean(0) for i in range(4)]))
    check('masked_max', {'lengths': n, 'x': x}, np.stack([x[i, :n[i]].max(0) for i in range(4)]))
    check('last_step', {'lengths': n, 'x': x}, np.stack([x[i, n[i] - 1] for i in range(4)]))
    for entry in 'masked_mean', 'masked_max', 'last_step':
        rest = x[:2, :4] * [[[0]], [[1]]]
        want = {'masked_mean': rest[1].mean(0), 'masked_max': rest[1].max(0), 'last_step': rest[1, 3]}[entry]
        check(entry, {'lengths': np.int32([0, 4]), 'x': rest.astype('f')}, np.stack([0 * want, want]))
        check(entry, {'lengths': np.int32([0]), 'x': x[:1, :0]}, np.zeros((1, 3)))
    check('max_gradient', {'lengths': np.int32([0, 2]), 'x': x[:2]},
          np.stack([x[0] * 0, np.where(x[1] == x[1, :2].max(0), 1, 0)]))
    rows = [f4(k, 2) for k in (3, 1, 0, 5, 2)]
    want = np.zeros((5, 5, 2))
    for i, r in enumerate(rows):
        want[i, :len(r)] = r
    parts = {'xs.%d' % i: r for i, r in enumerate(rows)}
    check('pad_list', parts, want, np.int32([3, 1, 0, 5, 2]))
    check('join_list', parts, np.concatenate(rows))
    check('join_list', {'xs.0': rows[3]}, rows[3])
    check('lengths_of', parts, *[np.int64(len(r)) for r in rows])


def lstm_sum(x, p):
    """In float64: the sum of all states."""
    sigmoid = lambda z: 1 / (1 + np.exp(-z))
    h = c = np.zeros((x.shape[1], p[1].shape[1]))
    total = 0
    for row in x:
        i, f, g, o = np.split(row @ p[0].T + p[2] + h @ p[1].T + p[3], 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        total += h.sum()
    return total


def test_recurrence():
    for n in (1, 2, 5, 8):
        x = f4(n, 2, 3)
        check('steps_of', {'x': x}, *x)
    for n in (1, 6):
        at = [f4(n, 2, 4), f4(12, 4), f4(12, 3), f4(12), f4(12)]
        wide = [a.astype(np.float64) for a in at]
        want = [np.zeros(a.shape) for a in at]
        for a, w in zip(wide, want):
            for k in np.ndindex(a.shape):
                old = a[k]
                a[k] = old + 1e-5
                up = lstm_sum(wide[0], wide[1:])
                a[k] = old - 1e-5
                w[k] = (up - lstm_sum(wide[0], wide[1:])) / 2e-5
                a[k] = old
        tensors = {'x': at[0], **{'p.%d' % i: a for i, a in enumerate(at[1:])}}
        check('lstm_gradient', tensors, lstm_sum(wide[0], wide[1:]), *want, rtol=1e-4, atol=1e-5)


# ---- optimisers ------------------------------------------------------------------------------

def test_optimisers():
    w, g, m, v = f4(11), f4(11), f4(11), f4(11)**2
    h = {'rate': np.float32(.01), 'decay': np.float32(.1)}
    base = {'w': w, 'g': g}
    W, G, M, V = (a.astype(np.float64) for a in (w, g, m, v))
    check('sgd', {**base, **h}, W - .01 * (G + .1 * W))
    s = G + .1 * W
    for nesterov in (False, True):
        n = .9 * V + s
        check('momentum', {**base, **h, 'v': v, 'momentum': np.float32(.9), 'nesterov': np.bool_(nesterov)},
              W - .01 * (s + .9 * n if nesterov else n), n)
    for step in (1, 2, 1000):
        more = {'m': m, 'v': v, 'step': np.int64(step), 'beta1': np.float32(.9),
                'beta2': np.float32(.999), 'epsilon': np.float32(1e-8)}
        for name, start, slope in (('adam', W, s), ('adamw', W * (1 - .001), G)):
            m1, v1 = .9 * M + .1 * slope, .999 * V + .001 * slope**2
            move = m1 / (1 - .9**step) / (np.sqrt(v1 / (1 - .999**step)) + 1e-8)
            check(name, {**base, **h, **more}, start - .01 * move, m1, v1, rtol=1e-4, atol=1e-5)
    check('square_norm', {'g': g}, (G * G).sum())
    check('clip_factor', {'square_norm': np.float32(25), 'limit': np.float32(2)}, np.float32(.4))
    check('clip_factor', {'square_norm': np.float32(0), 'limit': np.float32(2)}, np.float32(1))
    none = {'w': w[:1], 'g': g[:1] * 0, 'm': m[:1] * 0, 'v': v[:1] * 0, 'step': np.int64(1), 'beta1': np.float32(.9),
            'beta2': np.float32(.999), 'epsilon': np.float32(1e-8), **h}
    check('adamw', none, W[:1] * (1 - .001), G[:1] * 0, G[:1] * 0)
    check('adam', {**none, 'decay': np.float32(0)}, W[:1], G[:1] * 0, G[:1] * 0)
    check('clip_factor', {'square_norm': np.float32(3), 'limit': np.float32(2)}, np.float32(1))
    for step in (1, 4, 10, 11, 50, 56, 78, 100, 200):
        up = min(step / 10, 1)
        p = min(max(step - 1 - 10, 0) / 90, 1)
        check('rates', {'step': np.int64(step), 'warmup': np.int64(10), 'total': np.int64(100)},
              up, up * (.5 + .5 * np.cos(np.pi * p)), up * (1 - p),
              up * (1 if p < .5 else .1 if p < .75 else .01))


# ---- sound -----------------------------------------------------------------------------------

def mel_bank(bands, points, rate, low, high):
    mel = lambda f: 2595 * np.log10(1 + f / 700)
    edge = 700 * (10**(np.linspace(mel(low), mel(high), bands + 2) / 2595) - 1)
    f = np.arange(points // 2 + 1) * rate / points
    return np.stack([np.interp(f, edge[j:j + 3], [0, 1, 0]) for j in range(bands)])


def cut(x, size, hop):
    n = max((len(x) - size) // hop + 1, 0) if len(x) >= size else 0
    return np.stack([x[i * hop:i * hop + size] for i in range(n)]) if n else np.zeros((0, size))


def test_audio():
    t = np.arange(3217) / 8000
    x = (.5 * np.sin(2 * np.pi * 440 * t) + .3 * np.sin(2 * np.pi * (300 + 900 * t) * t) +
         .05 * rng.randn(len(t))).astype(np.float32)
    for n in (3217, 200, 199, 0, 280, 279):
        check('frames', {'x': x[:n], 'size': np.int64(200), 'hop': np.int64(80)}, cut(x[:n], 200, 80))
    i = np.arange(200)
    check('hann', {'size': np.int64(200)}, .5 - .5 * np.cos(2 * np.pi * i / 200))
    check('hamming', {'size': np.int64(200)}, .54 - .46 * np.cos(2 * np.pi * i / 200))
    f = cut(x, 200, 80).astype(np.float32)
    for points in (200, 256, 301):
        s = np.fft.rfft(f.astype(np.float64), points)
        check('rfft', {'x': f, 'points': np.int64(points)}, s.real, s.imag, atol=2e-5)
    check('power_spectrum', {'frames': f, 'points': np.int64(256)},
          np.abs(np.fft.rfft(f.astype(np.float64), 256))**2, rtol=1e-4, atol=1e-5)
    bank = mel_bank(40, 256, 8000, 20, 4000)
    check('mel_bank', {'bands': np.int64(40), 'points': np.int64(256), 'rate': np.float64(8000),
                       'low': np.float64(20), 'high': np.float64(4000)}, bank)
    power = np.abs(np.fft.rfft(f * (.5 - .5 * np.cos(2 * np.pi * i / 200)), 256))**2
    log_mel = np.log(np.maximum(power @ bank.T, 1e-6))
    check('speech', {'x': x}, log_mel, rtol=1e-5, atol=1e-5)
    z = log_mel.astype(np.float32)
    check('centre', {'x': z}, z - z.mean(0, dtype=np.float64), atol=1e-5)
    d = z - z.mean(0, dtype=np.float64)
    check('standardise', {'x': z}, d / np.sqrt((d * d).mean(0) + 1e-5), atol=1e-5)
    all_ = z - z.mean(dtype=np.float64)
    check('normalise', {'x': z}, all_ / np.sqrt((all_ * all_).mean() + 1e-5), atol=1e-5)
    at = np.arange(len(z))
    check('deltas', {'x': z}, (z[np.minimum(at + 1, len(z) - 1)] - z[np.maximum(at - 1, 0)]) / 2, atol=1e-5)
    for n in (30, 37, 38, 60, 61):
        skip = (len(z) - n) // 2
        want = np.full((n, 40), -9.0)
        for k in range(n):
            if 0 <= k + skip < len(z):
                want[k] = z[k + skip]
        check('fit', {'x': z, 'n': np.int64(n), 'value': np.float32(-9)}, want)


for test in (test_random, test_init, test_losses, test_sequences, test_recurrence, test_optimisers, test_audio):
    test()
finish()
