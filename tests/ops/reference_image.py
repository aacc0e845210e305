"""References of images, quantised arithmetic, detection."""
import math
import numpy as np
from reference import cast, dtype, f8, from_plain, like, on_axis, op, to_plain, UNARY
from reference_nn import LETTERS, conv, conv_transposed, paddings, per_axis, transposed_weight


# ---- resizing ----------------------------------------------------------------------------------------
def position(q, n, to, mode, start, end, t):
    """Where index q of the result stands in data; t: the float type positions are computed in."""
    q, scale, last, steps, half = t(q), t(n) / t(to), t(n - 1), t(max(to - 1, 1)), t(0.5)
    if mode == 'align_corners':
        return last / steps * q
    if mode == 'asymmetric':
        return scale * q
    if mode == 'tf_half_pixel_for_nn':
        return (q + half) * scale
    if mode == 'tf_crop_and_resize':
        start, end = t(start), t(end)
        return start * last + q * (end - start) * last / steps if to > 1 else half * (start + end) * last
    if mode == 'pytorch_half_pixel' and to <= 1:
        return t(0)
    return (q + half) * scale - half


def nearest(p, rounding):
    e = p.dtype.type(1e-5)
    half = p.dtype.type(0.5)
    return int({'round': lambda: math.floor(p + half), 'round_prefer_ceil': lambda: math.floor(p + half),
                'round_prefer_floor': lambda: math.ceil(p - half), 'floor': lambda: math.floor(p + e),
                'ceil': lambda: math.ceil(p - e)}[rounding]())


def weights(p, n, method, rounding, alpha, exclude):
    """{input index: weight} of one position, borders repeated."""
    out = {}
    first, frac = math.floor(p), float(p) - math.floor(p)
    if method == 'nearest':
        taps = [(nearest(p, rounding), 1.0)]
    elif method == 'linear':
        taps = [(first, 1 - frac), (first + 1, frac)]
    else:
        def keys(d):
            d = abs(d)
            return (alpha + 2) * d ** 3 - (alpha + 3) * d ** 2 + 1 if d <= 1 else alpha * (d ** 3 - 5 * d ** 2 + 8 * d - 4)
        taps = [(first + i, keys(frac - i)) for i in (-1, 0, 1, 2)]
        if exclude:
            taps = [(i, w) for i, w in taps if 0 <= i < n]
            total = sum(w for _, w in taps)
            taps = [(i, w / total) for i, w in taps]
    for i, w in taps:
        i = min(max(i, 0), n - 1)
        out[i] = out.get(i, 0) + w
    return out


def resize(x, layout, size, method, mode, rounding='', roi=None, alpha=-0.5, exclude=0, outside=0.0, out=None):
    d = sum(c in 'DHW' for c in layout)
    method = {'nearest_neighbor': 'nearest', 'bilinear': 'linear', 'trilinear': 'linear', 'bicubic': 'cubic'}.get(method, method)
    rounding = rounding or ('round' if mode == 'align_corners' else 'floor')
    y = to_plain(f8(x), layout, 'NC' + LETTERS[d])
    t = np.float64 if x.dtype == np.float64 else np.float32
    roi = roi if roi is not None and len(roi) else [0.0] * (2 * d)
    masks = []
    for i in range(d):
        n = y.shape[2 + i]
        m, out_of = np.zeros((size[i], n)), np.zeros(size[i], bool)
        for q in range(size[i]):
            p = position(q, n, size[i], mode, roi[i], roi[d + i], t)
            out_of[q] = mode == 'tf_crop_and_resize' and (p < 0 or p > n - 1)
            for j, w in weights(p, n, method, rounding, alpha, exclude).items():
                m[q, j] = w
        y = np.moveaxis(np.tensordot(m, y, (1, 2 + i)), 0, 2 + i)
        masks.append(out_of.reshape([-1 if k == 2 + i else 1 for k in range(2 + d)]))
    for m in masks:
        y = np.where(m, outside, y)
    return cast(from_plain(y, 'NC' + LETTERS[d], layout), out or x.dtype)


