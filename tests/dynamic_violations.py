#!/usr/bin/python3
"""dynamic_violations.py RVM -- shapes that only a run can refuse.

A hundred seeded programs whose types leave extents open (`?` or names).  Each
is run with inputs that agree (it must succeed) and with inputs that do not (it
must end with exit code 1 and an error that has file, line and column): never a
wrong value.  Ends with `N passed, N failed`."""
import os, random, re, subprocess, sys, tempfile
from concurrent.futures import ThreadPoolExecutor

RVM = os.path.abspath(sys.argv[1])

def t(dims, dtype='float32'):
    return 'Tensor[(%s), %s]' % (', '.join(str(d) for d in dims), dtype)

def elementwise(r):
    op, n, m = r.choice(['add', 'subtract', 'multiply', 'maximum', 'less']), r.randint(2, 6), r.randint(2, 6)
    bad = n + r.randint(1, 3)
    a, b = r.choice([('?', '?'), ('n', 'm'), (n, '?'), ('?', n)])
    return ('def @main(%%x: %s, %%y: %s) {\n  %s(%%x, %%y)\n}' % (t([a, m]), t([b, m]), op), {'x': (n, m), 'y': (n, m)},
            {'x': (n, m), 'y': (bad, m)} if a == n or b != n else {'x': (bad, m), 'y': (n, m)})

def same_name(r):
    n, k, bad = r.randint(2, 6), r.randint(2, 6), r.randint(7, 9)
    return ('def @main(%%x: %s, %%y: %s) {\n  concatenate((%%x, %%y), axis=1)\n}' % (t(['n', k]), t(['n', '?'])),
            {'x': (n, k), 'y': (n, 3)}, {'x': (n, k), 'y': (bad, 3)})

def dense(r):
    m, k, n = r.randint(1, 5), r.randint(2, 6), r.randint(2, 6)
    return ('def @main(%%x: %s, %%w: %s) {\n  nn.dense(%%x, %%w)\n}' % (t(['?', '?']), t(['?', '?'])),
            {'x': (m, k), 'w': (n, k)}, {'x': (m, k), 'w': (n, k + r.randint(1, 3))})

def batch_matmul(r):
    b, m, k, n = (r.randint(2, 5) for _ in range(4))
    bad = r.choice([(b + 1, k, n), (b, k + 1, n)])
    return ('def @main(%%x: %s, %%y: %s) {\n  nn.batch_matmul(%%x, %%y)\n}' % (t(['?', '?', '?']), t(['b', '?', n])),
            {'x': (b, m, k), 'y': (b, k, n)}, {'x': (b, m, k), 'y': bad})

def conv(r):
    c, k = r.randint(2, 4), r.choice([1, 3])
    return ('def @main(%%x: %s, %%w: %s) {\n  nn.conv2d(%%x, %%w)\n}' % (t([1, '?', '?', '?']), t([2, c, k, k])),
            {'x': (1, c, 5, 6), 'w': (2, c, k, k)}, {'x': (1, c + 1, 5, 6), 'w': (2, c, k, k)})

def concat(r):
    n, m = r.randint(2, 5), r.randint(2, 5)
    return ('def @main(%%x: %s, %%y: %s) {\n  concatenate((%%x, %%y))\n}' % (t(['?', '?']), t(['?', '?'])),
            {'x': (n, m), 'y': (n + 1, m)}, {'x': (n, m), 'y': (n, m + 1)})

def reshape(r):
    n, k = r.randint(2, 5), r.randint(2, 4)
    return ('def @main(%%x: %s) {\n  reshape(%%x, newshape=[-1, %d])\n}' % (t(['?']), k), {'x': (n * k,)}, {'x': (n * k + 1,)})

def split(r):
    n, parts = r.randint(1, 4), r.randint(2, 4)
    return ('def @main(%%x: %s) {\n  split(%%x, indices_or_sections=%d)\n}' % (t(['?', 2]), parts), {'x': (n * parts, 2)}, {'x': (n * parts + 1, 2)})

def squeeze(r):
    n = r.randint(2, 5)
    return ('def @main(%%x: %s) {\n  squeeze(%%x, axis=[1])\n}' % t([n, '?']), {'x': (n, 1)}, {'x': (n, r.randint(2, 4))})

def call(r):
    n, m = r.randint(2, 6), r.randint(2, 6)
    return ('def @main(%%x: %s, %%y: %s) {\n  @f(%%x, %%y)\n}\ndef @f(%%a: %s, %%b: %s) {\n  %%a + %%b\n}' % (t(['?']), t(['?']), t(['n']), t(['n'])),
            {'x': (n,), 'y': (n,)}, {'x': (n,), 'y': (n + m,)})

def static_parameter(r):
    n, m = r.randint(2, 6), r.randint(2, 6)
    return ('def @main(%%x: %s) {\n  @f(%%x)\n}\ndef @f(%%a: %s) {\n  nn.relu(%%a)\n}' % (t(['?', m]), t([n, m])), {'x': (n, m)}, {'x': (n + 1, m)})

