"""Random calls for run_ops.py --random SEED: extents, attributes and unknown axes drawn anew.

Each generator gives the text of one call in the syntax of the examples; run_ops.py compares it
with the same references."""
import random


class Draw:
    def __init__(self, seed):
        self.r = random.Random(seed)
        self.int, self.pick = self.r.randint, self.r.choice

    def tensor(self, t, *extents):
        """Some axes unknown to the checker."""
        return '%s[%s]' % (t, ','.join(('?' if self.r.random() < 0.3 else '') + str(n) for n in extents))

    def known(self, t, *extents):
        return '%s[%s]' % (t, ','.join(map(str, extents)))

    def flag(self):
        return self.pick(['True', 'False'])

    def shape(self, least=0):
        return [self.int(1, 5) if self.r.random() < 0.9 else max(least, 0) for _ in range(self.int(1, 4))]


GENERATORS = []


def generator(f):
    GENERATORS.append(f)
    return f


# ---- convolutions and pools -------------------------------------------------------------------------
class Window:
    def __init__(self, d):
        self.groups, self.cg, self.og = d.pick([1, 1, 2, 3]), d.int(1, 3), d.int(1, 3)
        self.k, self.dil = [d.int(1, 3), d.int(1, 3)], [d.int(1, 2), d.int(1, 2)]
        self.stride, self.pad = [d.int(1, 3), d.int(1, 3)], [d.int(0, 2) for _ in range(4)]
        self.space = [d.int((k - 1) * s + 1, 10) for k, s in zip(self.k, self.dil)]
        self.attrs = 'groups=%d, strides=%s, dilation=%s, padding=' % (self.groups, self.stride, self.dil)


@generator
def conv2d(d):
    w, t = Window(d), d.pick(['f32', 'f32', 'f64', 'i32'])
    return 'nn.conv2d(%s, %s, %s%s)' % (d.tensor(t, d.int(0, 2), w.groups * w.cg, *w.space), d.known(t, w.groups * w.og, w.cg, *w.k), w.attrs, w.pad)


@generator
def conv2d_nhwc(d):
    w = Window(d)
    return 'nn.conv2d(%s, %s, %s%s, data_layout="NHWC", kernel_layout="HWIO")' % (
        d.tensor('f32', 2, *w.space, w.groups * w.cg), d.known('f32', *w.k, w.cg, w.groups * w.og), w.attrs, w.pad)


@generator
def conv2d_quantized(d):
    w = Window(d)
    return 'qnn.conv2d(%s, %s, %d, %d, 0.1f, 0.2f, %s%s)' % (
        d.tensor('u8', 2, w.groups * w.cg, *w.space), d.known('i8', w.groups * w.og, w.cg, *w.k), d.int(0, 255), d.int(-9, 9), w.attrs, w.pad)


@generator
def conv2d_transposed(d):
    w = Window(d)
    return 'nn.conv2d_transpose(%s, %s, %s%s, output_padding=%s)' % (
        d.tensor('f32', 2, w.groups * w.cg, d.int(3, 6), d.int(3, 6)), d.known('f32', w.groups * w.cg, w.og, *w.k), w.attrs,
        [d.int(0, 1) for _ in range(4)], [d.int(0, s - 1) for s in w.stride])


@generator
def conv3d(d):
    c = d.int(1, 3)
    return 'nn.conv3d(%s, %s, padding=%s, strides=%s)' % (
        d.tensor('f32', 1, c, 3, 4, d.int(3, 5)), d.known('f32', d.int(1, 3), c, d.int(1, 3), 2, d.int(1, 3)),
        [d.int(0, 1) for _ in range(3)], [d.int(1, 2) for _ in range(3)])


@generator
def pool(d):
    k, mean = [d.int(1, 3), d.int(1, 3)], d.pick([True, False])
    return 'nn.%s_pool2d(%s, pool_size=%s, strides=%s, padding=%s, ceil_mode=%s%s)' % (
        'avg' if mean else 'max', d.tensor('f32', d.int(0, 2), 2, d.int(4, 8), d.int(4, 8)), k, [d.int(1, 3), d.int(1, 3)],
        [d.int(0, k[0] - 1), d.int(0, k[1] - 1)], d.flag(), ', count_include_pad=' + d.flag() if mean else '')


