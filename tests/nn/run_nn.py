#!/usr/bin/python3
"""run_nn.py RVM ROOT -- the layers of stdlib/nn.rly against NumPy.

The functions of nn.rly are entries: each is run with inputs of an .npz file
and its outputs are compared with the definitions below, computed in float64.
Pullbacks of the recurrent layers (grad.rly) are compared with central
differences of the same definitions, on every engine and read back from text."""
import math
import os
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
import checks
from checks import finish, np, rvm

ROOT = sys.argv[2]
LIB = os.path.join(ROOT, 'stdlib/nn.rly')
WRAP = os.path.join(ROOT, 'tests/nn/wrap.rly')
GRAD = os.path.join(ROOT, 'tests/nn/grad.rly')
rng = np.random.RandomState(7)


# ---- running and comparing -------------------------------------------------------

def flat(name, v):
    """Leaves of nested tuples, lists and dicts by dotted path."""
    if isinstance(v, dict):
        parts = v.items()
    elif isinstance(v, (tuple, list)):
        parts = enumerate(v)
    else:
        return {name: np.asarray(v)}
    out = {}
    for key, part in parts:
        out.update(flat('%s.%s' % (name, key), part))
    return out


def run(entry, inputs, specs, file, more=()):
    with tempfile.TemporaryDirectory() as tmp:
        args, sets = [file, '--entry', entry, '--quiet', *more], {}
        for name, v in inputs.items():
            sets.update(flat(name, v))
        np.savez(tmp + '/in.npz', **sets)
        for name, (text, arrays) in specs.items():
            for i, a in enumerate(arrays):
                np.save('%s/%s%d.npy' % (tmp, name, i), a)
                text = text.replace('@%d.' % i, '@%s/%s%d.npy' % (tmp, name, i))
            args += ['--input', '%s=%s' % (name, text)]
        r = rvm('run', *args, '--inputs', tmp + '/in.npz', '--output', tmp + '/out.npz')
        if r.returncode:
            return 'exit %d: %s' % (r.returncode, r.stderr)
        with np.load(tmp + '/out.npz') as z:
            return {k: z[k] for k in z.files}


def differs(got, want):
    if isinstance(got, str):
        return got
    leaves = list(flat('', want).values())          # outputs count from left to right
    names = ['out.%d' % i for i in range(len(leaves))] if len(leaves) > 1 else ['out']
    want = dict(zip(names, leaves))
    if set(got) != set(want):
        return 'outputs %s, not %s' % (sorted(got), sorted(want))
    for k, w in want.items():
        if got[k].shape != w.shape:
            return '%s has shape %s, not %s' % (k, got[k].shape, w.shape)
        if w.size and not np.allclose(got[k], w, rtol=2e-4, atol=2e-5):
            return '%s differs by %g' % (k, np.abs(got[k] - w).max())
    return None


def check(entry, inputs, want, specs={}, file=LIB, more=()):
    why = differs(run(entry, inputs, specs, file, more), want)
    checks.check(entry, why is None, why)


def fails(entry, inputs, text, file=LIB):
    """The run must end with an error that has a place and says text."""
    got = run(entry, inputs, {}, file)
    ok = isinstance(got, str) and got.startswith('exit 1:') and text in got and '.rly:' in got
    checks.check(entry, ok, 'no error with %r but %r' % (text, got))


def f32(*shape):
    return rng.standard_normal(shape).astype('f') * np.float32(0.7)


def i32(high, *shape):
    return rng.randint(0, high, shape).astype('i4')


# ---- definitions -----------------------------------------------------------------

def d64(v):
    return tuple(d64(x) for x in v) if isinstance(v, (tuple, list)) else np.asarray(v, 'f8')


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def linear(x, p):
    return x @ p[0].T + p[1]


def rnn_cell(x, s, p):
    h = np.tanh(linear(x, (p[0], p[2])) + linear(s, (p[1], p[3])))
    return h, h


def gru_cell(x, s, p):
    n = s.shape[1]
    a, b = linear(x, (p[0], p[2])), linear(s, (p[1], p[3]))
    r = sigmoid(a[:, :n] + b[:, :n])
    z = sigmoid(a[:, n:2 * n] + b[:, n:2 * n])
    h = (1 - z) * np.tanh(a[:, 2 * n:] + r * b[:, 2 * n:]) + z * s
    return h, h


