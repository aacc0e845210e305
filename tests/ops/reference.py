"""What each operator means, in NumPy: arithmetic, reductions, creation, shapes, indexing.

Written from the language's semantics, not from the compiler's code.  REF maps a name to
f(args, a): args are arrays, or lists of arrays for tuple arguments; a holds the attributes with
the record's defaults filled in.  It gives an array or a list of arrays whose element types are
those of the result (float64 arithmetic inside, rounded once at the end).  Bfloat16 values travel
as float32."""
import math
import numpy as np

REF = {}


def op(*names):
    def put(f):
        for n in names:
            REF[n] = f
        return f
    return put


def dtype(name):
    return np.dtype({'bfloat16': 'float32'}.get(name, name))


def f8(x):
    return np.asarray(x).astype(np.float64)


def like(y, x):
    return np.asarray(y).astype(x.dtype)


def cast(x, t):
    """Floats to integers truncate and saturate, NaN gives 0; anything to bool is x != 0."""
    x, t = np.asarray(x), dtype(t)
    if t.kind == 'b':
        return x != 0
    if x.dtype.kind == 'f' and t.kind in 'iu':
        i = np.iinfo(t)
        flat = [0 if math.isnan(v) else i.max if v >= i.max else i.min if v <= i.min else int(v) for v in x.ravel().tolist()]
        return np.array(flat, dtype=t).reshape(x.shape)
    return x.astype(t)


def is_float(x):
    return x.dtype.kind == 'f'


def ax(axis, rank):
    return axis + rank if axis < 0 else axis


def exact(f, *xs):
    """f over Python integers, element by element, wrapped to the first argument's type."""
    t, xs = xs[0].dtype, np.broadcast_arrays(*xs)
    mask, out = (1 << (t.itemsize * 8)) - 1, []
    for v in zip(*[x.ravel().tolist() for x in xs]):
        out.append(int(f(*v)) & mask)
    return np.array(out, dtype='u%d' % t.itemsize).astype(t).reshape(xs[0].shape)


# ---- one operand -------------------------------------------------------------------------------
def erf(x):
    return np.array([math.erf(v) for v in f8(x).ravel()], np.float64).reshape(np.shape(x))


UNARY = {
    'sqrt': np.sqrt, 'rsqrt': lambda x: 1 / np.sqrt(x), 'exp': np.exp, 'log': np.log, 'log2': np.log2, 'log10': np.log10,
    'sin': np.sin, 'cos': np.cos, 'tan': np.tan, 'sinh': np.sinh, 'cosh': np.cosh, 'tanh': np.tanh, 'asin': np.arcsin,
    'acos': np.arccos, 'atan': np.arctan, 'asinh': np.arcsinh, 'acosh': np.arccosh, 'atanh': np.arctanh,
    'sigmoid': lambda x: 1 / (1 + np.exp(-x)), 'erf': erf, 'fast_exp': np.exp, 'fast_tanh': np.tanh, 'fast_erf': erf}
for name, f in UNARY.items():
    op(name)(lambda A, a, f=f: like(f(f8(A[0])), A[0]))
for name, f in {'floor': np.floor, 'ceil': np.ceil, 'trunc': np.trunc, 'round': np.round}.items():
    op(name)(lambda A, a, f=f: like(f(A[0]), A[0]) if is_float(A[0]) else A[0])
for name, f in {'negative': np.negative, 'abs': np.abs, 'sign': np.sign, 'logical_not': np.logical_not, 'bitwise_not': np.invert}.items():
    op(name)(lambda A, a, f=f: f(A[0]))
for name, f in {'isnan': np.isnan, 'isinf': np.isinf, 'isfinite': np.isfinite}.items():
    op(name)(lambda A, a, f=f: f(f8(A[0])))
op('copy', 'debug', 'on_device', 'device_copy', 'stop_gradient', 'annotation.stop_fusion', 'annotation.cast_hint',
   'annotation.checkpoint', 'annotation.bitpack_start', 'annotation.bitpack_end', 'annotation.compiler_begin',
   'annotation.compiler_end')(lambda A, a: A[0])
