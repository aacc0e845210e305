#!/usr/bin/env python3
"""random_programs.py RVM [SEEDS [FIRST]]

Well-typed random programs, each with a meaning computed here, independently:
lets, ifs, tuples, matches on lists and options, closures, higher-order
functions, refs, recursion, over wrapping int32.  A program that rvm refuses or
that gives another value is kept in the current folder and shown."""
import random, subprocess, sys, tempfile, os

def wrap(v): return (v + 2**31) % 2**32 - 2**31

class Gen:
  """Each method gives (text, meaning): meaning(env) -> value, effects in order."""
  def __init__(self, seed):
    self.r, self.fresh = random.Random(seed), 0

  def name(self):
    self.fresh += 1
    return 'v%d' % (self.fresh if self.r.random() < .8 or self.fresh < 3 else self.r.randrange(1, self.fresh))

  def type(self, depth=2):
    k = self.r.randrange(8 if depth else 3)
    if k < 3: return 'int'
    if k == 3: return 'bool'
    if k == 4: return ('tup',) + tuple(self.type(depth - 1) for _ in range(self.r.randrange(1, 4)))
    if k == 5: return ('list', self.type(depth - 1))
    if k == 6: return ('fn', self.type(depth - 1), self.type(depth - 1))
    return ('ref', self.type(depth - 1))

  def text(self, t):
    if t == 'int': return 'int32'
    if t == 'bool': return 'bool'
    if t[0] == 'tup': return '(' + ''.join(self.text(x) + ', ' for x in t[1:]).rstrip().rstrip(',') + (',)' if len(t) == 2 else ')')
    if t[0] == 'list': return 'List[%s]' % self.text(t[1])
    if t[0] == 'ref': return 'ref(%s)' % self.text(t[1])
    return 'fn(%s) -> %s' % (self.text(t[1]), self.text(t[2]))

  def expr(self, t, scope, d):
    """scope: [(name, type)], the innermost last; a shadowed name is its last type's."""
    r, seen = self.r, {}
    for n, ty in scope: seen[n] = ty
    mine = [n for n in seen if seen[n] == t]
    if mine and r.random() < (.3 if d else .7):
      n = r.choice(mine)
      return '%' + n, lambda e: e[n]
    if d > 0:
      k = r.randrange(8)
      if k == 0: return self.let(t, scope, d)
      if k == 1: return self.if_(t, scope, d)
      if k == 2: return self.match(t, scope, d)
      if k == 3: return self.apply(t, scope, d)
      if k == 4: return self.proj(t, scope, d)
      if k == 5: return self.through_ref(t, scope, d)
    return self.make(t, scope, d)

  def let(self, t, scope, d):
    u, n = self.type(), self.name()
    if u[0] == 'fn':                           # a let of a function is recursive: a name of its own
      self.fresh += 1
      n = 'f%d' % self.fresh
    a, fa = self.expr(u, scope, d - 1)
    b, fb = self.expr(t, scope + [(n, u)], d - 1)
    return '{ let %%%s = %s; %s }' % (n, a, b), lambda e: fb({**e, n: fa(e)})

  def if_(self, t, scope, d):
    (c, fc), (a, fa), (b, fb) = self.expr('bool', scope, d - 1), self.expr(t, scope, d - 1), self.expr(t, scope, d - 1)
    return 'if (%s) { %s } else { %s }' % (c, a, b), lambda e: fa(e) if fc(e) else fb(e)

  def match(self, t, scope, d):
    u, h, l = self.type(1), self.name(), self.name()
    if h == l: l = l + 'x'
    lt = ('list', u)
    s, fs = self.expr(lt, scope, d - 1)
    a, fa = self.expr(t, scope, d - 1)
    b, fb = self.expr(t, scope + [(h, u), (l, lt)], d - 1)
    def run(e):
      v = fs(e)
      return fb({**e, h: v[0], l: v[1:]}) if v else fa(e)
    self.fresh += 1                            # an empty list needs its type said
    n = 's%d' % self.fresh
    return '{ let %%%s: %s = %s; match (%%%s) { Nil => { %s }, Cons(%%%s, %%%s) => { %s } } }' % (
      n, self.text(lt), s, n, a, h, l, b), run

  def apply(self, t, scope, d):
    u = self.type(1)
    (f, ff), (a, fa) = self.expr(('fn', u, t), scope, d - 1), self.expr(u, scope, d - 1)
    return '@call(%s, %s)' % (f, a), lambda e: (lambda fun: fun(fa(e)))(ff(e))

  def proj(self, t, scope, d):
    n = self.r.randrange(1, 4)
    i = self.r.randrange(n)
    ts = [t if k == i else self.type(1) for k in range(n)]
    a, fa = self.make(('tup',) + tuple(ts), scope, d - 1)
    return '%s.%d' % (a, i), lambda e: fa(e)[i]

  def through_ref(self, t, scope, d):
    n = self.name()
    (a, fa), (b, fb) = self.expr(t, scope, d - 1), self.expr(t, scope + [(n, ('ref', t))], d - 1)
    def run(e):
      e = {**e, n: [fa(e)]}
      e[n][0] = fb(e)
      return e[n][0]
    return '{ let %%%s = ref(%s); ref_write(%%%s, %s); ref_read(%%%s) }' % (n, a, n, b, n), run

  def make(self, t, scope, d):
    r, sub = self.r, max(d - 1, 0)
    if t == 'int':
      if d <= 0: v = r.choice([0, 1, 2, 7, 100, 2**31 - 1]); return str(v), lambda e: v
      (a, fa), (b, fb) = self.expr('int', scope, sub), self.expr('int', scope, sub)
      op, f = r.choice([('+', lambda x, y: x + y), ('-', lambda x, y: x - y), ('*', lambda x, y: x * y)])
      return '(%s %s %s)' % (a, op, b), lambda e: (lambda x: wrap(f(x, fb(e))))(fa(e))
    if t == 'bool':
      if d <= 0: v = r.random() < .5; return str(v), lambda e: v
      (a, fa), (b, fb) = self.expr('int', scope, sub), self.expr('int', scope, sub)
      op, f = r.choice([('<', lambda x, y: x < y), ('==', lambda x, y: x == y), ('>=', lambda x, y: x >= y)])
      return '(%s %s %s)' % (a, op, b), lambda e: (lambda x: f(x, fb(e)))(fa(e))
    if t[0] == 'tup':
      xs = [self.expr(u, scope, sub) for u in t[1:]]
      return '(' + ', '.join(x[0] for x in xs) + (',)' if len(xs) == 1 else ')'), lambda e: tuple(f(e) for _, f in xs)
    if t[0] == 'list':
      xs = [self.expr(t[1], scope, sub) for _ in range(r.randrange(4))]
      return ''.join('Cons(%s, ' % x[0] for x in xs) + 'Nil' + ')' * len(xs), lambda e: [f(e) for _, f in xs]
    if t[0] == 'ref':
      a, fa = self.expr(t[1], scope, sub)
      return 'ref(%s)' % a, lambda e: [fa(e)]
    n = self.name()
    b, fb = self.expr(t[2], scope + [(n, t[1])], sub)
    return 'fn(%%%s: %s) -> %s { %s }' % (n, self.text(t[1]), self.text(t[2]), b), lambda e: lambda x: fb({**e, n: x})

