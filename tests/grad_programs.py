#!/usr/bin/python3
"""Derivatives of random typed programs against dual numbers.

  grad_programs.py RVM [--count N] [--second N] [--seed S] [--keep FILE] [--engine E]

Each program is drawn from a seed, float64: a function of two vectors and a scalar made of
arithmetic, if, match, recursion over integers and over a list and a tree, local loops, closures in
and out of data, higher-order functions, refs, tuples, derivatives of functions that are only known when
it runs.  The generator writes it as text and evaluates
it itself over dual numbers (forward mode; nested for second derivatives), statement by statement, so
it shares nothing with the compiler.  Checked to 1e-10: the value, <grad, v> from grad, the jvp along v,
<vjp(c), v>; reverse and forward mode agree as closely.  For the first --second programs also the second
derivative along u and v, reverse over reverse, forward over reverse, reverse over forward and forward
over forward.  The duals are checked against central differences to 1e-6 in the same run."""
import argparse
import math
import os
import random
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np

N = 3


# ---- dual numbers: value and derivative along one direction; parts may be dual themselves -----------
class Dual:
    __slots__ = ('v', 'd', 'level')

    def __init__(self, v, d, level):
        self.v, self.d, self.level = v, d, level


def level(x):
    return x.level if isinstance(x, Dual) else 0


def split(x, lv):
    return (x.v, x.d) if isinstance(x, Dual) and x.level == lv else (x, 0.0)


def unary(f, d):
    def g(a):
        if level(a) == 0:
            return f(a)
        return Dual(g(a.v), mul(d(a.v), a.d), a.level)
    return g


def add(a, b):
    lv = max(level(a), level(b))
    if lv == 0:
        return a + b
    (av, ad), (bv, bd) = split(a, lv), split(b, lv)
    return Dual(add(av, bv), add(ad, bd), lv)


def neg(a):
    return -a if level(a) == 0 else Dual(neg(a.v), neg(a.d), a.level)


def sub(a, b):
    return add(a, neg(b))


def mul(a, b):
    lv = max(level(a), level(b))
    if lv == 0:
        return a * b
    (av, ad), (bv, bd) = split(a, lv), split(b, lv)
    return Dual(mul(av, bv), add(mul(ad, bv), mul(av, bd)), lv)


sin = unary(math.sin, lambda v: cos(v))
cos = unary(math.cos, lambda v: neg(sin(v)))
tanh = unary(math.tanh, lambda v: sub(1.0, mul(tanh(v), tanh(v))))


def plain(x):
    while isinstance(x, Dual):
        x = x.v
    return x


# ---- values: scalars are numbers, vectors lists of N numbers, data tuples ----------------------------
def each(f, *xs):
    if any(isinstance(x, list) for x in xs):
        return [f(*[x[i] if isinstance(x, list) else x for x in xs]) for i in range(N)]
    return f(*xs)


def total(x):
    s = 0.0
    for e in x if isinstance(x, list) else [x]:
        s = add(s, e)
    return s


class Ref:
    def __init__(self, v):
        self.v = v


def without(x, lv):
    """x when the run at level lv is over: a value as any other."""
    if isinstance(x, (list, tuple)):
        return type(x)(without(e, lv) for e in x)
    return x.v if isinstance(x, Dual) and x.level == lv else x


# ---- the generator -----------------------------------------------------------------------------------
# An expression is (text, thunk over an environment).  Types: 's' scalar, 'v' vector.
PRELUDE = '''type Tree { Leaf(Tensor[(3), float64]), Node(Tree, float64, Tree) }
type Shape { Circle(float64), Box(float64, Tensor[(3), float64], int32), Empty }
'''
CHAIN = '''type Chain[A, B] { End(B), Link(fn (A) -> A, B, Chain[A, B]), Both(fn (A) -> A, B, Chain[A, B]) }
def @chain[A, B](%c: Chain[A, B], %x: A, %step: fn (A, A, B) -> A) -> A {
  match (%c) {
    End(_) => %x,
    Link(%f, %n, %rest) => @chain(%rest, %step(%f(%x), %x, %n), %step),
    Both(%f, %n, %rest) => @chain(%rest, %step(%f(%f(%x)), %x, %n), %step),
  }
}
'''
SLOPE = 'def @slope(%f: fn (float64) -> float64, %x: float64) -> float64 { grad(%f)(%x).1.0 }\n'
TOWER = '''def @%s(%%n: int32, %%f: fn (float64) -> float64) -> fn (float64) -> float64 {
  if (%%n == 0) { %%f } else { @%s(%%n - 1, fn (%%x: float64) { %s }) }
}
'''
ITS_SLOPE = ['grad(%f)(%x).1.0', 'jvp(%f)(%x, 1f64).1', 'vjp(%f)(%x).1(1f64).0',
             '0.5f64 * sum(grad(fn (%v: Tensor[(2), float64]) { %f(sum(%v)) })(0.5f64 * %x * ones(shape=[2], dtype="float64")).1.0)']

T = {'s': 'float64', 'v': 'Tensor[(3), float64]'}