op('nn.dropout')(lambda A, a: [A[0], np.ones_like(A[0])])
op('nn.relu')(lambda A, a: np.maximum(A[0], A[0].dtype.type(0)))
op('nn.leaky_relu')(lambda A, a: like(np.where(A[0] > 0, f8(A[0]), f8(A[0]) * a.alpha), A[0]))
op('cast')(lambda A, a: cast(A[0], a.dtype))
op('cast_like')(lambda A, a: cast(A[0], A[1].dtype))


@op('reinterpret')
def _(A, a):
    if a.dtype == 'bfloat16':
        return (A[0].view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return A[0].view(a.dtype)


@op('fixed_point_multiply')
def _(A, a):
    left, right = max(a.shift, 0), max(-a.shift, 0) + 31
    return exact(lambda x: ((x << left) * a.multiplier + (1 << (right - 1))) >> right, A[0])


@op('clip')
def _(A, a):
    x = A[0]
    if is_float(x):
        return like(np.clip(x, x.dtype.type(a.a_min), x.dtype.type(a.a_max)), x)
    return exact(lambda v: int(min(max(v, a.a_min), a.a_max)), x)


def on_axis(v, rank, axis):
    return v.reshape([-1 if i == ax(axis, rank) else 1 for i in range(rank)])


op('nn.bias_add')(lambda A, a: A[0] + on_axis(A[1], A[0].ndim, a.axis))
op('nn.prelu')(lambda A, a: np.where(A[0] > 0, A[0], A[0] * on_axis(A[1], A[0].ndim, a.axis)))


# ---- two operands ---------------------------------------------------------------------------------
def trunc_div(a, b):
    q = abs(a) // abs(b)
    return q if (a < 0) == (b < 0) else -q


def both(on_floats, on_ints):
    def f(A, a):
        x, y = A
        if is_float(x):
            return like(on_floats(f8(x), f8(y)), x)
        return exact(on_ints, x, y)
    return f


op('divide')(both(np.divide, trunc_div))
op('trunc_divide')(both(lambda x, y: np.trunc(x / y), trunc_div))
op('floor_divide')(both(lambda x, y: np.floor(x / y), lambda x, y: x // y))
op('mod', 'trunc_mod')(both(np.fmod, lambda x, y: x - trunc_div(x, y) * y))
op('floor_mod')(both(np.mod, lambda x, y: x % y))
op('power')(both(np.power, lambda x, y: x ** y))
op('subtract')(lambda A, a: A[0] - A[1])
for name, f in {'add': np.add, 'multiply': np.multiply, 'maximum': np.maximum, 'minimum': np.minimum, 'less': np.less,
                'less_equal': np.less_equal, 'greater': np.greater, 'greater_equal': np.greater_equal, 'equal': np.equal,
                'not_equal': np.not_equal, 'logical_and': np.logical_and, 'logical_or': np.logical_or,
                'logical_xor': np.logical_xor, 'bitwise_and': np.bitwise_and, 'bitwise_or': np.bitwise_or,
                'bitwise_xor': np.bitwise_xor}.items():
    op(name)(lambda A, a, f=f: f(A[0], A[1]))
op('left_shift')(lambda A, a: exact(lambda x, y: x << y, *A))
op('right_shift')(lambda A, a: exact(lambda x, y: x >> y, *A))
op('where')(lambda A, a: np.where(A[0] != 0, A[1], A[2]))


# ---- reductions ----------------------------------------------------------------------------------------
def axes(x, a):
    if a.axis is None or a.axis == []:
        return tuple(range(x.ndim))
    got = [ax(i, x.ndim) for i in (a.axis if isinstance(a.axis, list) else [a.axis])]
    return tuple(i for i in range(x.ndim) if (i in got) != bool(a.exclude))


def wide(x):
    """Where sums and products are kept before they are rounded or wrapped."""
    return f8(x) if is_float(x) else x


@op('sum')
def _(A, a):
    x = A[0]
    return like(np.sum(wide(x), axis=axes(x, a), keepdims=a.keepdims, dtype=wide(x).dtype), x)


@op('prod')
def _(A, a):
    x = A[0]
    return like(np.prod(wide(x), axis=axes(x, a), keepdims=a.keepdims, dtype=wide(x).dtype), x)


@op('mean')
def _(A, a):
    x, d = A[0], axes(A[0], a)
    if is_float(x):
        n = math.prod(x.shape[i] for i in d)
        return like(np.sum(f8(x), axis=d, keepdims=a.keepdims) / np.float64(n), x)
    n = math.prod(x.shape[i] for i in d)
    return exact(lambda s: trunc_div(s, n), np.sum(x, axis=d, keepdims=a.keepdims, dtype=x.dtype))


def extreme(f, least):
    def g(A, a):
        x = A[0]
        if x.dtype.kind == 'b':
            start = not least
        elif is_float(x):
            start = -np.inf if least else np.inf
        else:
            start = np.iinfo(x.dtype).min if least else np.iinfo(x.dtype).max
        return f(x, axis=axes(x, a), keepdims=a.keepdims, initial=start)
    return g


op('max')(extreme(np.max, True))
op('min')(extreme(np.min, False))
op('all')(lambda A, a: np.all(A[0], axis=axes(A[0], a), keepdims=a.keepdims))
op('any')(lambda A, a: np.any(A[0], axis=axes(A[0], a), keepdims=a.keepdims))


def arg(f):
    def g(A, a):
        x, d = A[0], axes(A[0], a)
        keep = [i for i in range(x.ndim) if i not in d]
        t = np.transpose(x, keep + list(d)).reshape([x.shape[i] for i in keep] + [math.prod(x.shape[i] for i in d)])
        if t.size == 0:
            r = np.zeros(t.shape[:-1])
        elif a.select_last_index:
            r = t.shape[-1] - 1 - f(t[..., ::-1], axis=-1)
        else:
            r = f(t, axis=-1)
        if a.keepdims:
            r = np.reshape(r, [1 if i in d else x.shape[i] for i in range(x.ndim)])
        return np.asarray(r).astype(np.int32)
    return g


op('argmax')(arg(np.argmax))
op('argmin')(arg(np.argmin))


@op('variance')
def _(A, a):
    x, d = f8(A[0]), axes(A[0], a)
    n = math.prod(x.shape[i] for i in d) - bool(a.unbiased)
    return like(np.sum((x - f8(A[1])) ** 2, axis=d, keepdims=a.keepdims) / np.float64(n), A[0])


def collapse(x, shape):
    y = wide(x) if x.dtype.kind != 'b' else x
    add = np.sum if x.dtype.kind != 'b' else np.any
    while y.ndim > len(shape):
        y = add(y, axis=0) if x.dtype.kind == 'b' else np.sum(y, axis=0, dtype=y.dtype)
    for i, n in enumerate(shape):
        if n == 1 and y.shape[i] != 1:
            y = add(y, axis=i, keepdims=True) if x.dtype.kind == 'b' else np.sum(y, axis=i, keepdims=True, dtype=y.dtype)
    return like(y, x)


op('collapse_sum_like')(lambda A, a: collapse(A[0], A[1].shape))
op('collapse_sum_to')(lambda A, a: collapse(A[0], tuple(A[1])))


def scan(f, start):
    def g(A, a):
        x = A[0]
        t = dtype(a.dtype) if a.dtype else np.dtype(np.int32) if x.dtype.kind == 'b' else x.dtype
        x = x.astype(t)
        x, axis = (x.reshape(-1), 0) if a.axis is None else (x, ax(a.axis, x.ndim))
        y = f(wide(x), axis=axis, dtype=wide(x).dtype)
        if a.exclusive:
            y = np.roll(y, 1, axis)
            y[tuple([slice(None)] * axis + [slice(0, 1)])] = start
        return like(y, x)
    return g


op('cumsum')(scan(np.cumsum, 0))
op('cumprod')(scan(np.cumprod, 1))


@op('linear_recurrence')
def _(A, a):
    f, x = np.moveaxis(wide(A[0]), a.axis, 0), np.moveaxis(wide(A[1]), a.axis, 0)
    out = [np.zeros_like(x[:1].sum(0))]
    for k in range(len(x)):
        out.append(f[k] * out[-1] + x[k])
    y = np.array(out[:-1] if a.exclusive else out[1:]).reshape(x.shape)
    return like(np.moveaxis(y, 0, a.axis), A[1])



# ---- creation -------------------------------------------------------------------------------------------
op('broadcast_to')(lambda A, a: np.broadcast_to(A[0], a.shape))
op('broadcast_to_like')(lambda A, a: np.broadcast_to(A[0], A[1].shape))
op('dyn.broadcast_to')(lambda A, a: np.broadcast_to(A[0], tuple(A[1])))
op('zeros')(lambda A, a: np.zeros(a.shape, dtype(a.dtype or 'float32')))
op('ones')(lambda A, a: np.ones(a.shape, dtype(a.dtype or 'float32')))
op('full')(lambda A, a: np.full(a.shape, cast(A[0], a.dtype or A[0].dtype)))
op('dyn.zeros')(lambda A, a: np.zeros(tuple(A[0]), dtype(a.dtype or 'float32')))
op('dyn.ones')(lambda A, a: np.ones(tuple(A[0]), dtype(a.dtype or 'float32')))
op('dyn.full')(lambda A, a: np.full(tuple(A[1]), cast(A[0], a.dtype or A[0].dtype)))
op('zeros_like')(lambda A, a: np.zeros_like(A[0]))
op('ones_like')(lambda A, a: np.ones_like(A[0]))
op('full_like')(lambda A, a: np.full(A[0].shape, cast(A[1], A[0].dtype)))
op('dim')(lambda A, a: np.array(A[0].shape[int(A[1])], np.int64))
op('shape_of')(lambda A, a: np.array(A[0].shape, dtype(a.dtype or 'int32')))
op('ndarray_size')(lambda A, a: np.array(A[0].size, dtype(a.dtype or 'int32')))


@op('arange')
def _(A, a):
    start, stop, step = (v.item() for v in A)
    t = dtype(a.dtype) if a.dtype else A[0].dtype
    n = max(0, math.ceil((stop - start) / step))
    return np.array([start + i * step for i in range(n)]).astype(t)


def one_hot(indices, on, off, depth, a):
    t = dtype(a.dtype or 'float32')
    hot = indices[..., None] == np.arange(depth)
    axis = indices.ndim if a.axis == -1 else a.axis
    return np.moveaxis(np.where(hot, cast(on, t), cast(off, t)), -1, axis)


op('one_hot')(lambda A, a: one_hot(*A, a.depth, a))
op('dyn.one_hot')(lambda A, a: one_hot(*A[:3], int(A[3]), a))
op('trilu')(lambda A, a: (np.triu if a.upper else np.tril)(A[0], int(A[1])))
op('meshgrid')(lambda A, a: list(np.meshgrid(*A[0], indexing=a.indexing)))
op('invert_permutation')(lambda A, a: np.argsort(A[0]).astype(A[0].dtype))
op('unravel_index')(lambda A, a: np.array(np.unravel_index(A[0], tuple(A[1]))).astype(A[0].dtype).reshape((len(A[1]),) + A[0].shape))


@op('matrix_set_diag')
def _(A, a):
    y, d = A[0].copy(), A[1]
    rows, cols = y.shape[-2:]
    if a.k1 == a.k2:
        d = d[..., None, :]
    for k in range(a.k1, a.k2 + 1):
        i = np.arange(max(-k, 0), min(rows, cols - k))
        right = a.super_diag_right_align if k >= 0 else a.sub_diag_right_align
        first = d.shape[-1] - len(i) if right else 0
        y[..., i, i + k] = d[..., a.k2 - k, first:first + len(i)]
    return y


# ---- shapes --------------------------------------------------------------------------------------------------
def reshape_to(shape, codes):
    out, left, i, codes = [], list(shape), 0, list(codes)
    while i < len(codes):
        c = codes[i]
        if c == 0:
            out.append(left.pop(0))
        elif c == -1:
            out.append(-1)
            if left:
                left.pop(0)
        elif c == -2:
            out, left = out + left, []
        elif c == -3:
            out.append(left.pop(0) * left.pop(0))
        elif c == -4:
            n, (p, q) = left.pop(0), codes[i + 1:i + 3]
            out += [n // q if p == -1 else p, n // p if q == -1 else q]
            i += 2
        else:
            out.append(c)
            if left:
                left.pop(0)
        i += 1
    if -1 in out:
        rest = math.prod(v for v in out if v != -1)
        out[out.index(-1)] = math.prod(shape) // rest if rest else 0
    return out


op('reshape')(lambda A, a: A[0].reshape(reshape_to(A[0].shape, a.newshape)))
op('dyn.reshape')(lambda A, a: A[0].reshape(reshape_to(A[0].shape, A[1].tolist())))
op('contrib_reverse_reshape')(lambda A, a: A[0].reshape(reshape_to(A[0].shape[::-1], a.newshape[::-1])[::-1]))


@op('reshape_like')
def _(A, a):
    x, y = A
    le = x.ndim if a.lhs_end is None else ax(a.lhs_end, x.ndim)
    re = y.ndim if a.rhs_end is None else ax(a.rhs_end, y.ndim)
    return x.reshape(x.shape[:ax(a.lhs_begin, x.ndim)] + y.shape[ax(a.rhs_begin, y.ndim):re] + x.shape[le:])


op('nn.batch_flatten')(lambda A, a: A[0].reshape(A[0].shape[0], math.prod(A[0].shape[1:])))


def expand(x, axis, n):
    axis = axis + x.ndim + 1 if axis < 0 else axis
    return x.reshape(x.shape[:axis] + (1,) * n + x.shape[axis:])


op('expand_dims')(lambda A, a: expand(A[0], a.axis, a.num_newaxis))
op('dyn.expand_dims')(lambda A, a: expand(A[0], int(A[1].reshape(-1)[0]), a.num_newaxis))
op('squeeze')(lambda A, a: np.squeeze(A[0]) if a.axis is None else np.squeeze(A[0], tuple(a.axis)))
op('dyn.squeeze')(lambda A, a: np.squeeze(A[0], tuple(A[1].tolist())))
op('transpose')(lambda A, a: np.transpose(A[0], a.axes or None))
op('reverse')(lambda A, a: np.flip(A[0], a.axis))
op('concatenate')(lambda A, a: np.concatenate(A[0], a.axis))
op('stack')(lambda A, a: np.stack(A[0], a.axis))
op('split')(lambda A, a: list(np.split(A[0], a.indices_or_sections, a.axis)))
op('tile')(lambda A, a: np.tile(A[0], a.reps))
op('dyn.tile')(lambda A, a: np.tile(A[0], A[1]))
op('repeat')(lambda A, a: np.repeat(A[0], a.repeats, a.axis))


def slices(x, begin, end, strides, by_size=False, axis=None):
    at = [slice(None)] * x.ndim
    for j, i in enumerate(axis if axis is not None else range(len(begin))):
        b, e = begin[j], end[j]
        s = 1 if by_size or not len(strides) else strides[j if len(strides) > 1 else 0]
        if by_size:
            b = ax(b, x.shape[i])
            e = x.shape[i] if e == -1 else b + e
        at[i] = slice(b, e, s)
    return tuple(at)


op('strided_slice')(lambda A, a: A[0][slices(A[0], a.begin, a.end, a.strides or [1], a.slice_mode == 'size',
                                             None if not a.axes else a.axes)])
op('dyn.strided_slice')(lambda A, a: A[0][slices(A[0], *[v.tolist() for v in A[1:]])])


@op('strided_set')
def _(A, a):
    y = A[0].copy()
    y[slices(y, *[v.tolist() for v in A[2:]])] = A[1]
    return y


@op('slice_like')
def _(A, a):
    which = [ax(i, A[0].ndim) for i in a.axes] if a.axes else range(A[1].ndim)
    return A[0][tuple(slice(0, A[1].shape[i]) if i in which else slice(None) for i in range(A[0].ndim))]


def pad(x, width, value, mode):
    width = np.asarray(width).reshape(-1, 2).tolist()
    return np.pad(x, width, constant_values=value) if mode == 'constant' else np.pad(x, width, mode=mode)


op('nn.pad')(lambda A, a: pad(A[0], a.pad_width, cast(A[1], A[0].dtype), a.pad_mode))
op('dyn.nn.pad')(lambda A, a: pad(A[0], A[1], cast(A[2], A[0].dtype), a.pad_mode))
op('nn.mirror_pad')(lambda A, a: pad(A[0], a.pad_width, 0, a.mode.lower()))


def split_layout(text):
    """[(letter, inner size or 0)] of a layout."""
    out, n = [], ''
    for c in text:
        if c.isdigit():
            n += c
        else:
            out.append((c.upper(), int(n) if c.islower() else 0))
            n = ''
    return out


def to_plain(x, layout, plain):
    parts = split_layout(layout)
    order = [i for c in plain for i in sorted((i for i, p in enumerate(parts) if p[0] == c), key=lambda i: parts[i][1] != 0)]
    shape = [math.prod(x.shape[i] for i, p in enumerate(parts) if p[0] == c) for c in plain]
    return np.transpose(x, order).reshape(shape)


def from_plain(x, plain, layout):
    parts = split_layout(layout)
    inner = {c: n for c, n in parts if n}
    x = np.pad(x, [(0, -x.shape[i] % inner.get(c, 1)) for i, c in enumerate(plain)])
    shape, order = [], []
    for i, c in enumerate(plain):
        order.append((c, 0))
        shape.append(x.shape[i] // inner.get(c, 1))
        if c in inner:
            order.append((c, inner[c]))
            shape.append(inner[c])
    return np.transpose(x.reshape(shape), [order.index(p) for p in parts])


@op('layout_transform')
def _(A, a):
    plain = ''.join(c for c in a.dst_layout if c.isupper())
    return from_plain(to_plain(A[0], a.src_layout, plain), plain, a.dst_layout)


@op('nn.space_to_depth')
def _(A, a):
    x, b = to_plain(A[0], a.layout, 'NCHW'), a.block_size
    n, c, h, w = x.shape
    x = x.reshape(n, c, h // b, b, w // b, b)
    x = np.transpose(x, (0, 3, 5, 1, 2, 4) if (a.mode or 'DCR') == 'DCR' else (0, 1, 3, 5, 2, 4))
    return from_plain(x.reshape(n, c * b * b, h // b, w // b), 'NCHW', a.layout)


@op('nn.depth_to_space')
def _(A, a):
    x, b = to_plain(A[0], a.layout, 'NCHW'), a.block_size
    n, c, h, w = x.shape
    c //= b * b
    if (a.mode or 'DCR') == 'DCR':
        x = np.transpose(x.reshape(n, b, b, c, h, w), (0, 3, 4, 1, 5, 2))
    else:
        x = np.transpose(x.reshape(n, c, b, b, h, w), (0, 1, 4, 2, 5, 3))
    return from_plain(x.reshape(n, c, h * b, w * b), 'NCHW', a.layout)


@op('nn.space_to_batch_nd')
def _(A, a):
    x, k = A[0], len(a.block_shape)
    width = [(0, 0)] + np.reshape(a.paddings, (-1, 2)).tolist() + [(0, 0)] * (x.ndim - 1 - k)
    x = np.pad(x, width, constant_values=cast(np.float64(a.pad_value), x.dtype))
    n, space, rest = x.shape[0], x.shape[1:1 + k], x.shape[1 + k:]
    shape = [n]
    for s, b in zip(space, a.block_shape):
        shape += [s // b, b]
    x = x.reshape(shape + list(rest))
    order = [2 + 2 * i for i in range(k)] + [0] + [1 + 2 * i for i in range(k)] + list(range(1 + 2 * k, x.ndim))
    return np.transpose(x, order).reshape((n * math.prod(a.block_shape),) + tuple(s // b for s, b in zip(space, a.block_shape)) + rest)


@op('nn.batch_to_space_nd')
def _(A, a):
    x, k = A[0], len(a.block_shape)
    n, space, rest = x.shape[0] // math.prod(a.block_shape), x.shape[1:1 + k], x.shape[1 + k:]
    x = x.reshape(list(a.block_shape) + [n] + list(space) + list(rest))
    order = [k]
    for i in range(k):
        order += [k + 1 + i, i]
    x = np.transpose(x, order + list(range(2 * k + 1, x.ndim)))
    x = x.reshape((n,) + tuple(s * b for s, b in zip(space, a.block_shape)) + rest)
    crop = np.reshape(a.crops, (-1, 2)).tolist()
    return x[(slice(None),) + tuple(slice(b, x.shape[1 + i] - e) for i, (b, e) in enumerate(crop))]


@op('nn.dilate')
def _(A, a):
    x = A[0]
    y = np.full([max(0, (n - 1) * s + 1) for n, s in zip(x.shape, a.strides)], cast(np.float64(a.dilation_value), x.dtype), dtype=x.dtype)
    y[tuple(slice(None, None, s) for s in a.strides)] = x
    return y


@op('sequence_mask')
def _(A, a):
    x = np.moveaxis(A[0], a.axis, 0)
    x = x if a.axis == 0 else x
    steps = np.arange(x.shape[0]).reshape([-1] + [1] * (x.ndim - 1))
    y = np.where(steps < A[1].reshape([1, -1] + [1] * (x.ndim - 2)), x, cast(np.float64(a.mask_value), x.dtype))
    return np.moveaxis(y, 0, a.axis)


@op('reverse_sequence')
def _(A, a):
    x, y = A[0], A[0].copy()
    s, b = ax(a.seq_axis, x.ndim), ax(a.batch_axis, x.ndim)
    for i, n in enumerate(A[1].tolist()):
        at, back = [slice(None)] * x.ndim, [slice(None)] * x.ndim
        at[b] = back[b] = slice(i, i + 1)
        n = min(n, x.shape[s])
        at[s], back[s] = slice(0, n), slice(0, n)
        y[tuple(at)] = np.flip(x[tuple(back)], s)
    return y


@op('sliding_window')
def _(A, a):
    x, d, k = A[0], ax(a.axis, A[0].ndim), len(a.window_shape)
    v = np.lib.stride_tricks.sliding_window_view(x, a.window_shape, tuple(range(d, d + k)))
    return v[(slice(None),) * d + tuple(slice(None, None, s) for s in a.strides)]


@op('nn.fifo_buffer')
def _(A, a):
    both = np.concatenate([A[1], A[0]], a.axis)
    n, have = A[1].shape[a.axis], both.shape[a.axis]
    return np.take(both, np.arange(have - n, have), a.axis)


# ---- indexing ----------------------------------------------------------------------------------------------------
def from_end(i, n):
    return np.where(i < 0, i + n, i)


@op('take')
def _(A, a):
    x, i = A[0], A[1].astype(np.int64)
    if a.axis is None:
        x, axis = x.reshape(-1), 0
    else:
        axis = ax(a.axis, x.ndim)
    n = x.shape[axis]
    i = i % n if a.mode == 'wrap' and i.size else np.clip(i, 0, n - 1)
    batch = ax(a.batch_dims, i.ndim) if a.batch_dims < 0 else a.batch_dims
    if not batch:
        return np.take(x, i, axis)
    out = np.empty(x.shape[:axis] + i.shape[batch:] + x.shape[axis + 1:], x.dtype)
    for at in np.ndindex(*x.shape[:batch]):
        out[at] = np.take(x[at], i[at], axis - batch)
    return out


@op('gather')
def _(A, a):
    x, i = A[0], A[1].astype(np.int64)
    out = np.empty(i.shape, x.dtype)
    for at in np.ndindex(*i.shape):
        of = list(at)
        of[ax(a.axis, x.ndim)] = int(i[at])
        out[at] = x[tuple(of)]
    return out


@op('gather_nd')
def _(A, a):
    x, i, b = A[0], A[1].astype(np.int64), a.batch_dims
    out = np.empty(i.shape[1:] + x.shape[b + i.shape[0]:], x.dtype)
    for at in np.ndindex(*i.shape[1:]):
        out[at] = x[at[:b] + tuple(int(i[(j,) + at]) for j in range(i.shape[0]))]
    return out


op('adv_index')(lambda A, a: A[0][0][tuple(v.astype(np.int64) for v in A[0][1:])])
op('argwhere')(lambda A, a: np.argwhere(A[0]).astype(np.int32))


def scatter(combine):
    def f(A, a):
        y, i, u = A[0].copy(), A[1].astype(np.int64), A[2]
        axis = ax(a.axis, y.ndim)
        for at in np.ndindex(*u.shape):
            to = list(at)
            to[axis] = int(i[at])
            y[tuple(to)] = combine(y[tuple(to)], u[at])
        return y
    return f


op('scatter')(scatter(lambda old, new: new))
op('scatter_add')(scatter(lambda old, new: old + new))


@op('scatter_nd')
def _(A, a):
    y, i, u = A[0].copy(), A[1].astype(np.int64), A[2]
    combine = {'update': lambda old, new: new, 'add': np.add, 'mul': np.multiply, 'max': np.maximum, 'min': np.minimum}[a.mode]
    for at in np.ndindex(*i.shape[1:]):
        to = tuple(int(i[(j,) + at]) for j in range(i.shape[0]))
        y[to] = combine(y[to], u[at])
    return y


def order(x, axis, ascending):
    """Stable; descending keeps equal elements in place too."""
    rank = np.unique(x, return_inverse=True)[1].reshape(x.shape)
    return np.argsort(rank if ascending else -rank, axis=axis, kind='stable')


op('sort')(lambda A, a: np.take_along_axis(A[0], order(A[0], a.axis, a.is_ascend), a.axis))
op('argsort')(lambda A, a: order(A[0], a.axis, a.is_ascend).astype(dtype(a.dtype or 'int32')))


def topk(x, k, a):
    n = x.shape[a.axis]
    i = order(x, a.axis, a.is_ascend)
    i = np.take(i, np.arange(n if k < 1 else min(k, n)), a.axis)
    v, i = np.take_along_axis(x, i, a.axis), i.astype(dtype(a.dtype or 'int32'))
    return {'both': [v, i], 'values': v, 'indices': i}[a.ret_type]


op('topk')(lambda A, a: topk(A[0], a.k, a))
op('dyn.topk')(lambda A, a: topk(A[0], int(A[1].reshape(-1)[0]), a))


@op('unique')
def _(A, a):
    """Values, first positions, each element's value, their number, perhaps counts; padded with
    zeros, positions with the length."""
    v, first, inverse, count = np.unique(A[0], return_index=True, return_inverse=True, return_counts=True)
    if not a.sorted:
        by = np.argsort(first)
        v, first, count, inverse = v[by], first[by], count[by], np.argsort(by)[inverse]
    n = len(A[0])
    first = np.pad(first, (0, n - len(first)), constant_values=n)
    v, count = (np.pad(x, (0, n - len(x))) for x in (v, count))
    out = [v] + [x.astype(np.int32) for x in (first, inverse, np.array([np.count_nonzero(count)]))]
    return out + [count.astype(np.int32)] if a.return_counts else out


op('searchsorted')(lambda A, a: np.searchsorted(A[0], A[1], 'right' if a.right else 'left').astype(dtype(a.dtype or 'int32')).reshape(A[1].shape))


def to_dense(indices, values, default, shape):
    i = indices.reshape(indices.shape + (1,)) if indices.ndim == 1 else indices.reshape(1, 1) if indices.ndim == 0 else indices
    y = np.full(shape, default, values.dtype)
    for j, row in enumerate(i.tolist()):
        y[tuple(row)] = values if values.ndim == 0 else values[j]
    return y


op('sparse_to_dense')(lambda A, a: to_dense(A[0], A[1], A[2] if len(A) > 2 else 0, a.output_shape))
op('dyn.sparse_to_dense')(lambda A, a: to_dense(A[0], A[1], A[2], tuple(A[3])))


@op('sparse_fill_empty_rows')
def _(A, a):
    i, v, shape, default = A[0].tolist(), A[1], A[2], A[3].reshape(-1)[0]
    have = {row[0] for row in i}
    empty = [r for r in range(int(shape[0])) if r not in have]
    rows = [(row, val) for row, val in zip(i, v.tolist())] + [([r] + [0] * (A[0].shape[1] - 1), default) for r in empty]
    rows.sort(key=lambda p: p[0][0])
    return [np.array([p[0] for p in rows], A[0].dtype).reshape(-1, A[0].shape[1]), np.array([p[1] for p in rows], v.dtype),
            np.array([r in empty for r in range(int(shape[0]))], np.int64)]


@op('sparse_reshape')
def _(A, a):
    i, old, new = A[0], A[1].astype(np.int64), A[2].astype(np.int64)
    if -1 in new:
        new = np.where(new == -1, old.prod() // -new.prod(), new)
    flat = [int(np.ravel_multi_index(tuple(r), tuple(old))) for r in i.tolist()]
    rows = [np.unravel_index(f, tuple(new)) for f in flat]
    return [np.array(rows, i.dtype).reshape(len(flat), len(new)), new.astype(A[2].dtype)]
