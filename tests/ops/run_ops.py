#!/usr/bin/python3
"""Operator conformance: every example of every record against an independent NumPy reference.

  run_ops.py RVM [--random SEED] [--extra ARG]... [--jobs N] [-v] [NAME...]

`RVM ops --json` gives the records.  Each example (syntax: stdlib/README.md) becomes a function of
a program, `?` where the example says so, and many share one process; a batch that fails as a
whole is cut in halves until the examples at fault are alone.  Shapes and element types must be
equal, values within the tolerance of their type.  An operator without an example or without a
reference fails.  NAME: only operators whose name contains it.  --random: calls drawn by
random_ops.py instead of the examples.  --extra: handed to rvm run."""
import argparse
import base64
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, '..')]
from checks import leaves
from reference import REF
import reference_nn      # noqa: F401 (they register themselves)
import reference_image   # noqa: F401
import random_ops

SHORT = {'f64': 'float64', 'f32': 'float32', 'f16': 'float16', 'bf16': 'bfloat16', 'bool': 'bool'}
SHORT.update({k + n: v + n for k, v in (('i', 'int'), ('u', 'uint')) for n in ('8', '16', '32', '64')})
TOLERANCE = {'float64': (1e-10, 1e-12), 'float32': (2e-5, 2e-6), 'float16': (4e-3, 2e-3), 'bfloat16': (2e-2, 2e-2)}
BATCH = 96


# ---- examples ---------------------------------------------------------------------------------------
def cut(text):
    """Split at commas outside brackets and quotes."""
    out, depth, quoted, last = [], 0, False, 0
    for i, c in enumerate(text):
        if c == '"':
            quoted = not quoted
        elif not quoted:
            depth += (c in '([') - (c in ')]')
            if c == ',' and depth == 0:
                out.append(text[last:i])
                last = i + 1
    return [s.strip() for s in out + [text[last:]] if s.strip()]


class Attrs(dict):
    """Attributes by name; one that the record does not have is None."""
    def __getattr__(self, name):
        return self.get(name)


def attr_value(text, kind):
    if text is None or text in ('None', 'null', ''):
        return None if kind not in ('string',) else text
    if kind in ('string', 'dtype'):
        return text.strip('"')
    text = re.sub(r'(?<=[\d.])f\b', '', text)
    v = {'True': True, 'False': False}.get(text)
    return v if v is not None else json.loads(text)


def tensor_values(t, shape, rule, rng):
    if t == 'bool':
        return rng.integers(0, 2, shape).astype(bool)
    is_float = t.startswith(('float', 'bfloat'))
    least, limit = None, None
    if rule:
        n = float(rule[1:])
        least, limit = (n, None) if rule[0] == '>' else (0, n)
    if is_float:
        lo, hi = (-1, 1) if rule is None else (least, limit) if limit is not None else (least + 0.1, least + 2.1)
        v = rng.uniform(lo, hi, shape)
        v = np.asarray(v, np.float64)
        if t == 'bfloat16':
            bits = np.asarray(v, np.float32).view(np.uint32)
            return (bits & np.uint32(0xffff0000)).view(np.float32).reshape(shape)
        return v.astype(t)
    i = np.iinfo(t)
    if limit is not None:
        lo, hi = 0, int(limit)
    elif least is not None:
        lo, hi = int(least) + 1, int(least) + 10
    else:
        lo, hi = (i.min, i.max + 1) if i.bits == 8 else (max(i.min, -20), 20)
    return rng.integers(lo, hi, shape).astype(t)


class Arg:
    """One tensor of a call: its text in the call, and a parameter of that type unless it is a literal."""
    def __init__(self, value, text, type_text=None, bf16=False):
        self.value, self.text, self.type, self.bf16 = value, text, type_text, bf16