def lstm_cell(x, s, p):
    n = s[0].shape[1]
    g = linear(x, (p[0], p[2])) + linear(s[0], (p[1], p[3]))
    i, f, o = sigmoid(g[:, :n]), sigmoid(g[:, n:2 * n]), sigmoid(g[:, 3 * n:])
    c = f * s[1] + i * np.tanh(g[:, 2 * n:3 * n])
    h = o * np.tanh(c)
    return h, (h, c)


def layer(cell, x, s, p):
    ys, s, p = [], d64(s), d64(p)
    for row in d64(x):
        y, s = cell(row, s, p)
        ys.append(y)
    return np.stack(ys) if ys else np.zeros((0, x.shape[1], p[1].shape[1])), s


def tree_lstm(tree, p):
    x, children = tree
    below = [tree_lstm(t, p) for t in children]
    w, u, b, wf, uf, bf = p
    n = len(bf)
    h = sum([s[0] for s in below], np.zeros((1, n)))
    g = x @ w.T + h @ u.T + b
    i, o, new = sigmoid(g[:, :n]), sigmoid(g[:, n:2 * n]), np.tanh(g[:, 2 * n:])
    c = i * new
    for s in below:
        c = c + sigmoid(x @ wf.T + s[0] @ uf.T + bf) * s[1]
    return o * np.tanh(c), c


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def attend(q, k, v, causal):
    out = np.zeros((q.shape[0], q.shape[1], v.shape[2]))
    for b in range(q.shape[0]):
        for i in range(q.shape[1]):
            sees = k.shape[1] - q.shape[1] + i + 1 if causal else k.shape[1]
            w = softmax(k[b, :sees] @ q[b, i] / math.sqrt(q.shape[2]))
            out[b, i] = w @ v[b, :sees]
    return out


def multi_head(x, y, heads, causal, p):
    q, k, v = linear(x, p[0]), linear(y, p[1]), linear(y, p[2])
    parts = [attend(*(np.split(t, heads, axis=2)[h] for t in (q, k, v)), causal)
             for h in range(heads)]
    return linear(np.concatenate(parts, axis=2), p[3])


def norm(x, p):
    m, v = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - m) / np.sqrt(v + 1e-5) * p[0] + p[1]


def gelu(x):
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def encoder(x, heads, causal, act, p, pre):
    def feed(y):
        return linear(act(linear(y, p[1][0])), p[1][1])
    if pre:
        u = norm(x, p[2])
        y = x + multi_head(u, u, heads, causal, p[0])
        return y + feed(norm(y, p[3]))
    y = norm(x + multi_head(x, x, heads, causal, p[0]), p[2])
    return norm(y + feed(y), p[3])


