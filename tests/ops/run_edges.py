#!/usr/bin/python3
"""Operators at the edges: every example of every record with other extents and values, one engine against another.

  run_edges.py RVM [--seed S] [--variants N] [--engine NAME]... [--keep DIR] [--part I/N] [NAME...]

In each variant the extents of an example are mapped to others (0, 1, primes around the lengths of vectors), the same to
the same, some unknown to the checker; what the checker then refuses is left out.  Values have NaN, infinities, signed
zeros, denormals and the ends of integer types among them.  The engines (default: native) must give what the
interpreter gives: the same errors, the same bits where nothing is summed, else values within rounding."""
import argparse
import os
import random
import re
import subprocess
import sys
import tempfile

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from run_ops import Example, SHORT, all_records, leaves, metadata

EXTENTS = [0, 1, 1, 2, 3, 5, 7, 13, 16, 17, 31, 37]
SUMS = re.compile(r'sum|mean|dense|matmul|conv|pool|norm|softmax|variance|std|prod|lrn|resize|dft|einsum|logsumexp|loss'
                  r'|cross_entropy|cumulative|upsampling|grid_sample|roi|attention|spectrogram|mel|linear|filter')
BATCH = 60
TOLERANCE = {'float64': 1e-9, 'float32': 1e-4, 'float16': 2e-2}


# ---- variants of an example ---------------------------------------------------------------------------
def other_extents(text, r, limit):
    """The extents of the tensors become others, the same number the same."""
    known = {}

    def one(s):
        n = s.strip().lstrip('?')
        if not n.isdigit():
            return s
        if n not in known:
            known[n] = n if r.random() < limit else str(r.choice(EXTENTS))
        return ('?' if r.random() < 0.3 else '') + known[n]

    def tensor(m):
        rule = m.group(3) or ''
        if rule[:1] == '<' and rule[1:] in known:
            rule = '<' + known[rule[1:]] if known[rule[1:]] != '0' else '<1'
        return '%s[%s]%s' % (m.group(1), ','.join(one(s) for s in m.group(2).split(',')) if m.group(2) else '', rule)

    return re.sub(r'\b(%s)\[([^\]]*)\]\s*([<>][\d.]+)?' % '|'.join(SHORT), tensor, text)


def strange(v, r, share):
    """Some values at the edges of the type."""
    v = np.array(v)
    if v.dtype.kind == 'f':
        info = np.finfo(v.dtype)
        odd = [np.nan, np.inf, -np.inf, 0.0, -0.0, float(info.smallest_subnormal), -float(info.tiny) / 4, 1.0, -1.0, 0.5, 2.5]
    elif v.dtype.kind in 'iu' and v.dtype.itemsize > 1:
        info = np.iinfo(v.dtype)
        odd = [info.min, info.max, 0, 1, max(info.min, -1)]
    else:
        return v
    flat = v.reshape(-1)
    for i in range(flat.size):
        if r.random() < share:
            flat[i] = r.choice(odd)
    return flat.reshape(v.shape)


class Case:
    def __init__(self, text, record, r, share):
        self.e = Example(text, record)
        self.text, self.share = text, share
        self.values = [(strange(v, r, share) if not bounded else v)
                       for (v, _, _), bounded in zip(self.e.params, self.bounded(text))]

    @staticmethod
    def bounded(text):
        """Whether the values of each tensor are positions or the like."""
        found = re.findall(r'\b(?:%s)\[[^\]]*\](\s*[<>][\d.]+)?' % '|'.join(SHORT), text)
        return [bool(x) for x in found] + [False] * 8

    def definition(self, name, constants):
        e = self.e
        call = e.numbered(len(constants))
        constants += e.meta
        params = ', '.join('%%p%d: %s' % (i, re.sub('bfloat16', 'float32', p[1])) for i, p in enumerate(e.params))
        for i, p in enumerate(e.params):
            if p[2]:
                call = re.sub(r'%%p%d\b' % i, 'cast(%%p%d, dtype="bfloat16")' % i, call)
        if e.bf16:
            call = 'cast(%s, dtype="float32")' % call
        return 'def @%s(%s) { %s }\n' % (name, params, call.replace('\n', ' '))


