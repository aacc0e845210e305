#!/usr/bin/python3
"""corpus_grads.py RVM SOURCE_DIR -- our gradients beside those that TVM made.

The corpus ($RVM_SHARED/corpus, or ../shared/corpus beside the checkout) holds programs that TVM's gradient
transforms printed: functions that return the value and the gradients.  Of each, `grad` of the function that was
differentiated must return what the program returned when TVM ran it:

  written   the function as a person writes it, below
  taken     the first half of what the printed program returns.  In programs of the higher-order transform that
            is reached through closures and refs: a gradient goes through TVM's own tape.

Without the corpus there is nothing to run.  Ends with `N passed, N failed`."""
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np

RVM, SOURCE = (os.path.abspath(path) for path in sys.argv[1:3])
CORPUS = os.path.join(os.environ.get('RVM_SHARED') or os.path.join(SOURCE, '..', 'shared'), 'corpus')
WAYS = (['--engine', 'interp', '--opt', '0'], ['--engine', 'interp', '--opt', '1'], ['--engine', 'interp', '--opt', '2'])

MLP = 'negative(sum(nn.log_softmax(nn.bias_add(nn.dense(nn.relu(nn.bias_add(nn.dense(%x, %w1), %b1)), %w2), %b2))))'

# Name in the corpus, without grad_ and the transform (fo, ho, pe): a function's body, and what it calls.
WRITTEN = {
    'add': ('%x + %x', ''),
    'batch_norm_infer_like': ('(%x - mean(%x, axis=[0], keepdims=True)) * %g + %b', ''),
    'concat': ('concatenate((%x, %y, %x), axis=1)', ''),
    'conv2d': ('nn.conv2d(%x, %w, padding=[1, 1])', ''),
    'cross_entropy': ('nn.cross_entropy(nn.softmax(%p), nn.softmax(%y))', ''),
    'ctl_loop_global': ('@loop(0f, %x1, %x1)', '''
def @loop(%i: float32, %acc: Tensor[(3), float32], %x: Tensor[(3), float32]) -> Tensor[(3), float32] {
  if (%i <= 3f) { @loop(%i + 1f, %acc * %x, %x) } else { %acc }
}'''),
    'dense': ('nn.dense(%x, %w)', ''),
    'div': ('%x / (%y * %y + 1f) - 2f / (%x * %x + 1f)', ''),
    'global_calls': ('@sq(@double(%x1))', '''
def @double(%x: Tensor[(4), float32]) { %x + %x }
def @sq(%x: Tensor[(4), float32]) { @double(%x) * %x }'''),
    'global_pool_flatten': ('nn.batch_flatten(nn.global_avg_pool2d(%x))', ''),
    'id': ('%x', ''),
    'layer_stack': ('@layer(@layer(@layer(%x, %w), %w), %w)', '''
def @layer(%x: Tensor[(2, 4), float32], %w: Tensor[(4, 4), float32]) { tanh(nn.dense(%x, %w)) }'''),
    'list_foldl': ('@foldl(fn (%a: Tensor[(2), float32], %b: Tensor[(2), float32]) -> Tensor[(2), float32] '
                   '{ %a * %b }, %x1, Cons(%x1, Cons(%x1 + 1f, Nil)))', ''),
    'mlp_first_order': (MLP, ''),
    'mlp_higher_order': (MLP, ''),
    'mul_bcast': ('%x * %y', ''),
    'nat_iterate': ('@iterate(fn (%y: Tensor[(3), float32]) -> Tensor[(3), float32] { %y + %y }, 3)(%x)', ''),
    'nat_pow_tvmtest': ('@iterate(fn (%y: Tensor[(3, 3), float32]) -> Tensor[(3, 3), float32] { %y + %y }, 3)(%i)', ''),
    'pool': ('nn.max_pool2d(%x, pool_size=[2, 2], strides=[2, 2]) + nn.avg_pool2d(%x, pool_size=[2, 2], strides=[2, 2])', ''),
    'reduce': ('sum(%x, axis=[1]) * mean(%x, axis=[1]) + max(%x, axis=[1])', ''),
    'ref': ('let %r = ref(%x); ref_write(%r, ref_read(%r) * ref_read(%r)); ref_read(%r)', ''),
    'relu2': ('nn.relu(%x) * nn.relu(%x + 0.1f)', ''),
    'reshape_transpose': ('reshape(transpose(%x, axes=[2, 0, 1]), newshape=[4, 6]) * 3f', ''),
    'rnn_cell_loop': ('@loop(0f, %h, %w1)', '''
def @loop(%i: float32, %s: Tensor[(1, 3), float32], %w: Tensor[(3, 3), float32]) -> Tensor[(1, 3), float32] {
  if (%i <= 2f) { @loop(%i + 1f, tanh(nn.dense(%s, %w)), %w) } else { %s }
}'''),
    'slice_take': ('take(%x, minimum(arange(0, 3, 1) * 2, 2), axis=0)', ''),
    'softmax': ('nn.softmax(%x) * nn.log_softmax(%x)', ''),
    'square_second_order': ('grad(fn (%y: Tensor[(3, 3), float32]) -> Tensor[(3, 3), float32] { %y * %y })(%y0).1.0', ''),
    'sub': ('%x - %y', ''),
    'tanh_second_order': ('grad(fn (%y: Tensor[(3), float32]) -> Tensor[(3), float32] { tanh(%y) * %y })(%y0).1.0', ''),
    'tuple': ('let %t = (%x * %y, %x + %y, %y); %t.0 + %t.2', ''),
    'unary': ('exp(%x) + log(%x * %x + 1f) + sigmoid(%x) + tanh(%x) + sqrt(%x * %x + 1f) + sin(%x) * cos(%x)', ''),
    'where_clip': ('where(%x <= %y, clip(%x, a_min=-0.5, a_max=0.5), %y * %y)', ''),
}