def conv(x, w, stride=1, groups=1):
    pad = w.shape[2] // 2
    xp = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    oh, ow = ((e - 1) // stride + 1 for e in x.shape[2:])
    out = np.zeros((x.shape[0], w.shape[0], oh, ow))
    ci, co = x.shape[1] // groups, w.shape[0] // groups
    for o in range(w.shape[0]):
        g = o // co
        for i in range(oh):
            for j in range(ow):
                win = xp[:, g * ci:(g + 1) * ci, i * stride:i * stride + w.shape[2],
                         j * stride:j * stride + w.shape[3]]
                out[:, o, i, j] = (win * w[o]).sum((1, 2, 3))
    return out


def bn(x, p):
    g, b, m, v = (t[:, None, None] for t in p)
    return (x - m) / np.sqrt(v + 1e-5) * g + b


def relu(x):
    return np.maximum(x, 0)


def residual(x, p, stride=1):
    y = bn(conv(relu(bn(conv(x, p[0], stride), p[1])), p[2]), p[3])
    return relu(y + (bn(conv(x, p[4], stride), p[5]) if stride == 2 else x))


def fbs_layer(x, density, p):
    """All channels, those left out zero; and the numbers of the kept."""
    w, mean, var, shift, phi, rho = p
    gain = relu(np.abs(x).mean((2, 3))[0] @ phi + rho)
    keep = math.ceil(density * len(rho))
    bar = np.sort(gain)[::-1][keep] if keep < len(rho) else 0
    gain = np.where(gain > bar, gain, 0)
    shift = np.where(gain > 0, shift, 0)
    return relu(bn(conv(x, w), (gain, shift, mean, var))), np.nonzero(gain)[0]


# ---- cases -----------------------------------------------------------------------

def bn_weights(c):
    return f32(c), f32(c), f32(c), np.abs(f32(c)) + np.float32(0.5)


def cell_weights(gates, d, h):
    return f32(gates * h, d), f32(gates * h, h), f32(gates * h), f32(gates * h)


def lin(k, d):
    return f32(k, d), f32(k)


def simple_cases():
    x, p = f32(5, 3), lin(4, 3)
    check('linear', dict(x=x, p=p), linear(d64(x), d64(p)))
    check('linear', dict(x=f32(0, 3), p=p), np.zeros((0, 4)))
    fails('linear', dict(x=f32(5, 2), p=p), '2')
    x = f32(2, 5, 3)
    check('linear3', dict(x=x, p=p), linear(d64(x), d64(p)))
    ids, table = i32(9, 6), f32(9, 4)
    check('embedding', dict(ids=ids, table=table), table[ids])
    ids = i32(9, 2, 3)
    check('embedding2', dict(ids=ids, table=table), table[ids])
    check('gelu', dict(x=x), gelu(d64(x)))
    check('silu', dict(x=x), d64(x) * sigmoid(d64(x)))
    w = lin(6, 3), lin(3, 6)
    p = f32(3), f32(3)
    check('norm3', dict(x=x, p=p), norm(d64(x), d64(p)))


def recurrent_cases():
    kinds = (('rnn', rnn_cell, 1), ('gru', gru_cell, 3), ('lstm', lstm_cell, 4))
    for name, cell, gates in kinds:
        state = 's' if name == 'lstm' else 'h'
        for n, b, d, h in ((1, 1, 3, 4), (7, 2, 3, 4), (6, 3, 5, 1), (0, 2, 3, 4)):
            p, x = cell_weights(gates, d, h), f32(n, b, d)
            s = (f32(b, h), f32(b, h)) if name == 'lstm' else f32(b, h)
            ys, last = layer(cell, x, s, p)
            check(name, {'x': x, state: s, 'p': p}, (ys, last))
            if n:
                listed = {'xs': x, state: s, 'p': p}
                check(name + '_list', listed, (list(ys), last))
                check(name + '_cell', {'x': x[0], state: s, 'p': p}, cell(*d64((x[0], s, p)))[1])
        fails(name, {'x': f32(3, 2, 6), state: s, 'p': p}, '6')
    x, s, p = f32(7, 2, 3), (f32(2, 4), f32(2, 4)), cell_weights(4, 3, 4)
    check('lstm_static', dict(x=x, s=s, p=p), layer(lstm_cell, x, s, p), file=WRAP)
    pair, states = (p, cell_weights(4, 4, 5)), (s, (f32(2, 5), f32(2, 5)))
    first = layer(lstm_cell, x, s, p)
    second = layer(lstm_cell, first[0], states[1], pair[1])
    check('lstm2', dict(x=x, s=states, p=pair), (second[0], (first[1], second[1])))
    check('lstm2_list', dict(xs=x, s=states, p=pair),
          (list(second[0]), (first[1], second[1])))
    pair = p, cell_weights(4, 3, 5)
    back = layer(lstm_cell, x[::-1], states[1], pair[1])[0][::-1]
    check('bilstm', dict(x=x, s=states, p=pair), np.concatenate((first[0], back), axis=2))
    x, h, p, fc = f32(2, 3), f32(2, 4), cell_weights(3, 3, 4), lin(5, 4)
    names = dict(zip(('weight_ih', 'weight_hh', 'bias_ih', 'bias_hh'), p))
    check('named', dict(x=x, h=h, gru=names, fc=dict(weight=fc[0], bias=fc[1])),
          linear(gru_cell(*d64((x, h, p)))[0], d64(fc)), file=WRAP)


# ---- pullbacks -------------------------------------------------------------------

def leaves(v):
    return [a for part in v for a in leaves(part)] if isinstance(v, (tuple, list)) else [v]


def slopes(f, arg, g, eps=1e-6):
    """d <g, f(arg)> / d arg by central differences; arg is changed in place and back."""
    if isinstance(arg, (tuple, list)):
        return type(arg)(slopes(f, a, g) for a in arg)
    out = np.zeros_like(arg)
    for at in np.ndindex(arg.shape):
        was, sums = arg[at], []
        for step in (eps, -eps):
            arg[at] = was + step
            sums.append(sum((a * b).sum() for a, b in zip(leaves(f()), leaves(g))))
        arg[at] = was
        out[at] = (sums[0] - sums[1]) / (2 * eps)
    return out


def like(v):
    return type(v)(like(a) for a in v) if isinstance(v, (tuple, list)) else f32(*np.shape(v))


def writable(v):
    return type(v)(writable(a) for a in v) if isinstance(v, (tuple, list)) else np.array(v, 'f8')


def back(name, f, inputs, specs={}, given=None):
    """The pullback of layer name, f(*inputs): at gradients of all it gives."""
    args = [writable(v) for v in (given or inputs).values()]
    g = like(f(*args))
    want = tuple(slopes(lambda: f(*args), a, writable(g)) for a in args)
    for file, more in ((GRAD, ()), (GRAD, ('--engine', 'interp', '--opt', '0')),
                       (GRAD, ('--engine', 'vm', '--opt', '2')), (PRINTED.name, ())):
        check(name + '_back', dict(inputs, g=g), want, specs, file, more)


def backward_cases():
    kinds = (('rnn', rnn_cell, 1, 'h'), ('gru', gru_cell, 3, 'h'), ('lstm', lstm_cell, 4, 's'))
    for name, cell, gates, state in kinds:
        for n, b, d, h in ((1, 1, 3, 4), (5, 2, 3, 4), (0, 2, 3, 4)):
            p, x = cell_weights(gates, d, h), f32(n, b, d)
            s = (f32(b, h), f32(b, h)) if name == 'lstm' else f32(b, h)

            def f(x, s, p):
                ys, last = layer(cell, x, s, p)
                return (list(ys) if isinstance(x, list) else ys), last
            back(name, f, {'x': x, state: s, 'p': p})
            if n:
                back(name + '_list', f, {'xs': list(x), state: s, 'p': p})
    x, s = f32(3, 2, 3), ((f32(2, 4), f32(2, 4)), (f32(2, 5), f32(2, 5)))

    def two(x, s, p):
        first = layer(lstm_cell, x, s[0], p[0])
        second = layer(lstm_cell, first[0], s[1], p[1])
        return second[0], (first[1], second[1])

    def both(x, s, p):
        forth = layer(lstm_cell, x, s[0], p[0])[0]
        return np.concatenate((forth, layer(lstm_cell, x[::-1], s[1], p[1])[0][::-1]), axis=2)
    back('lstm2', two, dict(x=x, s=s, p=(cell_weights(4, 3, 4), cell_weights(4, 4, 5))))
    back('bilstm', both, dict(x=x, s=s, p=(cell_weights(4, 3, 4), cell_weights(4, 3, 5))))


def tree_text(tree, arrays):
    arrays.append(tree[0])
    text = 'Rose(@%d., ' % (len(arrays) - 1)
    for t in tree[1]:
        text += 'Cons(' + tree_text(t, arrays) + ', '
    return text + 'Nil' + ')' * len(tree[1]) + ')'


def tree_cases():
    def make(depth, least=0):
        kids = rng.randint(least, 4) if depth else 0
        return f32(1, 3), [make(depth - 1) for _ in range(kids)]
    h = 4
    p = f32(3 * h, 3), f32(3 * h, h), f32(3 * h), f32(h, 3), f32(h, h), f32(h)
    for depth in (0, 1, 2, 3, 4):
        tree, arrays = make(depth), []
        text = tree_text(tree, arrays)
        check('tree_lstm', dict(p=p), tree_lstm(tree, d64(p)), dict(tree=(text, arrays)))
    for depth in (0, 2):
        tree, arrays = make(depth, 1), []
        text = tree_text(tree, arrays)
        back('tree_lstm', tree_lstm, dict(p=p), dict(tree=(text, arrays)), dict(tree=tree, p=p))


def attention_cases():
    for n, m, causal in ((5, 5, False), (5, 5, True), (2, 6, True), (1, 4, False)):
        q, k, v = f32(3, n, 4), f32(3, m, 4), f32(3, m, 2)
        check('attend', dict(q=q, k=k, v=v, causal=causal), attend(*d64((q, k, v)), causal))
        for heads in (1, 2, 3):
            p = lin(6, 5), lin(6, 4), lin(12, 4), lin(7, 12)
            x, y = f32(2, n, 5), f32(2, m, 4)
            check('multi_head', dict(x=x, y=y, heads=np.int64(heads), causal=causal, p=p),
                  multi_head(*d64((x, y)), heads, causal, d64(p)))
    fails('multi_head', dict(x=x, y=y, heads=np.int64(5), causal=False, p=p), 'reshape')
    check('causal_mask', dict(n=np.int64(3), m=np.int64(5)), np.tri(3, 5, 2, dtype=bool))
    norms = (f32(6), f32(6)), (f32(6), f32(6))
    p = (tuple(lin(6, 6) for _ in range(4)), (lin(7, 6), lin(6, 7))) + norms
    x = f32(2, 5, 6)
    for heads, causal in ((1, False), (2, True)):
        check('post', dict(x=x, heads=np.int64(heads), causal=causal, p=p),
              encoder(d64(x), heads, causal, gelu, d64(p), False), file=WRAP)
    check('pre', dict(x=x, p=p),
          encoder(d64(x), 3, True, lambda t: t * sigmoid(t), d64(p), True), file=WRAP)
    for start in (0, 9):
        at = np.arange(start, start + 5)[:, None] / 10000 ** (np.arange(3) / 3)
        code = np.zeros((5, 6))
        code[:, 0::2], code[:, 1::2] = np.sin(at), np.cos(at)
        check('add_positions', dict(x=x, start=np.int64(start)), x + code)
        a, b = x[:, :, :3], x[:, :, 3:]
        turned = a * np.cos(at) - b * np.sin(at), b * np.cos(at) + a * np.sin(at)
        check('rotate_positions', dict(x=x, start=np.int64(start)), np.concatenate(turned, 2))
    fails('add_positions', dict(x=f32(1, 2, 5), start=np.int64(0)), '5')


def image_cases():
    for n, c, o, h, w in ((1, 3, 4, 5, 6), (2, 2, 3, 7, 4), (1, 1, 1, 1, 1)):
        x, k, p = f32(n, c, h, w), f32(o, c, 3, 3), bn_weights(o)
        y = bn(conv(x, k), d64(p))
        check('conv_bn', dict(x=x, kernel=k, bn=p), y)
        check('conv_bn_relu', dict(x=x, kernel=k, bn=p), relu(y))
        check('conv_bn_relu_half', dict(x=x, kernel=k, bn=p), relu(bn(conv(x, k, 2), d64(p))))
        each = f32(c, 1, 3, 3)
        check('depthwise', dict(x=x, kernel=each), conv(x, each, groups=c))
        sep = each, bn_weights(c), f32(o, c, 1, 1), p
        y = relu(bn(conv(x, each, groups=c), d64(sep[1])))
        check('separable', dict(x=x, p=sep), relu(bn(conv(y, sep[2]), d64(p))))
        r = k, p, f32(c, o, 3, 3), bn_weights(c)
        check('residual', dict(x=x, p=r), residual(x, d64(r)))
        r = k, p, f32(2, o, 3, 3), bn_weights(2), f32(2, c, 1, 1), bn_weights(2)
        check('residual_half', dict(x=x, p=r), residual(x, d64(r), 2))
    x, r = f32(2, 3, 5, 6), (f32(4, 3, 3, 3), bn_weights(4), f32(3, 4, 3, 3), bn_weights(3))
    check('residual_static', dict(x=x, p=r), residual(x, d64(r)), file=WRAP)
    x, p = f32(2, 3, 4, 5), bn_weights(3)
    check('norm_channels', dict(x=x, p=p), bn(x, d64(p)))
    names = dict(zip(('weight', 'bias', 'running_mean', 'running_var'), p))
    check('named_norm', dict(x=x, bn=names), bn(x, d64(p)), file=WRAP)


def fbs_weights(o, c):
    return (f32(o, c, 3, 3), f32(o), np.abs(f32(o)) + np.float32(0.5), f32(o), f32(c, o),
            np.float32(0.3) + f32(o))


def fbs_cases():
    for density in (0.25, 0.5, 0.8, 1.0):
        x, p, q, fc = f32(1, 3, 5, 6), fbs_weights(8, 3), fbs_weights(10, 8), lin(4, 10)
        a, kept_a = fbs_layer(d64(x), density, d64(p))
        b, kept_b = fbs_layer(a, density, d64(q))
        check('fbs_two', dict(x=x, density=np.float32(density), p=p, q=q, fc=fc),
              (kept_a, kept_b, b[:, kept_b], linear(b.mean((2, 3)), d64(fc))), file=WRAP)
    p = fbs_weights(8, 3)
    none = p[:4] + (np.zeros_like(p[4]), np.full_like(p[5], -1))
    inputs = dict(x=x, active=np.arange(3, dtype='i4'), density=np.float32(0.5), p=none)
    check('fbs_conv', inputs, (np.zeros((1, 0, 5, 6)), np.zeros(0)))


PRINTED = tempfile.NamedTemporaryFile(suffix='.rly')
checks.ended('printed', rvm('opt', GRAD, '--passes', 'dce', '--all', '--out', PRINTED.name))
for cases in (simple_cases, recurrent_cases, backward_cases, tree_cases, attention_cases,
              image_cases, fbs_cases):
    cases()
finish()