def resize_op(A, a, size=None, roi=None):
    return resize(A[0], a.layout, a.size if size is None else size, a.method, a.coordinate_transformation_mode, a.rounding_method,
                  a.roi if roi is None else roi, a.cubic_alpha, a.cubic_exclude, a.extrapolation_value, a.out_dtype)


op('image.resize1d', 'image.resize2d', 'image.resize3d')(resize_op)
op('dyn.image.resize2d')(lambda A, a: resize_op(A, a, A[1].tolist(), A[2]))


def upsample(x, scales, a):
    space = [i for i, c in enumerate(a.layout) if c in 'DHW']
    size = [math.floor(x.shape[i] * float(s) + 0.5) for i, s in zip(space, scales)]
    mode = a.coordinate_transformation_mode or ('align_corners' if a.align_corners else 'asymmetric')
    return resize(x, a.layout, size, a.method, mode)


op('nn.upsampling')(lambda A, a: upsample(A[0], [a.scale_h, a.scale_w], a))
op('nn.upsampling3d')(lambda A, a: upsample(A[0], [a.scale_d, a.scale_h, a.scale_w], a))
op('dyn.nn.upsampling', 'dyn.nn.upsampling3d')(lambda A, a: upsample(A[0], A[1:], a))


# ---- quantised ------------------------------------------------------------------------------------------
def saturate(x, t):
    i = np.iinfo(t)
    return np.clip(np.asarray(x, np.float64), i.min, i.max).astype(t)


def spread(v, x, axis):
    """A scale or zero point, scalar or along axis of x."""
    return v.reshape(()) if v.size == 1 and (v.ndim == 0 or x.ndim == 0) else on_axis(v, x.ndim, axis)


def quantized(x, scale, zero, t):
    v = np.round(x / scale.astype(x.dtype))
    return saturate(cast(v, 'int32').astype(np.int64) + zero.astype(np.int64), dtype(t))


def dequantized(x, scale, zero):
    return (x.astype(np.int64) - zero.astype(np.int64)).astype(np.float32) * scale.astype(np.float32)