class Example:
    def __init__(self, text, record):
        self.text, self.record = text, record
        self.bf16 = 'bf16' in text or 'bfloat16' in text
        self.params, self.meta = [], []
        self.rng = np.random.default_rng(zlib.crc32(text.encode()))
        name, inside = re.match(r'([\w.]+)\((.*)\)$', text, re.S).groups()
        self.name, self.attrs, calls, self.args = name, Attrs(), [], []
        kinds = {a['name']: a for a in record['attrs']}
        for n, a in kinds.items():
            if a['type'] != 'ignored':
                self.attrs[n] = attr_value(a['default'], a['type'])
        for part in cut(inside):
            m = re.match(r'([A-Za-z_]\w*)\s*=(?!=)\s*(.*)$', part, re.S)
            if m:
                if m.group(1) in kinds and kinds[m.group(1)]['type'] != 'ignored':
                    self.attrs[m.group(1)] = attr_value(m.group(2), kinds[m.group(1)]['type'])
                calls.append(part)
            else:
                value, call = self.argument(part)
                self.args.append(value)
                calls.append(call)
        self.call = '%s(%s)' % (name, ', '.join(calls))

    def numbered(self, first):
        """The call, with its constants as those of the program from this one on."""
        return re.sub(r'<meta (\d+)>', lambda m: 'meta[relay.Constant][%d]' % (first + int(m.group(1))), self.call)

    def argument(self, text):
        if text.startswith('('):
            both = [self.argument(s) for s in cut(text[1:-1])]
            inside = ', '.join(c for _, c in both)
            return [v for v, _ in both], '(%s%s)' % (inside, ',' if len(both) == 1 else '')
        m = re.match(r'(\w+)\[([^\]]*)\]\s*([<>][-\d.]+)?$', text)
        if m and m.group(1) in SHORT:
            return self.parameter(SHORT[m.group(1)], [s.strip() for s in m.group(2).split(',') if s.strip()], m.group(3))
        m = re.match(r'(\[.*\])(\w+)$', text, re.S)
        if m:
            v = np.array(json.loads(m.group(1)), SHORT[m.group(2)])
            self.meta.append(v)
            return v, '<meta %d>' % (len(self.meta) - 1)
        m = re.match(r'(-?[\d.]+(?:e-?\d+)?)([a-z]\w*)?$', text)
        kind = m.group(2) or ('float32' if '.' in m.group(1) else 'int32')
        t = {'f': 'float32'}.get(kind, SHORT.get(kind, kind))
        return np.array(float(m.group(1)) if 'float' in t else int(m.group(1)), t), text

    def parameter(self, t, extents, rule):
        shape = tuple(int(s.strip('?')) for s in extents)
        dims = ['?' if s.startswith('?') else s for s in extents]
        v = tensor_values(t, shape, rule, self.rng)
        self.params.append((v, 'Tensor[(%s%s), %s]' % (', '.join(dims), ',' if len(dims) == 1 else '', t), t == 'bfloat16'))
        return v, '%%p%d' % (len(self.params) - 1)


# ---- programs -------------------------------------------------------------------------------------------
def ndarray_b64(v):
    code = {'f': 2, 'i': 0, 'u': 1, 'b': 1}[v.dtype.kind]
    bits = 1 if v.dtype.kind == 'b' else v.dtype.itemsize * 8
    head = struct.pack('<QQiiiBBH', 0xDD5E40F096B4A13F, 0, 1, 0, v.ndim, code, bits, 1)
    head += struct.pack('<%dq' % v.ndim, *v.shape) + struct.pack('<q', v.nbytes)
    return base64.b64encode(head + np.ascontiguousarray(v).tobytes()).decode()


def metadata(arrays):
    n = len(arrays)
    nodes = [{'type_key': ''}, {'type_key': 'Map', 'keys': ['relay.Constant'], 'data': [2]},
             {'type_key': 'Array', 'data': list(range(3, 3 + n))}]
    nodes += [{'type_key': 'relay.Constant', 'attrs': {'data': str(i)}} for i in range(n)]
    return '#[metadata]\n' + json.dumps({'root': 1, 'nodes': nodes, 'b64ndarrays': [ndarray_b64(v) for v in arrays]}, indent=1) + '\n'


def program(batch):
    defs, mains, results, inputs, constants = [], [], [], {}, []
    for k, e in enumerate(batch):
        call = e.numbered(len(constants))
        constants += e.meta
        defs.append('def @e%d(%s) {\n  %s\n}\n' % (k, ', '.join('%%p%d: %s' % (i, p[1]) for i, p in enumerate(e.params)), call))
        given = []
        for i, (v, t, bf16) in enumerate(e.params):
            name = 'x%d_%d' % (k, i)
            inputs[name] = v
            mains.append('%%%s: %s' % (name, re.sub('bfloat16', 'float32', t)))
            given.append('cast(%%%s, dtype="bfloat16")' % name if bf16 else '%' + name)
        result = '@e%d(%s)' % (k, ', '.join(given))
        results.append('cast(%s, dtype="float32")' % result if e.bf16 else result)
    text = '#[version = "0.0.5"]\n' + ''.join(defs)
    text += 'def @main(%s) {\n  (%s,)\n}\n' % (', '.join(mains), ',\n   '.join(results))
    return text + (metadata(constants) if constants else ''), inputs