# ---- files of them ----------------------------------------------------------------------------------------
class Files:
    def __init__(self, rvm, tmp, engines, keep):
        self.rvm, self.tmp, self.engines, self.keep = rvm, tmp, engines, keep
        self.run, self.failed, self.faults = 0, 0, 0

    def call(self, *args, **env):
        return subprocess.run([self.rvm, *args], capture_output=True, text=True, errors='replace', timeout=600,
                              env={**os.environ, **env})

    def accepted(self, cases, path):
        """Those that type; the file at path has them."""
        while True:
            constants = []
            text = '#[version = "0.0.5"]\n' + ''.join(c.definition('e%d' % i, constants) for i, c in enumerate(cases))
            with open(path, 'w') as f:
                f.write(text + (metadata(constants) if constants else ''))
            r = self.call('check', path)
            if r.returncode == 0:
                return cases
            lines = {int(m) for m in re.findall(r'^%s:(\d+):\d+: error' % re.escape(path), r.stderr, re.M)}
            wrong = {n - 2 for n in lines}
            if not wrong:
                raise SystemExit('rvm check: ' + r.stderr[:1000])
            cases = [c for i, c in enumerate(cases) if i not in wrong]

    def result(self, image, i, inputs, engine):
        out = os.path.join(self.tmp, 'out.npz')
        if os.path.exists(out):
            os.remove(out)
        args = ['run', image, '--entry', 'e%d' % i, '--quiet', '--engine', engine, '--output', out]
        if inputs:
            args += ['--inputs', inputs]
        r = self.call(*args)
        if r.returncode:
            return 'exit %d: %s' % (r.returncode, r.stderr)
        return leaves(out)

    def batch(self, cases):
        path, image = os.path.join(self.tmp, 'ops.rly'), os.path.join(self.tmp, 'ops.rvm')
        cases = self.accepted(cases, path)
        if not cases:
            return
        r = self.call('build', path, '--out', image)
        if r.returncode:
            self.fail('rvm build: exit %d: %s' % (r.returncode, r.stderr[:600]), path, None)
            return
        inputs = os.path.join(self.tmp, 'in.npz')
        for i, c in enumerate(cases):
            if c.values:
                np.savez(inputs, **{'p%d' % k: v for k, v in enumerate(c.values)})
            want = self.result(image, i, inputs if c.values else None, 'interp')
            self.faults += isinstance(want, str)
            for engine in self.engines:
                got = self.result(image, i, inputs if c.values else None, engine)
                self.run += 1
                why = differs(c, want, got)
                if why:
                    self.fail('%s: e%d %s\n     %s' % (engine, i, c.text, why), path, inputs)

    def fail(self, what, path, inputs):
        self.failed += 1
        print('FAIL ' + what)
        if self.keep:
            for p in (path, inputs):
                if p and os.path.exists(p):
                    name, end = os.path.splitext(os.path.basename(p))
                    os.makedirs(self.keep, exist_ok=True)
                    with open(p, 'rb') as a, open(os.path.join(self.keep, '%s%d%s' % (name, self.failed, end)), 'wb') as b:
                        b.write(a.read())


def differs(c, want, got):
    if isinstance(want, str) or isinstance(got, str):
        if isinstance(want, str) and isinstance(got, str) and want == got and 'exit 70' not in want:
            return None
        return '%s\n     instead of %s' % tuple(x if isinstance(x, str) else 'a result' for x in (got, want))
    for a, b in zip(want, got):
        if a.dtype != b.dtype or a.shape != b.shape:
            return '%s%s instead of %s%s' % (b.dtype, b.shape, a.dtype, a.shape)
        if a.dtype.kind != 'f' or not SUMS.search(c.e.name):
            bits = 'u%d' % a.dtype.itemsize
            same = (a == b) & (np.signbit(a) == np.signbit(b)) if a.dtype.kind == 'f' else a == b
            ok = same | (a != a) & (b != b) if a.dtype.kind == 'f' else a.view(bits) == b.view(bits)
        else:
            t = 2e-2 if c.e.bf16 else TOLERANCE[a.dtype.name]
            with np.errstate(all='ignore'):
                ok = np.isclose(b.astype('f8'), a.astype('f8'), rtol=t, atol=t, equal_nan=True)
        if not np.all(ok):
            at = tuple(int(v[0]) for v in np.nonzero(~np.asarray(ok).reshape(a.shape or (1,)))) if a.shape else ()
            return '%d of %d differ; at %s: %r instead of %r' % (np.sum(~ok), a.size, at, b[at], a[at])
    return None


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument('rvm')
    ap.add_argument('names', nargs='*')
    ap.add_argument('--seed', type=int, default=1)
    ap.add_argument('--variants', type=int, default=1)
    ap.add_argument('--engine', action='append')
    ap.add_argument('--keep', help='a folder for the programs and inputs that differ')
    o = ap.parse_intermixed_args()
    r = random.Random(o.seed)
    cases = []
    for record in all_records(o.rvm, o.names):
        for text in record['examples']:
            for _ in range(o.variants):
                kept = r.choice([0, 0.3, 0.7, 1])
                cases.append(Case(other_extents(text, r, kept), record, r, r.choice([0.05, 0.05, 0.4])))
    with tempfile.TemporaryDirectory() as tmp:
        os.environ['XDG_CACHE_HOME'] = os.path.join(tmp, 'cache')
        f = Files(os.path.abspath(o.rvm), tmp, o.engine or ['native'], o.keep)
        for i in range(0, len(cases), BATCH):
            f.batch(cases[i:i + BATCH])
    print('%d drawn, %d compared, %d of them errors, %d failed' % (len(cases), f.run, f.faults, f.failed))
    sys.exit(f.failed != 0 or f.run == 0)


if __name__ == '__main__':
    main()