def factor(m):
    """m = q * 2^(shift - 31), q of 31 bits."""
    fraction, shift = math.frexp(m)
    q = math.floor(fraction * 2 ** 31 + 0.5)
    return (q // 2, shift + 1) if q == 2 ** 31 else (q, shift)


def wrap32(v):
    return (v + 2 ** 31) % 2 ** 32 - 2 ** 31


def fixed_times(x, m, nearest=False):
    q, shift = factor(m)
    v, right = (x << max(shift, 0)) * q, 31 + max(-shift, 0)
    return wrap32((v + (1 << (right - 1)) - (1 if nearest and v < 0 else 0)) >> right)


def rescaled(x, s_in, z_in, s_out, z_out, how=lambda v, m: fixed_times(v, m)):
    x, s_in, z_in, s_out, z_out = np.broadcast_arrays(x, s_in, z_in, s_out, z_out)
    out = [how(wrap32(int(v) - int(zi)), float(si) / float(so)) + int(zo)
           for v, si, zi, so, zo in zip(x.ravel(), s_in.ravel(), z_in.ravel(), s_out.ravel(), z_out.ravel())]
    return np.array(out, np.int64).reshape(x.shape)


op('qnn.quantize')(lambda A, a: quantized(A[0].astype(np.float32) if A[0].dtype == np.float16 else A[0], spread(A[1], A[0], a.axis),
                                          spread(A[2], A[0], a.axis), a.out_dtype))
op('qnn.dequantize')(lambda A, a: dequantized(A[0], spread(A[1], A[0], a.axis), spread(A[2], A[0], a.axis)))


@op('qnn.requantize')
def _(A, a):
    nearest = a.rounding == 'TONEAREST'

    def in_floats(v, m):
        y = dtype(a.compute_dtype).type(v) * dtype(a.compute_dtype).type(m)
        return math.floor(y + 0.5) if not nearest or y >= 0 else -math.floor(0.5 - y)
    how = in_floats if a.compute_dtype in ('float32', 'float64') else lambda v, m: fixed_times(v, m, nearest)
    return saturate(rescaled(A[0], *[spread(p, A[0], a.axis) for p in A[1:]], how), dtype(a.out_dtype))


def sides(A, a):
    x, y = A[0], A[1]
    return [spread(A[i], x, a.lhs_axis) for i in (2, 3)], [spread(A[i], y, a.rhs_axis) for i in (4, 5)]


def qnn_sum(sign):
    def f(A, a):
        l, r = sides(A, a)
        y = rescaled(A[0], *l, A[6], A[7]) + sign * rescaled(A[1], *r, A[6], A[7]) - sign * A[7].astype(np.int64)
        return saturate(y, A[0].dtype)
    return f


op('qnn.add')(qnn_sum(1))
op('qnn.subtract')(qnn_sum(-1))


@op('qnn.mul')
def _(A, a):
    l, r = sides(A, a)
    v = (A[0].astype(np.int64) - l[1]) * (A[1].astype(np.int64) - r[1])
    return saturate(rescaled(v, l[0] * r[0], np.int32(0), A[6], A[7]), A[0].dtype)


@op('qnn.concatenate')
def _(A, a):
    return np.concatenate([saturate(rescaled(x, s, z, A[3], A[4]), x.dtype) for x, s, z in zip(A[0], A[1], A[2])], a.axis)


@op('qnn.leaky_relu')
def _(A, a):
    v, zero = rescaled(A[0], *A[1:]), int(A[4])
    y = [x if x >= zero else fixed_times(x, a.alpha) + fixed_times(zero, 1 - a.alpha) for x in v.ravel().tolist()]
    return saturate(np.array(y).reshape(v.shape), A[0].dtype)


FUNCTIONS = {n: UNARY[n] for n in ('tanh', 'exp', 'sqrt', 'rsqrt', 'erf', 'sigmoid', 'log')}
FUNCTIONS.update(abs=np.abs, hardswish=lambda x: x * np.clip(x + 3, 0, 6) / 6)
for name, f in FUNCTIONS.items():
    op('qnn.' + name)(lambda A, a, f=f: quantized(f(f8(dequantized(*A[:3]))).astype(np.float32), A[3], A[4], A[0].dtype))

RANGE = {1: (0, 255), 2: (-128, 127), 3: (-2.0 ** 31, 2.0 ** 31 - 1)}


@op('qnn.simulated_quantize')
def _(A, a):
    x, s, z = A[0], spread(A[2], A[0], a.axis), spread(A[3], A[0], a.axis)
    return x if int(A[1]) == 0 else like(np.clip(np.round(x / s) + z, *RANGE[int(A[1])]), x)


@op('qnn.simulated_dequantize')
def _(A, a):
    x, s, z = A[0], spread(A[2], A[0], a.axis), spread(A[3], A[0], a.axis)
    return x if int(A[1]) == 0 else like((f8(x) - z) * s, x)


@op('relay.op.annotation.simulated_quantize')
def _(A, a):
    x, s, lo, hi = [v.astype(A[0].dtype) for v in A]
    f = {'round': np.round, 'floor': np.floor, 'ceil': np.ceil, 'trunc': np.trunc}[a.rounding]
    return like(f(np.clip(x / s, lo, hi)) * s, x)


def off(x, zero):
    return x.astype(np.int64) - zero.astype(np.int64)


op('qnn.dense')(lambda A, a: (off(A[0], A[2]) @ off(A[1], A[3].reshape(-1, 1) if A[3].ndim else A[3]).T).astype(np.int32))


@op('qnn.batch_matmul')
def _(A, a):
    x, y = off(A[0], A[2]), off(A[1], A[3])
    return ((np.swapaxes(x, 1, 2) if a.transpose_a else x) @ (np.swapaxes(y, 1, 2) if a.transpose_b else y)).astype(np.int32)


@op('qnn.conv2d')
def _(A, a):
    x, w = to_plain(off(A[0], A[2]), a.data_layout, 'NCHW'), to_plain(A[1].astype(np.int64), a.kernel_layout, 'OIHW')
    w = w - (A[3].reshape(-1, 1, 1, 1) if A[3].ndim else A[3]).astype(np.int64)
    y = conv(x, w, per_axis(a.strides, 2), *paddings(a.padding, 2), per_axis(a.dilation, 2), a.groups)
    return from_plain(y, 'NCHW', a.out_layout or a.data_layout).astype(np.int32)


@op('qnn.conv2d_transpose')
def _(A, a):
    x, w = to_plain(off(A[0], A[2]), a.data_layout, 'NCHW'), transposed_weight(off(A[1], A[3]), a, 2)
    y = conv_transposed(x, w, per_axis(a.strides, 2), *paddings(a.padding, 2), per_axis(a.dilation, 2), a.groups,
                        per_axis(a.output_padding, 2, 0))
    return from_plain(y, 'NCHW', a.out_layout or a.data_layout).astype(np.int32)


# ---- detection -----------------------------------------------------------------------------------------------
@op('vision.get_valid_counts')
def _(A, a):
    x, threshold = A[0], float(A[1])
    boxes, index, count = np.full_like(x, -1), np.full(x.shape[:2], -1, np.int32), np.zeros(x.shape[0], np.int32)
    for b in range(x.shape[0]):
        for i in range(x.shape[1]):
            if x[b, i, a.score_index] > threshold and (a.id_index < 0 or x[b, i, a.id_index] >= 0):
                boxes[b, count[b]], index[b, count[b]] = x[b, i], i
                count[b] += 1
    return [count, boxes, index]


def iou(p, q):
    """Of corner boxes, corners in any order."""
    lo = [np.minimum(v[:2], v[2:]) for v in (p, q)]
    hi = [np.maximum(v[:2], v[2:]) for v in (p, q)]
    inner = np.prod(np.maximum(np.minimum(*hi) - np.maximum(*lo), 0))
    union = np.prod(hi[0] - lo[0]) + np.prod(hi[1] - lo[1]) - inner
    return 0.0 if union <= 0 else inner / union


@op('vision.non_max_suppression')
def _(A, a):
    """Rows by score; one that overlaps a better survivor of its class too much becomes -1.  Rows
    of no positive score neither suppress nor are suppressed."""
    x, indices, limit, threshold, c = A[0], A[2], int(A[3]), float(A[4]), a.coord_start
    boxes, kept = np.full_like(x, -1), np.full(x.shape[:2], -1, np.int32)
    for b in range(x.shape[0]):
        n, survivors, left = int(A[1][b]), 0, []
        rank = sorted(range(n), key=lambda i: -x[b, i, a.score_index])
        for i in rank[:a.top_k] if 0 < a.top_k < n else rank:
            rivals = [x[b, k] for k in left if k is not None and x[b, k, a.score_index] > 0]
            rivals = [r for r in rivals if a.id_index < 0 or (r[a.id_index] >= 0 and (a.force_suppress or r[a.id_index] == x[b, i, a.id_index]))]
            positive = x[b, i, a.score_index] > 0
            good = not positive or all(iou(f8(r[c:c + 4]), f8(x[b, i, c:c + 4])) < threshold for r in rivals)
            left.append(i if good and survivors != limit else None)
            survivors += bool(positive and left[-1] is not None)
        if a.invalid_to_bottom and not a.return_indices:
            rows = [i for i in left if i is not None and x[b, i, 0] >= 0]
        else:
            rows = left
        for p, i in enumerate(rows):
            if i is not None:
                boxes[b, p] = x[b, i]
        for p, i in enumerate(i for i in left if i is not None):
            kept[b, p] = indices[b, i]
    return [kept, (kept >= 0).sum(1, keepdims=True).astype(np.int32)] if a.return_indices else boxes


@op('vision.all_class_non_max_suppression')
def _(A, a):
    boxes, scores, limit, threshold, least = A[0], A[1], int(A[2]), float(A[3]), float(A[4])
    rows, per = [], []
    for b in range(scores.shape[0]):
        mine = []
        for c in range(scores.shape[1]):
            good = []
            for i in sorted(range(scores.shape[2]), key=lambda i: -scores[b, c, i]):
                if scores[b, c, i] > least and len(good) < limit and all(iou(f8(boxes[b, j]), f8(boxes[b, i])) <= threshold for j in good):
                    good.append(i)
            mine += [(b, c, i) for i in good]
        rows += mine
        per.append(mine)
    if a.output_format == 'onnx':
        out = np.zeros((scores.size, 3), np.int64)
        out[:len(rows)] = np.array(rows, np.int64).reshape(-1, 3)
        return [out, np.array([len(rows)], np.int64)]
    n = scores.shape[1] * scores.shape[2]
    out, best = np.zeros((scores.shape[0], n, 2), np.int64), np.zeros((scores.shape[0], n), boxes.dtype)
    for b, mine in enumerate(per):
        for p, r in enumerate(mine):
            out[b, p], best[b, p] = r[1:], scores[r]
    return [out, best, np.array([len(m) for m in per], np.int64)]


def sample(img, y, x):
    h, w = img.shape
    if y < -1 or y > h or x < -1 or x > w:
        return 0.0
    y, x = min(max(y, 0), h - 1), min(max(x, 0), w - 1)
    i, j = int(y), int(x)
    k, l, v, u = min(i + 1, h - 1), min(j + 1, w - 1), y - i, x - j
    return (img[i, j] * (1 - u) + img[i, l] * u) * (1 - v) + (img[k, j] * (1 - u) + img[k, l] * u) * v


@op('vision.roi_align')
def _(A, a):
    x, rois, (ph, pw) = f8(A[0]), f8(A[1]), a.pooled_size
    out = np.zeros((len(rois), x.shape[1], ph, pw))
    for r, c, i, j in np.ndindex(*out.shape):
        n, x1, y1, x2, y2 = int(rois[r, 0]), *(rois[r, 1:] * a.spatial_scale)
        h, w = max(y2 - y1, 1.0), max(x2 - x1, 1.0)
        nh = a.sample_ratio if a.sample_ratio > 0 else math.ceil(h / ph)
        nw = a.sample_ratio if a.sample_ratio > 0 else math.ceil(w / pw)
        v = [sample(x[n, c], y1 + (i + (p + 0.5) / nh) * h / ph, x1 + (j + (q + 0.5) / nw) * w / pw) for p in range(nh) for q in range(nw)]
        out[r, c, i, j] = max(v) if a.mode == 'max' else sum(v) / len(v)
    return like(out, A[0])


@op('vision.roi_pool')
def _(A, a):
    x, rois, (ph, pw) = f8(A[0]), f8(A[1]), a.pooled_size
    out = np.zeros((len(rois), x.shape[1], ph, pw))
    for r, c, i, j in np.ndindex(*out.shape):
        x1, y1, x2, y2 = (math.floor(v * a.spatial_scale + 0.5) for v in rois[r, 1:])
        h, w = max(y2 - y1 + 1, 1), max(x2 - x1 + 1, 1)
        rows = range(max(y1 + i * h // ph, 0), min(y1 - (-(i + 1) * h // ph), x.shape[2]))
        cols = range(max(x1 + j * w // pw, 0), min(x1 - (-(j + 1) * w // pw), x.shape[3]))
        v = [x[int(rois[r, 0]), c, p, q] for p in rows for q in cols]
        out[r, c, i, j] = max(v) if v else 0
    return like(out, A[0])