def written(name):
    """Of grad_KIND_NAME, of grad_NAME, or of grad_NAME_pe."""
    name = name[len('grad_'):]
    for n in (name, name[3:], name[:-3]):
        if n in WRITTEN:
            return WRITTEN[n]
    return None


def with_text(meta, text, body, more):
    """The program, and a function that differentiates; #[metadata] stays behind all of it."""
    params = ', '.join('%%%s: Tensor[(%s), %s]' % (a['name'], ', '.join(map(str, a['shape'])), a['dtype'])
                       for a in meta['args'])
    args = ', '.join('%' + a['name'] for a in meta['args'])
    added = '%s\ndef @primal(%s) { %s }\ndef @gradient(%s) { grad(@primal)(%s) }\n' % (
        more, params, body.replace('ARGS', args), params, args)
    at = text.find('#[metadata]')
    return text + added if at < 0 else text[:at] + added + text[at:]


def differs(got, want, tolerance):
    """Both in order: what is not equal, or None."""
    if len(got) != len(want):
        return '%d tensors, expected %d' % (len(got), len(want))
    for i, (g, w) in enumerate(zip(got, want)):
        if g.shape != w.shape or g.dtype != w.dtype:
            return 'tensor %d is %s %s, expected %s %s' % (i, g.dtype, g.shape, w.dtype, w.shape)
        if not np.allclose(g, w, **tolerance):
            return 'tensor %d: off by %.2g' % (i, np.abs(g - w).max())
    return None


def check(name, how, way):
    folder = os.path.join(CORPUS, name)
    with open(os.path.join(folder, 'meta.json')) as f:
        meta = json.load(f)
    if how == 'taken':
        with open(os.path.join(folder, 'model.rly')) as f:
            text = with_text(meta, f.read(), '@%s(ARGS).0' % meta['entry'], '')
    else:
        found = written(name)
        if not found:
            return 'this test does not know the function behind it'
        text = with_text(meta, '', *found)
    with tempfile.TemporaryDirectory() as tmp:
        program, out = os.path.join(tmp, 'p.rly'), os.path.join(tmp, 'out.npz')
        with open(program, 'w') as f:
            f.write(text)
        r = subprocess.run([RVM, 'run', program, '--entry', 'gradient', '--inputs', os.path.join(folder, 'inputs.npz'),
                            '--output', out, '--quiet', *way], capture_output=True, text=True)
        if r.returncode:
            return 'exit %d: %s' % (r.returncode, r.stderr.strip()[:400])
        with np.load(out) as z, np.load(os.path.join(folder, 'outputs.npz')) as want:
            return differs([z['out.%d' % i] for i in range(len(z.files))],
                           [want['out%d' % i] for i in range(len(want.files))], meta['tolerance'])


def main():
    if not os.path.isdir(CORPUS):
        print('no corpus at %s: skipped' % CORPUS)
        return 77
    names = sorted(n for n in os.listdir(CORPUS) if n.startswith('grad_'))
    jobs = [(n, how, way) for n in names for how in ('written', 'taken') for way in WAYS]
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda job: check(*job), jobs))
    failed = [(job, why) for job, why in zip(jobs, results) if why]
    for (name, how, way), why in failed:
        print('%s, %s, %s: %s' % (name, how, ' '.join(way), why))
    print('%d programs, %d passed, %d failed' % (len(names), len(jobs) - len(failed), len(failed)))
    return 1 if failed or not names else 0


if __name__ == '__main__':
    sys.exit(main())