def cast(r):
    n, m = r.randint(2, 6), r.randint(2, 6)
    return ('def @main(%%x: %s) {\n  let %%y = match_cast(%%x, %s);\n  tanh(%%y)\n}' % (t(['?', '?']), t(['n', m])), {'x': (n, m)}, {'x': (n, m + 1)})

def bias(r):
    n, c = r.randint(2, 5), r.randint(2, 5)
    return ('def @main(%%x: %s, %%b: %s) {\n  nn.bias_add(%%x, %%b)\n}' % (t([n, '?']), t(['?'])), {'x': (n, c), 'b': (c,)}, {'x': (n, c), 'b': (c + 1,)})

def branch(r):
    n = r.randint(2, 6)
    return ('def @main(%%x: %s, %%y: %s, %%c: bool) {\n  let %%z = if (%%c) { concatenate((%%x, %%y)) } else { %%x };\n  add(%%z, %%x)\n}' % (t(['?']), t(['?'])),
            {'x': (n,), 'y': (0,), 'c': ()}, {'x': (n,), 'y': (n,), 'c': ()})

def list_element(r):
    n = r.randint(2, 6)
    return ('def @main(%%x: %s, %%y: %s) {\n  match (Cons(%%x, Cons(%%y, Nil))) {\n    Cons(%%a, Cons(%%b, _)) => multiply(%%a, %%b),\n    _ => %%x,\n  }\n}' % (t(['?']), t(['?'])),
            {'x': (n,), 'y': (n,)}, {'x': (n,), 'y': (n + 1,)})

def norm(r):
    n, c = r.randint(2, 5), r.randint(2, 5)
    return ('def @main(%%x: %s, %%g: %s) {\n  nn.layer_norm(%%x, %%g, %%g)\n}' % (t(['?', '?']), t(['?'])), {'x': (n, c), 'g': (c,)}, {'x': (n, c), 'g': (c + 2,)})

def where(r):
    n = r.randint(2, 6)
    return ('def @main(%%c: %s, %%x: %s, %%y: %s) {\n  where(%%c, %%x, %%y)\n}' % (t(['?'], 'bool'), t(['?']), t(['?'])),
            {'c': (n,), 'x': (n,), 'y': (n,)}, {'c': (n,), 'x': (n,), 'y': (n + 1,)})

def stack(r):
    n = r.randint(2, 6)
    return ('def @main(%%x: %s, %%y: %s) {\n  stack((%%x, %%y), axis=-1)\n}' % (t(['?']), t(['?'])), {'x': (n,), 'y': (n,)}, {'x': (n,), 'y': (n + 1,)})

def pool(r):
    k = r.randint(3, 5)
    return ('def @main(%%x: %s) {\n  nn.max_pool2d(%%x, pool_size=[%d, %d])\n}' % (t([1, 2, '?', '?']), k, k), {'x': (1, 2, k, k + 1)}, {'x': (1, 2, k - 1, k)})

def take(r):
    n, k = r.randint(2, 6), r.randint(2, 4)
    return ('def @main(%%x: %s, %%y: %s) {\n  reshape_like(%%x, %%y)\n}' % (t(['?', '?']), t(['?'])), {'x': (n, k), 'y': (n * k,)}, {'x': (n, k), 'y': (n * k + 1,)})

KINDS = [elementwise, same_name, dense, batch_matmul, conv, concat, reshape, split, squeeze, call, static_parameter, cast, bias, branch,
         list_element, norm, where, stack, pool, take]
DTYPE = {'c': 'bool'}

def run(path, shapes, text):
    args = [RVM, 'run', path, '--quiet']
    for name, dims in shapes.items():
        dtype = 'bool' if re.search(r'%%%s: (Tensor\[[^]]*, )?bool' % name, text) else 'f32'
        args += ['--input', '%s=%s[%s]=ones' % (name, dtype, ','.join(map(str, dims)))]
    return subprocess.run(args, capture_output=True, text=True, timeout=60)

def one(seed):
    r = random.Random(seed)
    text, good, bad = KINDS[seed % len(KINDS)](r)
    with tempfile.TemporaryDirectory() as tmp:
        path = os.path.join(tmp, 'p.rly')
        open(path, 'w').write(text + '\n')
        a, b = run(path, good, text), run(path, bad, text)
    if a.returncode:
        return '%d: refused agreeing shapes %s\n%s\n%s' % (seed, good, text, a.stderr)
    if b.returncode != 1 or b.stdout or not re.search(r'p\.rly:\d+:\d+: error: \S', b.stderr):
        return '%d: exit %d for %s\n%s\n%s%s' % (seed, b.returncode, bad, text, b.stdout, b.stderr)

with ThreadPoolExecutor(2) as pool_:
    found = [x for x in pool_.map(one, range(100)) if x]
print('\n'.join(found))
print('%d passed, %d failed' % (100 - len(found), len(found)))
sys.exit(bool(found))
