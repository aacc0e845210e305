#!/usr/bin/python3
"""Operators with numbers out of all proportion: no crash, no endless run, no image that is refused.

  run_attributes.py RVM [--seed S] [--variants N]

A variant is an example of a record with some of the numbers among its attributes, or of the extents of its tensors,
replaced by the ends of integer types, zeros and negative numbers.  Checked and run, interpreted with a bound on memory
and steps, it gives a result or says what is wrong (exit codes 0, 1 and 3); what was built is read again.  In a build
with sanitizers they find what is not seen from outside."""
import argparse
import os
import random
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
from checks import check, finish, in_folder, np
from run_ops import Example, all_records, metadata

NUMBERS = [0, -1, -2, 3, 5, 100000, 2**31 - 1, 2**31, -2**31, 2**62, 2**63 - 1, -2**63 + 1]
EXTENTS = [0, 1, 5, 2**31 - 1, 2**31, 2**32, 2**40, 2**61, 2**62, 2**63 - 1, 'n', 'm', '2 * n + 1', 'n * m', '?']
TIME = 120  # seconds for one program, sanitizers included


def places(record, text):
    """Where numbers of attributes stand in the text of an example."""
    out = []
    for a in record['attrs']:
        for m in re.finditer(r'\b%s\s*=\s*(\[[^=]*\]|-?\d+(?:\.\d+)?\b)' % re.escape(a['name']), text):
            out += [(m.start(1) + d.start(), m.start(1) + d.end())
                    for d in re.finditer(r'(?<![\w.])-?\d+(?:\.\d+)?', m.group(1))]
    return out


def other_attributes(record, text, r):
    """One or two numbers become others, or an attribute that was left out is given."""
    found = places(record, text)
    absent = [a for a in record['attrs'] if a['type'] in ('int', 'ints', 'int or ints') and a['name'] + '=' not in text]
    if found and (not absent or r.random() < 0.75):
        for start, end in sorted(r.sample(found, min(len(found), r.choice([1, 1, 2]))), reverse=True):
            text = text[:start] + str(r.choice(NUMBERS)) + text[end:]
    elif absent:
        a = r.choice(absent)
        value = r.choice(NUMBERS) if a['type'] == 'int' else [r.choice(NUMBERS) for _ in range(r.randint(1, 4))]
        text = '%s%s%s=%s)' % (text[:-1], '' if text.endswith('()') else ', ', a['name'], value)
    return text


def other_extents(types, r):
    """Some extents of the parameters become others, mostly the same the same."""
    known = {}

    def one(d):
        if r.random() < 0.35 and (d not in known or r.random() < 0.2):
            known[d] = str(r.choice(EXTENTS))
        return known.get(d, d)

    def tensor(t):
        dims, dtype = re.match(r'Tensor\[\(([^)]*)\), (\w+)\]$', t).groups()
        dims = [one(d.strip()) for d in dims.split(',') if d.strip()]
        return 'Tensor[(%s%s), %s]' % (', '.join(dims), ',' if len(dims) == 1 else '', dtype)

    return [tensor(t) for t in types]


def program(e, types):
    params = ', '.join('%%p%d: %s' % p for p in enumerate(types))
    text = '#[version = "0.0.5"]\ndef @main(%s) { %s }\n' % (params, e.numbered(0))
    return text + (metadata(e.meta) if e.meta else '')


def sound(rvm, name, codes, *args):
    """Whether it ended well: with one of the codes, and nothing that a sanitizer says."""
    try:
        r = subprocess.run([rvm, *args], capture_output=True, text=True, errors='replace', timeout=TIME)
    except subprocess.TimeoutExpired:
        return check(name, False, 'no end')
    said = re.search(r'.*(runtime error:|Sanitizer).*', r.stderr)
    ok = r.returncode in codes and not said
    check(name, ok, '%s: exit %d: %s' % (' '.join(args), r.returncode, said.group(0) if said else r.stderr[:300]))
    return ok and r.returncode == 0


def try_one(rvm, record, text, r):
    if r.random() < 0.6:
        changed = Example(other_attributes(record, text, r), record)
        types = [p[1] for p in changed.params]
        args = ['run', 'a.rly', '--engine', 'interp', '--quiet', '--memory-limit', '256M', '--fuel', '20000000']
        if types:
            np.savez('in.npz', **{'p%d' % k: p[0] for k, p in enumerate(changed.params)})
            args += ['--inputs', 'in.npz']
    else:
        changed = Example(text, record)
        types = other_extents([p[1] for p in changed.params], r)
        args = ['build', 'a.rly', '--out', 'a.rvm']
    source = program(changed, types)
    with open('a.rly', 'w') as f:
        f.write(source)
    name = source.split('\n')[1]
    if sound(rvm, name, (0, 1, 3), *args) and args[0] == 'build':
        sound(rvm, name, (0,), 'info', 'a.rvm')


def main():
    p = argparse.ArgumentParser()
    p.add_argument('rvm', type=os.path.abspath)
    p.add_argument('--seed', type=int, default=1)
    p.add_argument('--variants', type=int, default=250)
    o = p.parse_args()
    r = random.Random(o.seed)
    records = [x for x in all_records(o.rvm, []) if x['examples']]
    with in_folder():
        for _ in range(o.variants):
            record = r.choice(records)
            try_one(o.rvm, record, r.choice(record['examples']), r)


main()
finish()