class Content:
    """What refs from outside hold of values of type t: themselves, a list of them or a function."""
    def __init__(self, t, how, name):
        self.t, self.how, self.name = T[t], how, name
        self.type = {'value': self.t, 'list': 'List[%s]' % self.t, 'fn': 'fn (%s) -> %s' % (self.t, self.t)}[how]
        self.half = '0.5f64' if t == 's' else '(0.5f64 * ones(shape=[3], dtype="float64"))'

    def function(self, e):
        z, v = self.name('z'), self.name('v')
        return 'let %%%s = %s; ' % (v, e), 'fn (%%%s: %s) -> %s { %%%s * %%%s }' % (z, self.t, self.t, z, v)

    def new(self, e):
        """The text of a ref, of what the text e gives."""
        return {'value': 'ref(%s)', 'list': 'ref(Cons(%s, Nil))', 'fn': '(%sref(%s))'}[self.how] % (
            self.function(e) if self.how == 'fn' else e)

    def put(self, q, e):
        if self.how == 'fn':
            before, f = self.function(e)
            return '(%sref_write(%%%s, %s))' % (before, q, f)
        return 'ref_write(%%%s, %s)' % (q, 'Cons(%s, ref_read(%%%s))' % (e, q) if self.how == 'list' else e)

    def get(self, q):
        if self.how == 'fn':
            f = self.name('g')
            return '(let %%%s = ref_read(%%%s); %%%s(%s))' % (f, q, f, self.half)
        if self.how == 'list':
            a, b = self.name('c'), self.name('d')
            return ('@foldl(fn (%%%s: %s, %%%s: %s) -> %s { 0.5f64 * %%%s + %%%s }, %s, ref_read(%%%s))'
                    % (a, self.t, b, self.t, self.t, a, b, self.half, q))
        return 'ref_read(%%%s)' % q

    def written(self, old, v):
        return (v,) + (old or ()) if self.how == 'list' else v

    def read(self, x):
        if self.how == 'fn':
            return each(mul, x, 0.5)
        if self.how == 'value':
            return x
        v = each(lambda e: 0.5, x[0])
        for e in x:
            v = each(add, each(mul, v, 0.5), e)
        return v


