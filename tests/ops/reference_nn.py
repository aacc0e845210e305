"""References of products, convolutions, pools, normalisation, losses."""
import math
import numpy as np
from reference import ax, f8, from_plain, is_float, like, on_axis, op, to_plain, dtype

LETTERS = {1: 'W', 2: 'HW', 3: 'DHW'}


def out_type(a, x):
    return dtype(a.out_dtype) if a.out_dtype else x.dtype


def acc(x):
    """Floats in float64; integers in int64, wrapped at the end."""
    return f8(x) if is_float(x) else x.astype(np.int64)


# ---- products ---------------------------------------------------------------------------------------
op('nn.dense')(lambda A, a: np.asarray(acc(A[0]) @ acc(A[1]).T).astype(out_type(a, A[0])))
op('nn.contrib_dense_pack')(lambda A, a: np.einsum('bk,okt->bot', acc(A[0]), acc(A[1])).reshape(len(A[0]), A[1].shape[0] * A[1].shape[2]).astype(out_type(a, A[0])))


@op('nn.matmul')
def _(A, a):
    x = np.swapaxes(A[0], -1, -2) if a.transpose_a else A[0]
    return (acc(x) @ acc(A[1].T if a.transpose_b else A[1])).astype(out_type(a, A[0]))


@op('nn.batch_matmul')
def _(A, a):
    x = np.swapaxes(A[0], 1, 2) if a.transpose_a else A[0]
    y = np.swapaxes(A[1], 1, 2) if a.transpose_b else A[1]
    return (acc(x) @ acc(y)).astype(out_type(a, A[0]))


op('einsum')(lambda A, a: like(np.einsum(a.equation, *[acc(x) for x in A[0]]), A[0][0]))