def plain(t):
  return isinstance(t, str) or t[0] in ('tup', 'list') and all(map(plain, t[1:]))
def show(t, v):
  if isinstance(t, str): return str(v)
  if t[0] == 'tup': return '(' + ', '.join(map(show, t[1:], v)) + (',)' if len(v) == 1 else ')')
  return ''.join('Cons(%s, ' % show(t[1], x) for x in v) + 'Nil' + ')' * len(v)

def main():
  rvm, seeds, first = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 200, int(sys.argv[3]) if len(sys.argv) > 3 else 0
  bad = 0
  with tempfile.TemporaryDirectory() as d:
    for seed in range(first, first + seeds):
      g = Gen(seed)
      t = g.type(3)
      while not plain(t): t = g.type(3)
      text, meaning = g.expr(t, [('a', 'int')], 6)
      path = os.path.join(d, 'p.rly')
      src = ('def @call[A, B](%%f: fn(A) -> B, %%x: A) -> B { %%f(%%x) }\n'
             'def @main(%%a: int32) -> %s { %s }\n' % (g.text(t), text))
      open(path, 'w').write(src)
      p = subprocess.run([rvm, 'run', path, '--input', 'a=5', '--full'], capture_output=True, text=True, timeout=60)
      want = show(t, meaning({'a': 5}))
      if p.returncode == 0 and p.stdout.strip() == want: continue
      bad += 1
      open('random_%d.rly' % seed, 'w').write(src)
      print('seed %d: exit %d\n  found    %s\n  expected %s' % (seed, p.returncode, (p.stdout + p.stderr).strip()[:300], want[:300]))
  print('%d random programs, %d failed' % (seeds, bad))
  return bad > 0

if __name__ == '__main__': sys.exit(main())
