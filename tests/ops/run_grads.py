#!/usr/bin/python3
"""Derivatives of operators against finite differences, first and second order, and forward mode
against reverse mode.

  run_grads.py RVM [--jobs N] [-v] [NAME...]

Every example of every record that has a gradient (syntax: stdlib/README.md), its floats read as
float64.  With l(x) = <c, op(x)> for a fixed cotangent c, checked along a random direction v in all
float operands at once: <grad l, v> against central differences of l, and for s(x) = <grad l, u> the
same once more.  Forward mode: <c, jvp(op)(x, v)> is the same as <grad l, v>, and the jvp of s along v
as <grad s, v>, to 1e-12 of the sizes of their terms.  Differences of two step widths are combined,
so that their error is far below the tolerance.  An operator that is neither declared without
gradient nor tested fails.  NAME: only operators whose name contains it."""
import argparse
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import run_ops

H = 1e-5
FLOATS = ('float16', 'bfloat16', 'float32', 'float64')


class Refused(str):
    """What a rule says of attributes it has no gradient for."""


def as_f64(text):
    text = re.sub(r'\b(f32|f16|bf16)\[', 'f64[', text)
    text = re.sub(r'\](f32|f16|bf16)\b', ']f64', text)
    text = re.sub(r'"(float32|float16|bfloat16)"', '"float64"', text)
    text = re.sub(r'=(-?\d+(?:\.\d+)?(?:e-?\d+)?)f\b', r'=\1', text)
    return re.sub(r'(?<![=\w.])(-?\d+(?:\.\d+)?)f\b', r'\1f64', text)


def named(e):
    """One name for each unknown extent, so that points and directions agree."""
    n = 0
    for i, p in enumerate(e.params):
        t = p[1]
        while '?' in t:
            t, n = t.replace('?', 'd%d' % n, 1), n + 1
        e.params[i] = (p[0], t, p[2])


def leaves_of(rvm, text, tmp):
    """Element types of the result's tensors, and whether it is a tuple; or None and why."""
    src = os.path.join(tmp, 'type.rly')
    open(src, 'w').write(text)
    r = subprocess.run([rvm, 'opt', src, '--passes', 'copy'], capture_output=True, text=True)
    if r.returncode:
        return None, False, r.stderr
    m = re.search(r'def @op\(.*?\) -> (.*) \{\n', r.stdout)
    t = m.group(1)
    if not t.startswith('('):
        return [re.search(r'(\w+)\]?$', t).group(1)], False, None
    return [re.search(r'(\w+)\]?$', s).group(1) for s in run_ops.cut(t[1:-1])], True, None


def weights(x, phase):
    """A fixed tensor in the shape of x."""
    return ('sin(reshape_like(cast(arange(1i64, ndarray_size(%s, dtype="int64") + 1i64, 1i64, dtype="int64"), '
            'dtype="float64"), %s) * 1.7f64 + %sf64)' % (x, x, phase))


def function_of(e):
    params = ', '.join('%%p%d: %s' % (i, p[1]) for i, p in enumerate(e.params))
    return '#[version = "0.0.5"]\ndef @op(%s) {\n  %s\n}\n' % (params, e.numbered(0))


def program(e, leaves, second):
    params = ', '.join('%%p%d: %s' % (i, p[1]) for i, p in enumerate(e.params))
    names = ', '.join('%%p%d' % i for i in range(len(e.params)))
    text = function_of(e)
    parts = []
    for i, t in enumerate(leaves):
        y = '%y' if not e.is_tuple else '%%y.%d' % i
        if t == 'float64':
            parts.append('sum(%s * %s)' % (y, weights(y, '0.%d' % (i + 1))))
    text += 'def @l(%s) -> float64 { let %%y = @op(%s); %s }\n' % (params, names, ' + '.join(parts))
    floats = [i for i, p in enumerate(e.params) if p[1].endswith('float64]')]
    grads = ['sum(%%g.1.%d * %s)' % (i, weights('%%p%d' % i, '0.%d7' % (i + 1))) for i in floats]
    text += 'def @s(%s) -> float64 { let %%g = grad(@l)(%s); %s }\n' % (params, names, ' + '.join(grads))
    dirs = ', '.join('%%v%d: %s' % (i, e.params[i][1]) for i in floats)
    functions = ['l', 's'] if second else ['l']
    outs = []
    for f in functions:
        for k in (1, -1, 2, -2):
            args = ', '.join('%%p%d + %%v%d * %rf64' % (i, i, k * H) if i in floats else '%%p%d' % i
                             for i in range(len(e.params)))
            outs.append('@%s(%s)' % (f, args))
        products = ['%%d%s.1.%d * %%v%d' % (f, i, i) for i in floats]
        outs.append(' + '.join('sum(%s)' % p for p in products))
        outs.append(' + '.join('sum(abs(%s))' % p for p in products))
    lets = ''.join('  let %%d%s = grad(@%s)(%s);\n' % (f, f, names) for f in functions)
    steps = ', '.join('%%v%d' % i if i in floats else '%%p%d' % i for i in range(len(e.params)))
    lets += '  let %%j = jvp(@op)(%s, %s);\n' % (names, steps)
    parts = ['%%j.{}.%d' % i if e.is_tuple else '%j.{}' for i, t in enumerate(leaves) if t == 'float64']
    at = [i for i, t in enumerate(leaves) if t == 'float64']
    parts = ['%s * %s' % (p.format(1), weights(p.format(0), '0.%d' % (i + 1))) for p, i in zip(parts, at)]
    outs.insert(6, ' + '.join('sum(%s)' % p for p in parts))
    outs.insert(7, ' + '.join('sum(abs(%s))' % p for p in parts))
    if second:
        lets += '  let %%js = jvp(@s)(%s, %s);\n' % (names, steps)
        outs += ['%js.1', '0f64']
    text += 'def @main(%s, %s) {\n%s  (%s,)\n}\n' % (params, dirs, lets, ', '.join(outs))
    return text + (run_ops.metadata(e.meta) if e.meta else ''), floats