@op('stft')
def _(A, a):
    x, w = f8(A[0]), f8(A[1])
    before = (a.n_fft - len(w)) // 2
    w = np.pad(w, (before, a.n_fft - len(w) - before))
    x = x[None] if x.ndim == 1 else x
    frames = (x.shape[1] - a.n_fft) // a.hop_length + 1
    cut = np.stack([x[:, i * a.hop_length:i * a.hop_length + a.n_fft] for i in range(frames)], 1) * w
    y = np.fft.fft(cut, axis=-1)
    y = y[..., :a.n_fft // 2 + 1] if a.onesided else y
    y = np.moveaxis(y / math.sqrt(a.n_fft) if a.normalized else y, 1, 2)
    return like(np.stack([y.real, y.imag], -1), A[0])


# ---- convolutions -------------------------------------------------------------------------------------
def per_axis(v, n, default=1):
    v = v if isinstance(v, list) else [v]
    return [default] * n if not v else v * n if len(v) == 1 else v


def paddings(v, n):
    v = v if isinstance(v, list) else [v]
    v = v * n if len(v) == 1 else v
    return (v, v) if len(v) == n else (v[:n], v[n:])


def conv(x, w, strides, before, after, dilation, groups):
    """x (N, C, space), w (O, C / groups, kernel)."""
    n = x.ndim - 2
    x = np.pad(x, [(0, 0), (0, 0)] + list(zip(before, after)))
    size = [(x.shape[2 + i] - (w.shape[2 + i] - 1) * dilation[i] - 1) // strides[i] + 1 for i in range(n)]
    y = np.zeros([x.shape[0], w.shape[0]] + size, x.dtype)
    og, cg = w.shape[0] // groups, w.shape[1]
    for k in np.ndindex(*w.shape[2:]):
        at = tuple(slice(k[i] * dilation[i], k[i] * dilation[i] + (size[i] - 1) * strides[i] + 1, strides[i]) for i in range(n))
        for g in range(groups):
            cut = x[(slice(None), slice(g * cg, (g + 1) * cg)) + at]
            y[:, g * og:(g + 1) * og] += np.einsum('nc...,oc->no...', cut, w[(slice(g * og, (g + 1) * og), slice(None)) + k])
    return y


def conv_transposed(x, w, strides, before, after, dilation, groups, out_pad):
    """x (N, C, space), w (C, O / groups, kernel)."""
    n, og, cg = x.ndim - 2, w.shape[1], x.shape[1] // groups
    full = [(x.shape[2 + i] - 1) * strides[i] + (w.shape[2 + i] - 1) * dilation[i] + 1 + out_pad[i] for i in range(n)]
    y = np.zeros([x.shape[0], og * groups] + full, x.dtype)
    for k in np.ndindex(*w.shape[2:]):
        at = tuple(slice(k[i] * dilation[i], k[i] * dilation[i] + (x.shape[2 + i] - 1) * strides[i] + 1, strides[i]) for i in range(n))
        for g in range(groups):
            part = np.einsum('nc...,co->no...', x[:, g * cg:(g + 1) * cg], w[(slice(g * cg, (g + 1) * cg), slice(None)) + k])
            y[(slice(None), slice(g * og, (g + 1) * og)) + at] += part
    return y[(slice(None), slice(None)) + tuple(slice(before[i], full[i] - after[i]) for i in range(n))]


def conv_op(n):
    def f(A, a):
        x, w = to_plain(acc(A[0]), a.data_layout, 'NC' + LETTERS[n]), to_plain(acc(A[1]), a.kernel_layout, 'OI' + LETTERS[n])
        before, after = paddings(a.padding, n)
        y = conv(x, w, per_axis(a.strides, n), before, after, per_axis(a.dilation, n), a.groups)
        return from_plain(y, 'NC' + LETTERS[n], a.out_layout or a.data_layout).astype(out_type(a, A[0]))
    return f


def transposed_weight(w, a, n):
    """(input, output / groups, kernel): the layout's letters name its first two axes, whichever they are."""
    return to_plain(w, a.kernel_layout, ('IO' if a.kernel_layout[0] == 'I' else 'OI') + LETTERS[n])


def conv_transpose_op(n):
    def f(A, a):
        x = to_plain(acc(A[0]), a.data_layout, 'NC' + LETTERS[n])
        before, after = paddings(a.padding, n)
        y = conv_transposed(x, transposed_weight(acc(A[1]), a, n), per_axis(a.strides, n), before, after,
                            per_axis(a.dilation, n), a.groups, per_axis(a.output_padding, n, 0))
        return from_plain(y, 'NC' + LETTERS[n], a.out_layout or a.data_layout).astype(out_type(a, A[0]))
    return f


for d in (1, 2, 3):
    op('nn.conv%dd' % d)(conv_op(d))
    op('nn.conv%dd_transpose' % d)(conv_transpose_op(d))
op('nn.contrib_conv2d_NCHWc', 'nn.contrib_depthwise_conv2d_NCHWc')(conv_op(2))


@op('nn.conv2d_backward_weight')
def _(A, a):
    dy, x, g = f8(A[0]), f8(A[1]), a.groups
    before, after = paddings(a.padding, 2)
    s, d = per_axis(a.strides, 2), per_axis(a.dilation, 2)
    x = np.pad(x, [(0, 0), (0, 0)] + list(zip(before, after)))
    og, cg = dy.shape[1] // g, x.shape[1] // g
    dw = np.zeros([dy.shape[1], cg] + a.kernel_size)
    for k in np.ndindex(*a.kernel_size):
        at = tuple(slice(k[i] * d[i], k[i] * d[i] + (dy.shape[2 + i] - 1) * s[i] + 1, s[i]) for i in range(2))
        for j in range(g):
            cut = x[(slice(None), slice(j * cg, (j + 1) * cg)) + at]
            dw[(slice(j * og, (j + 1) * og), slice(None)) + k] = np.einsum('nohw,nchw->oc', dy[:, j * og:(j + 1) * og], cut)
    return like(dw, A[0])


# ---- pools -----------------------------------------------------------------------------------------------
def windows(a, space, n):
    """For each output index along every axis: the window's indices inside data, and how many are
    inside data or its padding.  With ceil_mode the last window may reach beyond, but must start
    in data or in the padding before it."""
    k, s, d = per_axis(a.pool_size, n), per_axis(a.strides, n), per_axis(a.dilation, n)
    before, after = paddings(a.padding, n)
    out = []
    for i in range(n):
        room = space[i] + before[i] + after[i] - (k[i] - 1) * d[i] - 1
        size = room // s[i] + 1
        if a.ceil_mode:
            size = min(-(-room // s[i]) + 1, -(-(space[i] + before[i]) // s[i]))
        taps = [[q * s[i] - before[i] + t * d[i] for t in range(k[i])] for q in range(size)]
        out.append([([p for p in w if 0 <= p < space[i]], sum(p < space[i] + after[i] for p in w)) for w in taps])
    return out


def pool_op(n, mean):
    def f(A, a):
        plain = 'NC' + LETTERS[n]
        x = to_plain(A[0], a.layout, plain)
        at = windows(a, x.shape[2:], n)
        y = np.zeros(x.shape[:2] + tuple(len(v) for v in at), f8(x).dtype if is_float(x) else x.dtype)
        for q in np.ndindex(*y.shape[2:]):
            cut = x[np.ix_(range(x.shape[0]), range(x.shape[1]), *[at[i][q[i]][0] for i in range(n)])]
            axes = tuple(range(2, 2 + n))
            if mean:
                count = math.prod(at[i][q[i]][1] for i in range(n)) if a.count_include_pad else math.prod(cut.shape[2:])
                y[(slice(None), slice(None)) + q] = f8(cut).sum(axes) / max(count, 1)
            else:
                y[(slice(None), slice(None)) + q] = cut.max(axes)
        return like(from_plain(y, plain, a.out_layout or a.layout), A[0])
    return f


for d in (1, 2, 3):
    op('nn.max_pool%dd' % d)(pool_op(d, False))
    op('nn.avg_pool%dd' % d)(pool_op(d, True))


def pool_grad(mean):
    def f(A, a):
        dy, x = f8(A[0]), f8(A[1])
        dx = np.zeros_like(x)
        at = windows(a, x.shape[2:], 2)
        for n, c, q, r in np.ndindex(*dy.shape):
            cells = [(p, s) for p in at[0][q][0] for s in at[1][r][0]]
            if mean:
                for p, s in cells:
                    dx[n, c, p, s] += dy[n, c, q, r] / (at[0][q][1] * at[1][r][1] if a.count_include_pad else len(cells))
            else:
                best = max(cells, key=lambda v: x[n, c, v[0], v[1]])
                dx[n, c, best[0], best[1]] += dy[n, c, q, r]
        return like(dx, A[1])
    return f


op('nn.max_pool2d_grad')(pool_grad(False))
op('nn.avg_pool2d_grad')(pool_grad(True))


def adaptive(n, f, whole=False):
    def g(A, a):
        plain = 'NC' + LETTERS[n]
        x = to_plain(f8(A[0]), a.layout, plain)
        size = [1] * n if whole else per_axis(a.output_size, n) if a.output_size else list(x.shape[2:])
        y = np.zeros(list(x.shape[:2]) + size)
        for q in np.ndindex(*size):
            at = tuple(slice(q[i] * x.shape[2 + i] // size[i], -(-(q[i] + 1) * x.shape[2 + i] // size[i])) for i in range(n))
            y[(slice(None), slice(None)) + q] = f(x[(slice(None), slice(None)) + at], axis=tuple(range(2, 2 + n)))
        return like(from_plain(y, plain, a.layout), A[0])
    return g


for d in (1, 2, 3):
    op('nn.adaptive_avg_pool%dd' % d)(adaptive(d, np.mean))
    op('nn.adaptive_max_pool%dd' % d)(adaptive(d, np.max))
op('nn.global_avg_pool2d')(adaptive(2, np.mean, True))
op('nn.global_max_pool2d')(adaptive(2, np.max, True))


# ---- normalisation ------------------------------------------------------------------------------------------
def softmax(x, axis, log=False):
    x = f8(x)
    x = x - x.max(axis, keepdims=True, initial=-np.inf)
    s = np.exp(x).sum(axis, keepdims=True)
    return x - np.log(s) if log else np.exp(x) / s


op('nn.softmax', 'nn.fast_softmax')(lambda A, a: like(softmax(A[0], a.axis), A[0]))
op('nn.log_softmax')(lambda A, a: like(softmax(A[0], a.axis, True), A[0]))


def normalised(x, over, eps):
    return (x - x.mean(over, keepdims=True)) / np.sqrt(x.var(over, keepdims=True) + eps)


def affine(y, A, a, axis):
    y = y * on_axis(f8(A[1]), y.ndim, axis) if a.scale else y
    return y + on_axis(f8(A[2]), y.ndim, axis) if a.center else y


@op('nn.layer_norm')
def _(A, a):
    return like(affine(normalised(f8(A[0]), ax(a.axis, A[0].ndim), a.epsilon), A, a, a.axis), A[0])


@op('nn.batch_norm')
def _(A, a):
    x, r = f8(A[0]), A[0].ndim
    y = (x - on_axis(f8(A[3]), r, a.axis)) / np.sqrt(on_axis(f8(A[4]), r, a.axis) + a.epsilon)
    return [like(affine(y, A, a, a.axis), A[0]), A[3], A[4]]


@op('nn.instance_norm')
def _(A, a):
    over = tuple(i for i in range(1, A[0].ndim) if i != ax(a.axis, A[0].ndim))
    return like(affine(normalised(f8(A[0]), over, a.epsilon), A, a, a.axis), A[0])


@op('nn.group_norm')
def _(A, a):
    x = np.moveaxis(f8(A[0]), a.axis, 1)
    g = x.reshape((x.shape[0], a.num_groups, x.shape[1] // a.num_groups) + x.shape[2:])
    y = np.moveaxis(normalised(g, tuple(range(2, g.ndim)), a.epsilon).reshape(x.shape), 1, a.axis)
    return like(affine(y, A, a, a.axis), A[0])


@op('nn.l2_normalize')
def _(A, a):
    x = f8(A[0])
    return like(x / np.sqrt(np.maximum((x * x).sum(tuple(a.axis) if a.axis else None, keepdims=True), a.eps)), A[0])


@op('nn.lrn')
def _(A, a):
    x, half = np.moveaxis(f8(A[0]), a.axis, 0), a.size // 2
    square = np.pad(x * x, [(half, half)] + [(0, 0)] * (x.ndim - 1))
    s = sum(square[i:i + x.shape[0]] for i in range(a.size))
    return like(np.moveaxis(x / (a.bias + a.alpha / a.size * s) ** a.beta, 0, a.axis), A[0])


# ---- losses ----------------------------------------------------------------------------------------------------
op('nn.cross_entropy')(lambda A, a: like(-(np.log(f8(A[0])) * f8(A[1])).sum() / A[0].shape[0], A[0]))
op('nn.cross_entropy_with_logits')(lambda A, a: like(-(f8(A[0]) * f8(A[1])).sum() / A[0].shape[0], A[0]))


@op('nn.nll_loss')
def _(A, a):
    p, t, w = f8(A[0]), A[1], f8(A[2])
    loss, weight = np.zeros(t.shape), np.zeros(t.shape)
    for at in np.ndindex(*t.shape):
        c = int(t[at])
        if c != a.ignore_index:
            weight[at] = w[c]
            loss[at] = -w[c] * p[(at[0], c) + at[1:]]
    y = {'mean': loss.sum() / weight.sum(), 'sum': loss.sum(), 'none': loss}[a.reduction]
    return like(y, A[0])