@generator
def pool_gradient(d):
    k, n = d.int(1, 3), d.int(4, 8)
    s, p = d.int(k, 3), d.int(0, k - 1)
    out = (n + 2 * p - k) // s + 1
    return 'nn.%s_pool2d_grad(f32[1,2,%d,%d], %s, pool_size=[%d, %d], strides=[%d, %d], padding=[%d, %d])' % (
        d.pick(['max', 'avg']), out, out, d.tensor('f32', 1, 2, n, n), k, k, s, s, p, p)


@generator
def adaptive_pool(d):
    return 'nn.adaptive_%s_pool2d(%s, output_size=[%d, %d])' % (
        d.pick(['max', 'avg']), d.tensor('f32', 1, 2, d.int(1, 9), d.int(1, 9)), d.int(1, 9), d.int(1, 9))


# ---- products, normalisation ----------------------------------------------------------------------------
@generator
def dense(d):
    k = d.int(0, 9)
    return 'nn.dense(%s, %s)' % (d.tensor('f32', d.int(0, 9), k), d.tensor('f32', d.int(1, 9), k))


@generator
def batch_matmul(d):
    b, m, k, n = d.int(1, 3), d.int(1, 9), d.int(0, 9), d.int(1, 9)
    ta, tb = d.flag(), d.flag()
    x, y = ([k, m] if ta == 'True' else [m, k]), ([n, k] if tb == 'True' else [k, n])
    return 'nn.batch_matmul(%s, %s, transpose_a=%s, transpose_b=%s)' % (
        d.tensor('f64', d.pick([1, b]), *x), d.tensor('f64', b, *y), ta, tb)


@generator
def norms(d):
    s = d.shape(1)
    a = d.int(0, len(s) - 1)
    v = d.known('f32', s[a])
    return d.pick(['nn.softmax({x}, axis={a})', 'nn.log_softmax({x}, axis={a})', 'nn.layer_norm({x}, {v}, {v}, axis={a})',
                   'nn.batch_norm({x}, {v}, {v}, {v}, {v}>0, axis={a})']).format(x=d.tensor('f32', *s), a=a, v=v)


# ---- element by element, reductions ------------------------------------------------------------------------
@generator
def broadcast(d):
    s = d.shape()
    part = [d.pick([1, n]) for n in s][d.int(0, len(s) - 1):]
    return '%s(%s, %s)' % (d.pick(['add', 'multiply', 'maximum', 'subtract', 'less']), d.tensor('f32', *s), d.tensor('f32', *part))


@generator
def collapse(d):
    s = d.shape()
    return 'collapse_sum_like(%s, %s)' % (d.tensor('f32', *s), d.known('f32', *[d.pick([1, n]) for n in s]))


@generator
def reduction(d):
    s = d.shape(1)
    axes = sorted(d.r.sample(range(len(s)), d.int(1, len(s))))
    return '%s(%s, axis=%s, keepdims=%s, exclude=%s)' % (
        d.pick(['sum', 'mean', 'max', 'min', 'argmax', 'argmin']), d.tensor(d.pick(['f32', 'f64', 'i32', 'f16']), *s), axes, d.flag(),
        d.flag() if len(axes) < len(s) else 'False')


@generator
def along_axis(d):
    s = d.shape()
    return d.pick(['cumsum({x}, axis={a}, exclusive={f})', 'sort({x}, axis={a}, is_ascend={f})', 'argsort({x}, axis={a}, is_ascend={f})',
                   'reverse({x}, axis={a})', 'repeat({x}, repeats={n}, axis={a})', 'tile({x}, reps=[{n}, 2])']).format(
        x=d.tensor('i32', *s), a=d.int(0, len(s) - 1), f=d.flag(), n=d.int(0, 3))


# ---- shapes, indexing -----------------------------------------------------------------------------------------
@generator
def strided_slice(d):
    return 'strided_slice(%s, begin=%s, end=%s, strides=%s)' % (
        d.tensor(d.pick(['f32', 'i8']), d.int(0, 6), d.int(1, 6)), [d.int(-8, 8), d.int(-8, 8)], [d.int(-8, 8), d.int(-8, 8)],
        [d.pick([1, 2, -1, -2, 3]), d.pick([1, 2, -1, -2, 3])])


@generator
def transpose(d):
    s = d.shape()
    return 'transpose(%s, axes=%s)' % (d.tensor('f32', *s), d.r.sample(range(len(s)), len(s)))