def check(rvm, text, record, keep, second):
    e = run_ops.Example(as_f64(text), record)
    e.call = as_f64(e.call)
    named(e)
    floats = [p for p in e.params if p[1].endswith('float64]')]
    if not floats or any(p[0].size == 0 for p in e.params):
        return None
    with tempfile.TemporaryDirectory() as tmp:
        leaves, e.is_tuple, why = leaves_of(rvm, function_of(e) + (run_ops.metadata(e.meta) if e.meta else ''), tmp)
        if leaves is None:
            return 'the call is rejected: %s' % why.strip()[:200]
        if 'float64' not in leaves:
            return None
        src, npz, out = (os.path.join(tmp, n) for n in ('g.rly', 'in.npz', 'out.npz'))
        text, floats = program(e, leaves, second)
        inputs = {'p%d' % i: p[0] for i, p in enumerate(e.params)}
        for i in floats:
            inputs['v%d' % i] = e.rng.uniform(-1, 1, e.params[i][0].shape)
        open(src, 'w').write(text)
        if keep:
            open(keep, 'w').write(text)
            np.savez(keep + '.npz', **inputs)
        np.savez(npz, **inputs)
        for attempt in range(2):
            np.savez(npz, **inputs)
            r = subprocess.run([rvm, 'run', src, '--inputs', npz, '--output', out], capture_output=True, text=True, timeout=120)
            refused = re.search(r'E0403\]: no derivative: (.*)', r.stderr)
            if refused:
                return Refused(refused.group(1))
            if r.returncode:
                return (r.stderr.strip() or 'died of signal %d' % -r.returncode)[-600:]
            got = [float(x) for x in run_ops.leaves(out)[:16 if second else 8]]
            if all(np.isfinite(got)):
                break
            for i in floats:        # outside its domain: above 1 most functions are defined
                inputs['p%d' % i] = np.abs(inputs['p%d' % i]) + 1.1
    worst = 0
    for k, order in enumerate(('first', 'second')[:2 if second else 1]):
        a, b, c, d, dot, terms, along, terms2 = got[8 * k:8 * k + 8]
        fd = (4 * (a - b) / (2 * H) - (c - d) / (4 * H)) / 3
        size = max(1.0, abs(fd), abs(dot))
        if not abs(fd - dot) < 1e-6 * size:
            return '%s order: %.12g, by differences %.12g' % (order, dot, fd)
        worst = max(worst, abs(fd - dot) / size)
        if not abs(along - dot) < 1e-12 * max(1.0, terms, terms2):
            return '%s order: %.15g, by forward mode %.15g' % (order, dot, along)
    return worst


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument('rvm')
    ap.add_argument('names', nargs='*')
    ap.add_argument('--jobs', type=int, default=2)
    ap.add_argument('--keep')
    ap.add_argument('--first', action='store_true', help='first order only')
    ap.add_argument('-v', action='store_true')
    a = ap.parse_intermixed_args()
    rvm = os.path.abspath(a.rvm)
    records = run_ops.all_records(rvm, a.names)
    todo = [(r, x) for r in records for x in r['examples'] if r['gradient'] == 'yes']

    def go(job):
        try:
            return check(rvm, job[1], job[0], a.keep, not a.first)
        except Exception as e:
            return 'runner: %r' % e
    with ThreadPoolExecutor(a.jobs) as pool:
        results = list(pool.map(go, todo))
    refused = [(j[1], r) for j, r in zip(todo, results) if isinstance(r, Refused)]
    bad = [(j[1], r) for j, r in zip(todo, results) if isinstance(r, str) and not isinstance(r, Refused)]
    done = [r for r in results if isinstance(r, float)]
    tested = {j[0]['name'] for j, r in zip(todo, results) if isinstance(r, float)}
    zero = {j[0]['name'] for j, r in zip(todo, results)} - tested
    silent = [r['name'] for r in records if r['gradient'] == 'no' and not r['not_differentiable']]
    for x, why in bad:
        print('%s: %s' % (x, why))
    for name in sorted(zero):
        print('%s: no example tests its gradient' % name)
    for name in silent:
        print('%s: neither a gradient (stdlib/grad_rules.def) nor a reason why there is none' % name)
    if a.v:
        for x, why in refused:
            print('refused: %s: %s' % (x, why))
        print('worst error %.2g' % max(done, default=0))
    print('%d gradients of %d operators right, %d wrong, %d refused' % (len(done), len(tested), len(bad), len(refused)))
    sys.exit(bool(bad or zero or silent) or not (done or a.names))


main()