class Gen:
    def __init__(self, seed):
        self.r = random.Random(seed)
        self.defs, self.n, self.nest, self.refs = [], 0, 0, []

    def name(self, stem):
        self.n += 1
        return '%s%d' % (stem, self.n)

    def const(self):
        c = round(self.r.uniform(-1.2, 1.2), 3)
        return '%rf64' % c, lambda env: c

    def var(self, scope, t):
        names = [n for n, k in scope.items() if k == t]
        if not names or self.r.random() < 0.15:
            return self.const() if t == 's' else self.vector(scope)
        n = self.r.choice(names)
        return '%' + n, lambda env: env[n]

    def vector(self, scope):
        names = [n for n, k in scope.items() if k == 'v']
        n = self.r.choice(names)
        return '%' + n, lambda env: env[n]

    def condition(self, scope, depth):
        a = self.expr(scope, 's', depth - 1)
        c = round(self.r.uniform(-0.5, 0.5), 4)
        return '%s < %rf64' % (paren(a[0]), c), lambda env: plain(a[1](env)) < c

    def arithmetic(self, scope, t, depth):
        k = self.r.randrange(6)
        a, b = self.expr(scope, t, depth - 1), self.expr(scope, self.r.choice('sv') if t == 'v' else 's', depth - 1)
        if k < 3:
            op, f = (('+', add), ('-', sub), ('*', mul))[k]
            return '%s %s %s' % (paren(a[0]), op, paren(b[0])), lambda env: each(f, a[1](env), b[1](env))
        name, f = (('sin', sin), ('tanh', tanh), ('negative', neg))[k - 3]
        return '%s(%s)' % (name, a[0]), lambda env: each(f, a[1](env))

    def reduce(self, scope, t, depth):
        if t == 's':
            a = self.expr(scope, 'v', depth - 1)
            return 'sum(%s)' % a[0], lambda env: total(a[1](env))
        return self.arithmetic(scope, t, depth)

    def branch(self, scope, t, depth):
        c = self.condition(scope, depth)
        a, b = self.block(scope, t, depth - 1), self.block(scope, t, depth - 1)
        return ('if (%s) { %s } else { %s }' % (c[0], a[0], b[0]),
                lambda env: a[1](env) if c[1](env) else b[1](env))

    def pair(self, scope, t, depth):
        a, b = self.expr(scope, t, depth - 1), self.expr(scope, self.r.choice('sv'), depth - 1)
        p = self.name('p')
        i = self.r.random() < 0.5
        text = 'let %%%s = (%s, %s); ' % (p, a[0], b[0])
        ta = 'tanh(%%%s.0)' % p
        if i:
            return '(%s%%%s.0 + %s)' % (text, p, ta), lambda env: (b[1](env), (lambda x: each(add, x, each(tanh, x)))(a[1](env)))[1]
        return '(%s%s)' % (text, ta), lambda env: (lambda x, _: each(tanh, x))(a[1](env), b[1](env))

    def recursion(self, scope, t, depth):
        """f(x, n) = if n == 0 then x else step(x, y, f(.., n - 1)), a definition."""
        f = self.name('rec')
        inner = {'x': t, 'y': 's'}
        step = self.expr(dict(inner, z=t), t, min(depth - 1, 2))
        nxt = self.expr(inner, t, 1)
        tail = self.r.random() < 0.4
        rest = '@%s(%s, %%y, %%n - 1)' % (f, nxt[0])
        body = rest if tail else '(let %%z = %s; %s)' % (rest, step[0])
        first = 'tanh(%x)' if tail else '%x'
        self.defs.append('def @%s(%%x: %s, %%y: float64, %%n: int32) -> %s {\n  if (%%n == 0) { %s } else { %s }\n}\n'
                         % (f, T[t], T[t], first, body))
        n = self.r.randrange(1, 5)
        a, y = self.expr(scope, t, depth - 1), self.expr(scope, 's', depth - 1)

        def run(x, yv, k):
            if k == 0:
                return each(tanh, x) if tail else x
            z = run(nxt[1]({'x': x, 'y': yv}), yv, k - 1)
            return z if tail else step[1]({'x': x, 'y': yv, 'z': z})
        return '@%s(%s, %s, %d)' % (f, a[0], y[0], n), lambda env: run(a[1](env), y[1](env), n)

    def loop(self, scope, t, depth):
        """A local function that calls itself and uses what surrounds it."""
        f = self.name('loop')
        x = self.name('a')
        step = self.expr(dict(scope, **{x: t}), t, min(depth - 1, 2))
        start = self.expr(scope, t, depth - 1)
        n = self.r.randrange(1, 5)
        text = ('(let %%%s = fn (%%i: int32, %%%s: %s) -> %s { if (%%i == 0) { %%%s } else { %%%s(%%i - 1, tanh(%s)) } }; %%%s(%d, %s))'
                % (f, x, T[t], T[t], x, f, step[0], f, n, start[0]))

        def run(env):
            v = start[1](env)
            for _ in range(n):
                v = each(tanh, step[1](dict(env, **{x: v})))
            return v
        return text, run

    def closure(self, scope, t, depth):
        """A function value kept in data, applied twice."""
        f, g, x = self.name('f'), self.name('g'), self.name('b')
        body = self.expr(dict(scope, **{x: t}), t, min(depth - 1, 2))
        start = self.expr(scope, t, depth - 1)
        text = ('(let %%%s = fn (%%%s: %s) -> %s { %s }; let %%%s = (%%%s, 1); %%%s.0(tanh(%%%s(%s))))'
                % (f, x, T[t], T[t], body[0], g, f, g, f, start[0]))

        def run(env):
            v = body[1](dict(env, **{x: start[1](env)}))
            return body[1](dict(env, **{x: each(tanh, v)}))
        return text, run

    def listed(self, scope, t, depth):
        """foldl, map and zips over a short list."""
        x, a, b = self.name('c'), self.name('d'), self.name('e')
        items = [self.expr(scope, t, depth - 2) for _ in range(self.r.randrange(1, 4))]
        f = self.expr(dict(scope, **{x: t}), t, 1)
        g = self.expr(dict(scope, **{a: t, b: t}), t, 1)
        start = self.expr(scope, t, depth - 2)
        xs = 'Nil'
        for i in reversed(items):
            xs = 'Cons(%s, %s)' % (i[0], xs)
        text = ('@foldl(fn (%%%s: %s, %%%s: %s) -> %s { %s }, %s, @map(fn (%%%s: %s) -> %s { %s }, %s))'
                % (a, T[t], b, T[t], T[t], g[0], start[0], x, T[t], T[t], f[0], xs))

        def run(env):
            v = start[1](env)
            for y in [f[1](dict(env, **{x: i[1](env)})) for i in items]:
                v = g[1](dict(env, **{a: v, b: y}))
            return v
        return text, run

    def tree(self, scope, t, depth):
        f = self.name('tree')
        join = self.expr({'l': 'v', 'w': 's', 'r': 'v'}, 'v', 2)
        leaf = self.expr({'x': 'v'}, 'v', 2)
        self.defs.append('def @%s(%%t: Tree) -> Tensor[(3), float64] {\n  match (%%t) {\n    Leaf(%%x) => { %s },\n'
                         '    Node(%%p, %%w, %%q) => { let %%l = @%s(%%p); let %%r = @%s(%%q); %s },\n  }\n}\n'
                         % (f, leaf[0], f, f, join[0]))

        def make(k):
            if k == 0 or self.r.random() < 0.3:
                e = self.expr(scope, 'v', max(depth - 2, 0))
                return 'Leaf(%s)' % e[0], lambda env: ('leaf', e[1](env))
            p, w, q = make(k - 1), self.expr(scope, 's', max(depth - 2, 0)), make(k - 1)
            return 'Node(%s, %s, %s)' % (p[0], w[0], q[0]), lambda env: ('node', p[1](env), w[1](env), q[1](env))

        def run(v):
            if v[0] == 'leaf':
                return leaf[1]({'x': v[1]})
            return join[1]({'l': run(v[1]), 'w': v[2], 'r': run(v[3])})
        top = make(2)
        text, value = '@%s(%s)' % (f, top[0]), lambda env: run(top[1](env))
        if t == 'v':
            return text, value
        return 'sum(%s)' % text, lambda env: total(value(env))

    def shape(self, scope, t, depth):
        """A match on data chosen while it runs."""
        c = self.condition(scope, depth)
        a, b, w = self.expr(scope, 's', depth - 1), self.expr(scope, 's', depth - 1), self.vector(scope)
        names = dict(scope)
        x, y, z = self.name('q'), self.name('h'), self.name('k')
        one_ = self.expr(dict(names, **{x: 's'}), t, depth - 2)
        two = self.expr(dict(names, **{y: 's', z: 'v'}), t, depth - 2)
        text = ('match (if (%s) { Circle(%s) } else { Box(%s, %s, 4) }) { Circle(%%%s) => { %s }, Box(%%%s, %%%s, _) => { %s }, Empty => { %s } }'
                % (c[0], a[0], b[0], w[0], x, one_[0], y, z, two[0], self.expr(scope, t, 0)[0]))

        def run(env):
            if c[1](env):
                return one_[1](dict(env, **{x: a[1](env)}))
            return two[1](dict(env, **{y: b[1](env), z: w[1](env)}))
        return text, run

    def ref(self, scope, t, depth):
        r = self.name('r')
        v = self.name('m')
        start = self.expr(scope, t, depth - 1)
        step = self.expr(dict(scope, **{v: t}), t, min(depth - 1, 2))
        loop = self.r.random() < 0.5
        if loop:
            f, n = self.name('w'), self.r.randrange(1, 4)
            text = ('(let %%%s = ref(%s); let %%%s = fn (%%i: int32) -> () { if (%%i == 0) { () } else { let %%%s = ref_read(%%%s); '
                    'ref_write(%%%s, tanh(%s)); %%%s(%%i - 1) } }; %%%s(%d); ref_read(%%%s))'
                    % (r, start[0], f, v, r, r, step[0], f, f, n, r))
        else:
            n = 1
            text = ('(let %%%s = ref(%s); let %%%s = ref_read(%%%s); ref_write(%%%s, tanh(%s)); ref_read(%%%s))'
                    % (r, start[0], v, r, r, step[0], r))

        def run(env):
            x = start[1](env)
            for _ in range(n):
                x = each(tanh, step[1](dict(env, **{v: x})))
            return x
        return text, run

    def expr(self, scope, t, depth):
        if 'v' not in scope.values() and t == 'v':
            a = self.expr(scope, 's', depth)
            return '(%s * ones(shape=[3], dtype="float64"))' % paren(a[0]), lambda env: [a[1](env)] * N
        if depth <= 0:
            return self.var(scope, t)
        if 'v' not in scope.values():
            kinds = [self.arithmetic, self.branch, self.loop, self.closure]
        elif depth < 2:
            kinds = [self.arithmetic, self.reduce]
        else:
            kinds = [self.arithmetic, self.arithmetic, self.reduce, self.branch, self.pair, self.recursion, self.loop, self.closure,
                     self.listed, self.tree, self.shape, self.ref]
        return self.r.choice(kinds)(scope, t, depth)

    def block(self, scope, t, depth):
        """let statements, then an expression."""
        scope, steps, text = dict(scope), [], ''
        for _ in range(self.r.randrange(0, 3)):
            k, n = self.r.choice('sv'), self.name('t')
            e = self.expr(scope, k, depth - 1)
            text += 'let %%%s = %s; ' % (n, e[0])
            steps.append((n, e[1]))
            scope[n] = k
        last = self.expr(scope, t, depth)

        def run(env):
            env = dict(env)
            for n, f in steps:
                env[n] = f(env)
            return last[1](env)
        return text + last[0], run

    def slope(self, f, a):
        """The derivative of f, a thunk over a number, at a."""
        lv = 10 + self.nest
        self.nest += 1
        y = f(Dual(a, 1.0, lv))
        self.nest -= 1
        for r in self.refs:
            r.v = without(r.v, lv)
        return coefficient(y, lv)

    def unknown(self, scope):
        """Derivatives of functions that are only known when the program runs."""
        b, f, u = self.name('b'), self.name('f'), self.name('u')
        one_, two = [self.expr(dict(scope, **{b: 's'}), 's', 2) for _ in range(2)]
        at, c = self.expr(scope, 's', 1), self.condition(scope, 1)
        # A ref of theirs is state; a function of theirs may be the derivative of one of its type.
        state, derived = self.r.random() < 0.3, self.r.random() < 0.3
        r, g = self.name('r'), self.name('g')
        count = 'ref_write(%%%s, 0.5f64 * ref_read(%%%s) + 1f64); ' % (r, r) if state else ''
        scale = ' * ref_read(%%%s)' % r if state else ''
        literal = ['fn (%%%s: float64) -> float64 { %s(%s)%s }' % (b, count, e[0], scale) for e in (one_, two)]
        how = self.r.choice(['@slope(%{f}, {a})', 'grad(%{f})({a}).1.0', 'jvp(%{f})({a}, 1f64).1', 'vjp(%{f})({a}).1(1f64).0',
                             'grad(fn (%{u}: float64) {{ %{f}(%{u}) * %{u} }})({a}).1.0'])
        inside = how.format(f=g if derived else f, a=at[0], u=u)
        if how.startswith('@'):
            self.defs.append(SLOPE)
        if derived:
            of = self.r.choice(['grad(%%%s)(%%%s).1.0', 'jvp(%%%s)(%%%s, 1f64).1']) % (f, b)
            inside = ('(let %%%s = if (%s) { fn (%%%s: float64) -> float64 { %s } } else { fn (%%%s: float64) -> float64 { %s * %%%s } }; %s)'
                      % (g, c[0], b, of, b, of, b, inside))
        listed = self.r.random() < 0.4
        if listed:
            text = ('@foldl(fn (%%%s: float64, %%%s: fn (float64) -> float64) -> float64 { %%%s + %s }, 0f64, Cons(%s, Cons(%s, Nil)))'
                    % (u + 's', f, u + 's', inside, literal[0], literal[1]))
        else:
            text = '(let %%%s = if (%s) { %s } else { %s }; %s)' % (f, c[0], literal[0], literal[1], inside)
        if state:
            text = '(let %%%s = ref(1f64); %s)' % (r, text)

        def run(env):
            total, times = 0.0, 1.0
            for e in (one_, two) if listed else (one_,) if c[1](env) else (two,):
                if state:
                    times = 0.5 * times + 1.0

                def h(v, e=e, times=times):
                    return mul(e[1](dict(env, **{b: v})), times)

                def d(v, h=h):
                    y = self.slope(h, v)
                    return y if c[1](env) else mul(y, v)

                def k(v, h=d if derived else h):
                    return mul(h(v), v) if '{u}' in how else h(v)
                total = add(total, self.slope(k, at[1](env)))
            return total
        return text, run

    def generic(self, scope):
        """The same of functions in data of any type, run by a definition of any type."""
        t, u, w = self.r.choice('sv'), self.name('u'), self.name('w')
        links = []
        for _ in range(self.r.randrange(1, 4)):
            b = self.name('b')
            links.append((b, self.expr(dict(scope, **{b: t, w: 's'}), t, 2), self.expr(scope, 's', 1)))
        at, c, v = self.expr(scope, 's', 1), self.condition(scope, 1), self.vector(scope)
        self.defs.append(CHAIN)
        text = 'End(%u)'.replace('%u', '%' + w)
        for b, f, n in reversed(links):
            text = 'Link(fn (%%%s: %s) -> %s { %s }, %s, %s)' % (b, T[t], T[t], f[0], n[0], text)
        both = self.r.random() < 0.5
        if both:
            text = text.replace('Link(', 'Both(', 1)
        run = ('@chain(if (%s) { %s } else { End(%%%s) }, %s, fn (%%y: %s, %%x: %s, %%n: float64) -> %s { %%y + %%n * %%x })'
               % (c[0], text, w, '%' + u if t == 's' else '%' + u + ' * ' + v[0], T[t], T[t], T[t]))
        if t == 'v':
            run = 'sum(%s)' % run
        how = self.r.choice(['grad({f})({a}).1.0', 'jvp({f})({a}, 1f64).1', 'vjp({f})({a}).1(1f64).0'])
        literal = 'fn (%%%s: float64) -> float64 { %s }' % (u, run)
        text = '(let %%%s = %s; %s)' % (w, at[0], how.format(f=literal, a='%' + w))

        def value(env, x, a):
            env = dict(env, **{w: a})
            y = x if t == 's' else each(mul, x, v[1](env))
            for i, (b, f, n) in enumerate(links if c[1](env) else []):
                z = f[1](dict(env, **{b: y}))
                if i == 0 and both:
                    z = f[1](dict(env, **{b: z}))
                y = each(add, z, each(mul, y, n[1](env)))
            return y if t == 's' else total(y)

        def go(env):
            a = at[1](env)
            return self.slope(lambda x: value(env, x, a), a)
        return text, go

    # ---- refs from outside of what is differentiated, written there ----
    def new_ref(self, v):
        self.refs.append(Ref(self.kind.written(None, v)))
        return self.refs[-1]

    def named(self, scope, t, names):
        """A statement that gives one of the refs, or another, one more name."""
        q, a = self.name('q'), self.r.choice(names)
        other, c = self.expr(scope, t, 1), self.condition(scope, 1)
        k, held = self.r.randrange(6), self.r.choice(['Any', 'Held'])
        new = self.kind.new(other[0])
        text = ['%%%s' % a, 'if (%s) { %%%s } else { %s }' % (c[0], a, new), '(%s, %%%s).1' % (new, a),
                '@hd(Cons(%%%s, Cons(%s, Nil)))' % (a, new), 'ref_read(ref(%%%s))' % a,
                'match (%s(%%%s, 2)) { %s(%%%s, _) => %%%s }' % (held, a, held, q + 'h', q + 'h')][k]
        text_of = 'type %s[A] { %s(ref(A), int32) }\n' if held == 'Any' else 'type %%s { %%s(ref(%s), int32) }\n' % self.kind.type
        if k == 5 and text_of % (held, held) not in self.defs:
            self.defs.append(text_of % (held, held))

        def run(env):
            made = self.new_ref(other[1](env)) if k in (2, 3) or (k == 1 and not c[1](env)) else None
            env[q] = made if k == 1 and made else env[a]
        return q, 'let %%%s = %s; ' % (q, text), run

    def write(self, scope, t, names, depth):
        """A statement that writes, reads or takes a derivative of what does."""
        q, m = self.r.choice(names), self.name('m')
        e, c = self.expr(dict(scope, **{m: t}), t, 2), self.condition(scope, 1)
        read = 'let %%%s = %s; ' % (m, self.kind.get(q))
        put = self.kind.put(q, 'tanh(%s)' % e[0])

        def given(env):
            return e[1](dict(env, **{m: self.kind.read(env[q].v)}))

        def one(env):
            env[q].v = self.kind.written(env[q].v, each(tanh, given(env)))
        k = self.r.randrange(6 if depth else 5)
        if k < 2:
            return read + put + '; ', one, {}
        if k == 2:
            return (read + 'if (%s) { %s } else { () }; ' % (c[0], put), lambda env: one(env) if c[1](env) else None, {})
        if k == 3:
            w, n = self.name('w'), self.r.randrange(1, 4)
            text = ('let %%%s = fn (%%i: int32) -> () { if (%%i == 0) { () } else { %s%s; %%%s(%%i - 1) } }; %%%s(%d); '
                    % (w, read, put, w, w, n))
            return text, lambda env: [one(env) for _ in range(n)], {}
        if k == 4:
            g = self.name('put')
            value = self.r.choice(['%v', '%o * %v', 'stop_gradient(%v) + %o'])
            self.defs.append('def @%s(%%r: ref(%s), %%v: %s) -> () { let %%o = %s; %s }\n'
                             % (g, self.kind.type, T[t], self.kind.get('r'), self.kind.put('r', value)))

            def call(env):
                v, old = given(env), self.kind.read(env[q].v)
                if '*' in value:
                    v = each(mul, old, v)
                if '+' in value:
                    v = each(add, each(plain, v), old)
                env[q].v = self.kind.written(env[q].v, v)
            return read + '@%s(%%%s, %s); ' % (g, q, e[0]), call, {}
        d = self.name('d')
        text, value = self.derived(scope, t, names, depth - 1)
        return 'let %%%s = %s; ' % (d, text), lambda env: env.__setitem__(d, value(env)), {d: 's'}

    def written(self, scope, t, names, depth):
        """A function of a number that writes to the refs: (text, thunk of env and number)."""
        b, m = self.name('b'), self.name('m')
        inner, text, steps = dict(scope, **{b: 's'}), '', []
        for _ in range(self.r.randrange(1, 4)):
            more, run, new = self.write(inner, t, names, depth)
            text, inner = text + more, dict(inner, **new)
            steps.append(run)
        q, last = self.r.choice(names), self.expr(dict(inner, **{m: t}), 's', 2)
        read = self.kind.get(q)
        text = ('fn (%%%s: float64) -> float64 { %slet %%%s = %s; %s + %%%s * %s }'
                % (b, text, m, read, paren(last[0]), b, read if t == 's' else 'sum(%s)' % read))

        def value(env, x):
            env = dict(env, **{b: x})
            for run in steps:
                run(env)
            env[m] = self.kind.read(env[q].v)
            return add(last[1](env), mul(x, total(env[m])))
        return text, value

    def derived(self, scope, t, names, depth):
        text, f = self.written(scope, t, names, depth)
        at, how = self.expr(scope, 's', 1), self.r.choice(['grad({f})({a}).1.0', 'jvp({f})({a}, 1f64).1', 'vjp({f})({a}).1(1f64).0'])
        return how.format(f=text, a=at[0]), lambda env: self.slope(lambda x: f(env, x), at[1](env))

    def state(self, scope):
        """Several forms on refs that stand around them, and what is in them then."""
        t, r, f = self.r.choice('sv'), self.name('r'), self.name('f')
        self.kind = Content(t, self.r.choice(['value', 'value', 'value', 'list', 'fn']), self.name)
        start = self.expr(scope, t, 1)
        text, names = 'let %%%s = %s; ' % (r, self.kind.new(start[0])), [r]
        steps = [lambda env: env.__setitem__(r, self.new_ref(start[1](env)))]
        for _ in range(self.r.randrange(0, 3)):
            q, more, run = self.named(scope, t, names)
            text, names = text + more, names + [q]
            steps.append(run)
        # Forms in forms: four orders of functions as data take a minute to compile.
        body, value = self.written(scope, t, names, int(self.kind.how == 'value'))
        text += 'let %%%s = %s; ' % (f, body)
        results, later = [], []
        for _ in range(self.r.randrange(1, 4)):
            a, at = self.name('a'), self.expr(scope, 's', 1)
            k = self.r.randrange(6)
            if k == 5:
                q, e = self.r.choice(names), self.expr(scope, t, 1)
                text += self.kind.put(q, e[0]) + '; '
                steps.append(lambda env, q=q, e=e: env[q].__setattr__('v', self.kind.written(env[q].v, e[1](env))))
                continue
            pull = k in (3, 4)
            text += 'let %%%s = %s; ' % (a, ['%{f}({a})', 'grad(%{f})({a}).1.0', 'jvp(%{f})({a}, 1f64).1', 'vjp(%{f})({a})',
                                             'vjp(%{f})({a})'][k].format(f=f, a=at[0]))

            def go(env, a=a, at=at, k=k):
                x = at[1](env)
                env[a] = value(env, x) if k == 0 else self.slope(lambda y: value(env, y), x)
            steps.append(go)
            if pull:                    # called when others have run, and again
                later.append(('%%%s.1(1f64).0 + 0.5f64 * %%%s.1(2f64).0' % (a, a), lambda env, a=a: mul(2.0, env[a])))
            else:
                results.append(('%' + a, lambda env, a=a: env[a]))
        q = self.r.choice(names)
        held = self.kind.get(q)
        results += later + [(held if t == 's' else 'sum(%s)' % held, lambda env: total(self.kind.read(env[q].v)))]
        text += ' + '.join(e[0] for e in results)

        def go_all(env):
            env, s = dict(env), 0.0
            for run in steps:
                run(env)
            for e in results:
                s = add(s, e[1](env))
            return s
        return '(%s)' % text, go_all

    def tower(self, scope):
        """Functions of their own derivatives: the order is decided when the program runs."""
        b, n = self.name('b'), self.name('n')
        body, at = self.expr(dict(scope, **{b: 's'}), 's', 2), self.expr(scope, 's', 1)
        c, orders = self.condition(scope, 1), [self.r.randrange(0, 4), self.r.randrange(0, 3)]
        tower = self.name('tower')
        self.defs.append(TOWER % (tower, tower, self.r.choice(ITS_SLOPE)))
        text = ('(let %%%s = if (%s) { %d } else { %d }; @%s(%%%s, fn (%%%s: float64) -> float64 { %s })(tanh(%s)))'
                % (n, c[0], orders[0], orders[1], tower, n, b, body[0], at[0]))

        def run(env):
            def f(v):
                return body[1](dict(env, **{b: v}))
            for _ in range(orders[0] if c[1](env) else orders[1]):
                f = (lambda g: lambda v: self.slope(g, v))(f)
            return f(tanh(at[1](env)))
        return text, run

    def program(self):
        scope = {'x': 'v', 'y': 'v', 'z': 's'}
        body = self.block(scope, 's', 4)
        if self.r.random() < 0.6:
            more, was = self.r.choice([self.unknown, self.generic, self.state, self.tower])(scope), body
            body = 'let %%body = (%s); %%body + %s' % (was[0], more[0]), lambda env: add(was[1](env), more[1](env))
        self.defs.append('def @f(%%x: Tensor[(3), float64], %%y: Tensor[(3), float64], %%z: float64) -> float64 {\n  %s\n}\n' % body[0])
        return body[1]


