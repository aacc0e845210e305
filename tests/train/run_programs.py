#!/usr/bin/python3
"""run_programs.py RVM ROOT -- `rvm train` on programs as people write them: random numbers in the
loss, lists, trees, derivatives in the loss, refs.  Each has to learn what its data are made of, and
the interpreter has to agree with compiled code."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
from checks import check, ended, finish, in_folder, leaves, np, put_wav_floats, rvm

HERE = os.path.join(os.path.abspath(sys.argv[2]), 'tests/train/programs')
rng = np.random.RandomState(1)


def train(program, *args):
    """The log's objects, or None if it failed."""
    r = rvm('train', os.path.join(HERE, program + '.rly'), '--quiet', '--log', 'l.jsonl', *args)
    ended(' '.join(map(str, (program,) + args)), r)
    if r.returncode:
        return None
    with open('l.jsonl') as f:
        return [json.loads(line) for line in f]


def learns(program, below, *args):
    """The last loss is below, and three epochs of the interpreter are those of compiled code."""
    log = train(program, *args)
    if not log:
        return
    check(program + ' learns', log[-1]['loss'] < below, 'the loss is %g' % log[-1]['loss'])
    at = args.index('--epochs') + 1
    few = list(args[:at]) + [3] + list(args[at + 1:])
    both = [train(program, *few, '--engine', e) for e in ('auto', 'interp')]
    if all(both):
        a, b = ([e['loss'] for e in log] for log in both)
        check(program + ' on two engines', np.allclose(a, b, rtol=1e-3), '%s, %s' % (a, b))


def vae():
    """Eight measurements of two hidden quantities."""
    x = np.tanh(rng.randn(400, 2) @ rng.randn(2, 8)) + .05 * rng.randn(400, 8)
    np.savez('vae.npz', x=x.astype('f'))
    learns('vae', .08, '--data', 'vae.npz', '--epochs', 20, '--lr', .01)


def attention():
    """In one row of the sequence the element of the class is large."""
    os.mkdir('rows')
    for i in range(120):
        x = .3 * rng.randn(rng.randint(1, 9), 4)
        x[rng.randint(len(x)), i % 3] += 1.5
        put_wav_floats('rows/%d_%d.wav' % (i % 3, i), x)
    learns('attention', .1, '--data', 'rows', '--labels', 'name', '--epochs', 30, '--lr', .02)


def phrase(n):
    """Code, mood and whether it is one of the words that turn what follows."""
    if n == 1:
        w = int(rng.randint(20))
        return [w], 1 if w < 8 else -1 if w < 16 else 0, w >= 18
    k = rng.randint(1, n)
    a, b = phrase(k), phrase(n - k)
    return a[0] + b[0] + [-1], -b[1] if a[2] and k == 1 else a[1] + b[1], False


def phrases():
    x, y = [], []
    while len(x) < 300:
        code, mood, _ = phrase(rng.randint(1, 9))
        if mood:
            x.append(code + [-2] * (16 - len(code)))
            y.append(int(mood > 0))
    np.savez('phrases.npz', x=np.int32(x), y=np.int32(y))
    learns('phrases', .2, '--data', 'phrases.npz', '--epochs', 25, '--lr', .02)


def equation():
    """u'' = -u from 0 with slope 1 is the sine."""
    np.savez('line.npz', x=np.linspace(0, 3, 128, dtype='f')[:, None])
    learns('equation', 5e-3, '--data', 'line.npz', '--epochs', 200, '--lr', .01, '--out', 'w.npz')
    train('equation', '--data', 'line.npz', '--epochs', 200, '--lr', .01, '--out', 'w.npz')
    np.savez('at.npz', x=np.float32([[.5], [1], [2]]))
    ended('what was learnt', rvm('run', HERE + '/equation.rly', '--params', 'w.npz', '--inputs', 'at.npz', '--output', 'u.npz',
                                 '--quiet'))
    u = leaves('u.npz')[0][:, 0]
    check('the sine', np.abs(u - np.sin([.5, 1, 2])).max() <= .05, u)


def state():
    """Waves of one frequency at any phase: the next value follows from two."""
    x = np.sin(np.arange(20) * .4 + rng.rand(100, 1) * 6.28)[..., None]
    np.savez('waves.npz', x=x.astype('f'))
    learns('state', .03, '--data', 'waves.npz', '--epochs', 60, '--lr', .01)


for test in (vae, attention, phrases, equation, state):
    with in_folder():
        test()
finish()