# ---- running ----------------------------------------------------------------------------------------------
class Runner:
    def __init__(self, rvm, extra, keep):
        self.rvm, self.extra, self.keep = rvm, extra, keep

    def process(self, batch):
        """The result's leaves, or a message."""
        text, inputs = program(batch)
        with tempfile.TemporaryDirectory() as tmp:
            src, out = os.path.join(tmp, 'ops.rly'), os.path.join(tmp, 'out.npz')
            with open(src, 'w') as f:
                f.write(text)
            if self.keep and len(batch) == 1:
                with open(self.keep, 'w') as f:
                    f.write(text)
            call = [self.rvm, 'run', src, '--quiet', '--output', out] + self.extra
            if inputs:
                np.savez(os.path.join(tmp, 'in.npz'), **inputs)
                call += ['--inputs', os.path.join(tmp, 'in.npz')]
            try:
                r = subprocess.run(call, capture_output=True, text=True, errors='replace', timeout=300)
            except subprocess.TimeoutExpired:
                return 'timeout'
            if r.returncode or not os.path.exists(out):
                return 'exit %d: %s' % (r.returncode, (r.stderr.strip() or r.stdout.strip()).replace(src, 'ops.rly')[:600])
            return leaves(out)

    def run(self, batch, wants):
        """[message or None] for each example."""
        got = self.process(batch)
        counts = [len(w) for w in wants]
        if not isinstance(got, str) and len(got) == sum(counts):
            out, at = [], 0
            for e, w in zip(batch, wants):
                out.append(compare(e, got[at:at + len(w)], w))
                at += len(w)
            return out
        if len(batch) == 1:
            return [got if isinstance(got, str) else 'gives %d tensors, the reference %d' % (len(got), counts[0])]
        h = len(batch) // 2
        return self.run(batch[:h], wants[:h]) + self.run(batch[h:], wants[h:])


def compare(e, got, want):
    for i, (g, w) in enumerate(zip(got, want)):
        where = 'result %d: ' % i if len(want) > 1 else ''
        if g.shape != w.shape:
            return '%sshape %s, expected %s' % (where, g.shape, w.shape)
        if g.dtype != w.dtype and not e.bf16:
            return '%s%s, expected %s' % (where, g.dtype, w.dtype)
        if w.dtype.kind == 'f':
            rtol, atol = TOLERANCE['bfloat16' if e.bf16 else w.dtype.name]
            ok = np.isclose(g.astype(np.float64), w.astype(np.float64), rtol=rtol, atol=atol, equal_nan=True)
        else:
            ok = g == w
        if not np.all(ok):
            at = tuple(int(v[0]) for v in np.nonzero(~np.asarray(ok).reshape(g.shape if g.ndim else (1,)))) if g.ndim else ()
            return '%s%d of %d differ; at %s: %s, expected %s' % (where, np.sum(~ok), g.size, at, g[at], w[at])
    return None


def expected(e):
    with np.errstate(all='ignore'):
        r = REF[e.name](e.args, e.attrs)
    return [np.asarray(v) for v in (r if isinstance(r, (list, tuple)) else [r])]


def all_records(rvm, names):
    """Of the operators whose names contain one of these, or of all."""
    r = subprocess.run([rvm, 'ops', '--json'], capture_output=True, text=True, check=True)
    return [x for x in json.loads(r.stdout) if not names or any(n in x['name'] for n in names)]


def calls(records, seed, bad):
    """(record, text) of what is to run."""
    if seed is not None:
        by_name = {r['name']: r for r in records}
        drawn = [(by_name.get(t.split('(')[0]), t) for t in random_ops.examples(seed)]
        return [(r, t) for r, t in drawn if r]
    out = []
    for r in records:
        if not r['examples']:
            bad.append((r['name'], 'has no example'))
        if r['name'] not in REF:
            bad.append((r['name'], 'has no reference'))
        else:
            out += [(r, t) for t in r['examples']]
    return out


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument('rvm')
    ap.add_argument('names', nargs='*')
    ap.add_argument('--random', type=int, metavar='SEED')
    ap.add_argument('--extra', action='append', default=[])
    ap.add_argument('--jobs', type=int, default=2)
    ap.add_argument('--keep', help='write the program of an example run alone to this file')
    ap.add_argument('-v', action='store_true', help='name every example')
    o = ap.parse_intermixed_args()
    records = all_records(o.rvm, o.names)
    bad, batch, wants = [], [], []
    for r, text in calls(records, o.random, bad):
        try:
            e = Example(text, r)
            wants.append(expected(e))
            batch.append(e)
        except Exception as why:
            bad.append((text, 'the reference fails: %s: %s' % (type(why).__name__, why)))
    runner = Runner(os.path.abspath(o.rvm), o.extra, o.keep)
    parts = [slice(i, i + BATCH) for i in range(0, len(batch), BATCH)]
    with ThreadPoolExecutor(o.jobs) as pool:
        results = sum(pool.map(lambda s: runner.run(batch[s], wants[s]), parts), [])
    for e, why in zip(batch, results):
        if why:
            bad.append((e.text, why))
        elif o.v:
            print('ok   %s' % e.text)
    for text, why in bad:
        print('FAIL %s\n     %s' % (text, why.replace('\n', '\n     ')))
    print('%d passed, %d failed' % (sum(not w for w in results), len(bad)))
    sys.exit(bool(bad) or not results)


if __name__ == '__main__':
    main()