def paren(s):
    return s if s.replace('%', '').replace('.', '').replace('_', '').isalnum() else '(%s)' % s


PARAMS = '%x: Tensor[(3), float64], %y: Tensor[(3), float64], %z: float64'
DIRS = '%vx: Tensor[(3), float64], %vy: Tensor[(3), float64], %vz: float64'
UDIRS = DIRS.replace('%v', '%u')
MAIN = '''def @dot(%g: (Tensor[(3), float64], Tensor[(3), float64], float64), %a: Tensor[(3), float64], %b: Tensor[(3), float64], %c: float64) -> float64 {
  sum(%g.0 * %a) + sum(%g.1 * %b) + %g.2 * %c
}
def @first(PARAMS, DIRS) -> (float64, float64, float64, float64) {
  let %g = grad(@f)(%x, %y, %z);
  let %j = jvp(@f)(%x, %y, %z, %vx, %vy, %vz);
  let %p = vjp(@f)(%x, %y, %z);
  (%g.0, @dot(%g.1, %vx, %vy, %vz), %j.1, @dot(%p.1(1.5f64), %vx, %vy, %vz))
}
'''.replace('PARAMS', PARAMS).replace('DIRS', DIRS)
SECOND = '''def @second(PARAMS, UDIRS, DIRS) -> (float64, float64, float64, float64) {
  let %s = fn (PARAMS) -> float64 { @dot(grad(@f)(%x, %y, %z).1, %ux, %uy, %uz) };
  let %t = fn (PARAMS) -> float64 { jvp(@f)(%x, %y, %z, %ux, %uy, %uz).1 };
  (@dot(grad(%s)(%x, %y, %z).1, %vx, %vy, %vz), jvp(%s)(%x, %y, %z, %vx, %vy, %vz).1,
   @dot(grad(%t)(%x, %y, %z).1, %vx, %vy, %vz), jvp(%t)(%x, %y, %z, %vx, %vy, %vz).1)
}
'''.replace('UDIRS', UDIRS).replace('PARAMS', PARAMS).replace('DIRS', DIRS)