@generator
def padding(d):
    s, mode = d.shape(1), d.pick(['constant', 'edge', 'reflect'])
    width = [[d.int(0, 2 if mode == 'constant' else n - 1), d.int(0, 2 if mode == 'constant' else n - 1)] for n in s]
    return 'nn.pad(%s, 1.5f, pad_width=%s, pad_mode="%s")' % (d.tensor('f32', *s), width, mode)


@generator
def layout(d):
    return 'layout_transform(%s, src_layout="NCHW", dst_layout="%s")' % (
        d.tensor('f32', d.int(1, 2), 2 * d.int(1, 4), d.int(1, 3), d.int(1, 3)), d.pick(['NHWC', 'NCHW2c', 'NHWC2c', 'CHWN', 'NCHW4c']))


@generator
def take(d):
    s = d.shape(1)
    return 'take(%s, %s<9, axis=%d, mode="%s")' % (d.tensor('f32', *s), d.tensor('i32', 3, 2), d.int(0, len(s) - 1), d.pick(['wrap', 'clip']))


@generator
def topk(d):
    s = d.shape(1)
    a = d.int(0, len(s) - 1)
    return 'topk(%s, axis=%d, k=%d, is_ascend=%s)' % (d.tensor('f32', *s), a, d.int(0, s[a]), d.flag())


@generator
def suppression(d):
    b = d.int(1, 3)
    return ('vision.non_max_suppression(f32[%d,?9,6]>0, i32[%d]<9, i32[%d,9]<9, %d, %sf, force_suppress=%s, top_k=%d, '
            'return_indices=%s, id_index=%d, invalid_to_bottom=%s)') % (
        b, b, b, d.pick([-1, 3]), d.pick(['0.5', '0.2']), d.flag(), d.pick([-1, 4]), d.flag(), d.pick([0, -1]), d.flag())


# ---- images, quantised ---------------------------------------------------------------------------------------------
MODES = ['half_pixel', 'align_corners', 'asymmetric', 'pytorch_half_pixel', 'tf_half_pixel_for_nn', 'tf_crop_and_resize']


@generator
def resize(d):
    return ('image.resize2d(%s, size=[%d, %d], method="%s", coordinate_transformation_mode="%s", rounding_method="%s", '
            'roi=[0.1, 0.2, 0.9, 1.1], cubic_exclude=%d)') % (
        d.tensor(d.pick(['f32', 'f64', 'f16']), 1, 2, d.int(1, 9), d.int(1, 9)), d.int(1, 12), d.int(1, 12),
        d.pick(['nearest_neighbor', 'linear', 'cubic']), d.pick(MODES),
        d.pick(['round', 'round_prefer_floor', 'round_prefer_ceil', 'floor', 'ceil', '']), d.int(0, 1))


@generator
def upsampling(d):
    return 'nn.upsampling(%s, scale_h=%sf, scale_w=%sf, method="%s", layout="NHWC", align_corners=%s)' % (
        d.tensor('f32', 1, d.int(1, 9), d.int(1, 9), 2), d.pick([1, 2, 3, 1.5, 0.75, 1.3]), d.pick([1, 2, 2.5, 0.6]),
        d.pick(['nearest_neighbor', 'bilinear', 'bicubic']), d.flag())


@generator
def requantize(d):
    def scale():
        return '%.7ff' % (10 ** d.r.uniform(-3, 3))
    return 'qnn.requantize(%s, %s, %d, %s, %d, out_dtype="%s", rounding="%s", compute_dtype="%s")' % (
        d.tensor(d.pick(['i8', 'u8', 'i32', 'i16']), 5, 7), scale(), d.int(-5, 99), scale(), d.int(-5, 99),
        d.pick(['int8', 'uint8', 'int32', 'int16']), d.pick(['UPWARD', 'TONEAREST']), d.pick(['int64', 'int64', 'float64']))


@generator
def quantized_binary(d):
    t = d.pick(['u8', 'i8'])
    number = tuple(v for _ in range(3) for v in (d.r.uniform(0.01, 2), d.int(0, 100)))
    return 'qnn.%s(%s, %s, %.6ff, %d, %.6ff, %d, %.6ff, %d)' % (
        (d.pick(['add', 'subtract', 'mul']), d.tensor(t, 20, 3), d.tensor(t, 3)) + number)


def examples(seed, each=40):
    d = Draw(seed)
    return [g(d) for g in GENERATORS for _ in range(each)]