def environment(p, dirs):
    """Inputs as duals: dirs is a list of directions, one level each."""
    env = {}
    for n, v in p.items():
        parts = list(v) if isinstance(v, np.ndarray) and v.ndim else [float(v)]
        for lv, d in enumerate(dirs, 1):
            dv = list(d[n]) if isinstance(v, np.ndarray) and v.ndim else [float(d[n])]
            parts = [Dual(a, float(b), lv) for a, b in zip(parts, dv)]
        env[n] = parts if isinstance(v, np.ndarray) and v.ndim else parts[0]
    return env


def moved(p, v, h):
    return {n: p[n] + h * v[n] for n in p}


def coefficient(x, lv):
    return x.d if isinstance(x, Dual) and x.level == lv else 0.0


def close(a, b, tol):
    return abs(a - b) <= tol * max(1.0, abs(a), abs(b))


def check(rvm, seed, second, keep, extra):
    for attempt in range(40):
        gen = Gen((seed, attempt).__hash__() & 0xffffffff)
        f = gen.program()
        rng = np.random.default_rng(seed * 1000 + attempt)
        p, v, u = [{'x': rng.uniform(-1, 1, N), 'y': rng.uniform(-1, 1, N), 'z': rng.uniform(-1, 1)} for _ in range(3)]
        y1 = f(environment(p, [v]))
        value, d1 = float(plain(y1)), float(coefficient(y1, 1))
        if abs(value) > 1e4 or abs(d1) > 1e5 or abs(d1) < 1e-9 or len(''.join(gen.defs)) > 20000:
            continue
        h = 1e-5
        at = [f(environment(moved(p, v, k * h), [])) for k in (1, -1, 2, -2)]
        fd = (4 * (at[0] - at[1]) / (2 * h) - (at[2] - at[3]) / (4 * h)) / 3
        if not close(fd, d1, 1e-4):
            continue                    # next to a condition that turns
        if not close(fd, d1, 1e-6):
            return 'seed %d: duals %.12g, differences %.12g' % (seed, d1, fd)
        break
    else:
        return 'seed %d: no usable program' % seed
    text = '#[version = "0.0.5"]\n' + PRELUDE + ''.join(gen.defs) + MAIN + (SECOND if second else '')
    runs = [('first', {**p, **{'v' + n: v[n] for n in v}})]
    want = {'first': [value, d1, d1, 1.5 * d1]}
    if second:
        y2 = f(environment(p, [v, u]))
        outer = coefficient(y2, 2)
        want['second'] = [float(coefficient(outer, 1))] * 4
        runs.append(('second', {**runs[0][1], **{'u' + n: u[n] for n in u}}))
    with tempfile.TemporaryDirectory() as tmp:
        src, npz, out = (os.path.join(tmp, n) for n in ('p.rly', 'in.npz', 'out.npz'))
        open(src, 'w').write(text)
        if keep:
            open(keep, 'w').write(text)
        for entry, inputs in runs:
            np.savez(npz, **inputs)
            if keep:
                np.savez(keep + '.npz', **inputs)
            r = subprocess.run([rvm, 'run', src, '--entry', entry, '--inputs', npz, '--output', out, *extra],
                               capture_output=True, text=True, timeout=300)
            if r.returncode:
                return 'seed %d, %s: %s' % (seed, entry, (r.stderr.strip() or 'signal %d' % -r.returncode)[-500:])
            z = np.load(out)
            got = [float(z['out.%d' % i]) for i in range(4)]
            names = ('value', 'grad', 'jvp', 'vjp') if entry == 'first' else ('grad of grad', 'jvp of grad', 'grad of jvp', 'jvp of jvp')
            for name, g, w in zip(names, got, want[entry]):
                if not close(g, w, 1e-10):
                    return 'seed %d: %s is %.15g, by duals %.15g' % (seed, name, g, w)
    return None


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument('rvm')
    ap.add_argument('--count', type=int, default=300)
    ap.add_argument('--second', type=int, default=50)
    ap.add_argument('--seed', type=int, default=1)
    ap.add_argument('--jobs', type=int, default=2)
    ap.add_argument('--keep')
    ap.add_argument('--engine')
    a = ap.parse_args()
    sys.setrecursionlimit(10000)
    extra = ['--engine', a.engine] if a.engine else []

    def go(k):
        try:
            return check(os.path.abspath(a.rvm), a.seed + k, k < a.second, a.keep, extra)
        except Exception as e:
            return 'seed %d: %r' % (a.seed + k, e)
    with ThreadPoolExecutor(a.jobs) as pool:
        bad = [w for w in pool.map(go, range(a.count)) if w]
    for w in bad:
        print(w)
    print('%d programs, %d second derivatives, %d wrong' % (a.count, min(a.second, a.count), len(bad)))
    sys.exit(bool(bad))


main()
