#!/usr/bin/python3
"""run_train.py RVM ROOT [TEST...] -- `rvm train` from outside: weights against NumPy, the same
bits from the same seed, kills and resumed runs, files, errors."""
import fcntl
import hashlib
import json
import os
import pty
import random
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
import wave
import xml.etree.ElementTree

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
from checks import RVM, check, ended, finish, in_folder, leaves, np, put_wav_floats, rvm

ROOT = os.path.abspath(sys.argv[2])
HERE = os.path.join(ROOT, 'tests/train/programs')


def train(program, *args):
    if not program.startswith('/'):
        program = os.path.join(HERE, program)
    if '--engine' not in args:
        args += '--engine', 'interp'
    return rvm('train', program, *args)


def tensors(path):
    with open(path, 'rb') as f:
        data = f.read()
    n = struct.unpack('<Q', data[:8])[0]
    types = {'F32': '<f4', 'I32': '<i4', 'F64': '<f8', 'I64': '<i8', 'U8': 'u1', 'U64': '<u8'}
    out = {}
    for k, v in json.loads(data[8:8 + n]).items():
        a, b = v['data_offsets']
        out[k] = np.frombuffer(data[8 + n + a:8 + n + b], types[v['dtype']]).reshape(v['shape'])
    return out


def digest(path):
    with open(path, 'rb') as f:
        return hashlib.sha256(f.read()).hexdigest()


def close(name, got, want, tol=1e-5):
    bad = [k for k in want if k not in got or got[k].shape != np.shape(want[k]) or
           not np.allclose(got[k], want[k], rtol=tol, atol=tol)]
    check(name, not bad, '%s: %s, not %s' % (bad, [got.get(k) for k in bad], [want[k] for k in bad]))


rng = np.random.RandomState(3)
X = rng.randn(50, 3).astype(np.float32)
Y = (X @ rng.randn(3, 2) + [.5, -1] + .1 * rng.randn(50, 2)).astype(np.float32)


# ---- the weights ---------------------------------------------------------------------------

def gradient(w, b):
    d = (X @ w.T + b - Y) / len(X)
    return d.T @ X, d.sum(0)


def simulate(w, b, steps, rate, method, decay=0, momentum=0, nesterov=False, clip=None):
    p = [w.astype(np.float64), b.astype(np.float64)]
    m, v = [0 * a for a in p], [0 * a for a in p]
    for t in range(1, steps + 1):
        g = gradient(*p)
        norm = np.sqrt(sum((a * a).sum() for a in g))
        if clip and norm > clip:
            g = [a * clip / norm for a in g]
        r = rate(t)
        for i in range(2):
            s = g[i] + (0 if method == 'adamw' else decay * p[i])
            if method == 'sgd':
                m[i] = momentum * m[i] + s
                p[i] = p[i] - r * (s + momentum * m[i] if nesterov else m[i])
                continue
            if method == 'adamw':
                p[i] = p[i] * (1 - r * decay)
            m[i], v[i] = .9 * m[i] + .1 * s, .999 * v[i] + .001 * s * s
            p[i] = p[i] - r * (m[i] / (1 - .9**t)) / (np.sqrt(v[i] / (1 - .999**t)) + 1e-8)
    return {'net.weight': p[0], 'net.bias': p[1]}


def test_optimisers():
    base = ['--data', 'train.npz', '--batch', 50, '--quiet']
    r = train('linear.rly', *base, '--epochs', 1, '--lr', '1e-30', '--out', 'w0.safetensors')
    ended('first weights', r)
    w0 = tensors('w0.safetensors')
    start = w0['net.weight'], w0['net.bias']
    flat = lambda t: .05
    cases = [
        (['--optimizer', 'sgd'], dict(method='sgd', rate=flat)),
        (['--optimizer', 'sgd', '--momentum', .9, '--weight-decay', .1],
         dict(method='sgd', rate=flat, momentum=.9, decay=.1)),
        (['--optimizer', 'sgd', '--momentum', .8, '--nesterov', '--clip', .5],
         dict(method='sgd', rate=flat, momentum=.8, nesterov=True, clip=.5)),
        ([], dict(method='adam', rate=flat)),
        (['--weight-decay', .1, '--clip', .3], dict(method='adam', rate=flat, decay=.1, clip=.3)),
        (['--optimizer', 'adamw', '--weight-decay', .5], dict(method='adamw', rate=flat, decay=.5)),
        (['--schedule', 'cosine', '--warmup', 4],
         dict(method='adam', rate=lambda t: .05 * min(t / 4, 1) *
              (.5 + .5 * np.cos(np.pi * max(t - 5, 0) / 16)))),
        (['--schedule', 'linear'], dict(method='adam', rate=lambda t: .05 * (1 - (t - 1) / 20))),
    ]
    for args, how in cases:
        r = train('linear.rly', *base, '--epochs', 20, '--lr', .05, '--out', 'w.safetensors', *args)
        ended('runs %s' % args, r)
        close('weights of %s' % args, tensors('w.safetensors'), simulate(*start, 20, **how), 2e-4)
    r = train('linear.rly', *base, '--epochs', 1, '--lr', '1e-30', '--from', 'w.safetensors', '--out',
              'again.safetensors')
    ended('--from', r)
    check('--from starts there', digest('w.safetensors') == digest('again.safetensors'))


def test_own_step():
    np.save('x.npy', np.float32([1, 2, 3, 6]))
    r = train('own_step.rly', '--data', 'x.npy', '--batch', 4, '--epochs', 3, '--checkpoint',
              'c.safetensors', '--seed', 9)
    ended('own step', r, says='epoch 3/3  loss 9')
    t = tensors('c.safetensors')
    close('lists and trees', t, {'w.0.0': np.full(2, 10.), 'w.0.1': np.full(3, 9.),
                                 'train.state': np.int64(6)})
    a, b = float(t['w.1.0']), float(t['w.1.1.0.0'])
    check('noise differs from step to step', 1 < a < 4 and abs(b - a - 1) < 1e-6, (a, b))


def test_derived():
    """The gradient of @loss does what the one by hand does."""
    with open(HERE + '/linear.rly') as f:
        text = f.read()
    # By hand it is half of the mean square's: one of two columns.
    start, end = text.index('def @gradient'), text.index('def @metrics')
    args = ['--data', 'train.npz', '--batch', 25, '--epochs', 8, '--optimizer', 'sgd', '--out']
    ended('by hand', train(program(text), *args, 'hand.safetensors', '--lr', .05))
    ended('derived', train(program(text[:start] + text[end:]), *args, 'derived.safetensors', '--lr', .05))
    close('derived gradient', tensors('derived.safetensors'), tensors('hand.safetensors'), 1e-4)
    for name in ('optim.rly', 'random.rly'):
        with open(name, 'w') as f:
            f.write('def @own() { 1 }\n')
    ended('files beside the program that are called as the library\'s',
          train(program(text[:start] + text[end:]), *args, 'beside.safetensors', '--lr', .05))
    close('the optimiser is the library\'s', tensors('beside.safetensors'), tensors('derived.safetensors'), 0)
    os.remove('optim.rly')
    os.remove('random.rly')
    np.savez('tree.npz', x=X, y=np.tanh(X @ rng.randn(3, 3)).astype(np.float32))
    r = train('tree.rly', '--data', 'tree.npz', '--epochs', 40, '--lr', .02, '--clip', 1, '--weight-decay', .001,
              '--optimizer', 'adamw', '--checkpoint', 'c.safetensors', '--log', 'l.jsonl')
    ended('lists and trees', r)
    losses = [e['loss'] for e in log_of('l.jsonl')]
    check('lists and trees learn', losses[-1] <= .3 * losses[0], losses)
    t = tensors('c.safetensors')
    for name in ('net.layers.0.weight', 'net.layers.1.bias', 'net.scales.0', 'net.scales.1.0.0',
                 'train.state.0.layers.1.weight', 'train.state.1.scales.0'):
        check(name, name in t and np.all(t[name] != 0), 'missing or zero')


def test_digits():
    """The examples, on a few tones for digits."""
    os.mkdir('tones')
    for i in range(20):
        t = np.arange(1200 + 170 * (i % 7)) / 8000
        digit = i % 2
        put_wav('tones/%d_%d.wav' % (digit, i), .4 * np.sin(2 * np.pi * (300 + 1500 * digit + 9 * i) * t))
    for model in ('digits_gru', 'digits_dscnn'):
        path = os.path.join(ROOT, 'examples/train', model + '.rly')
        r = train(path, '--data', 'tones', '--validate', 'tones', '--epochs', 10, '--batch', 8, '--lr', .01, '--out',
                  'w.safetensors', '--log', 'l.jsonl')
        ended(model, r, says='20 examples, 20 to validate')
        last = log_of('l.jsonl')[-1]['validation'] if r.returncode == 0 else {'accuracy': 0}
        check(model + ' learns', last['accuracy'] == 1, last)
        r = rvm('run', path, '--params', 'w.safetensors', '--input', 'sound=@tones/1_1.wav', '--output', 'p.npz', '--quiet')
        ended(model + ' on a recording', r)
        check(model + ' hears', leaves('p.npz')[0].argmax() == 1, 'something else')


# ---- the same bits -----------------------------------------------------------------------------

BASE = ['--data', 'train.npz', '--validate', 'test.npz', '--batch', 16, '--lr', .02]


def test_seeds():
    # Compiled kernels where this rvm has them.
    have = train('linear.rly', *BASE, '--engine', 'vm', '--epochs', 1).returncode == 0
    engine = 'vm' if have else 'interp'
    for name, seed in (('a', 1), ('b', 1), ('c', 2)):
        ended('seed', train('linear.rly', *BASE, '--engine', engine, '--epochs', 5, '--seed', seed, '--out', name + '.safetensors'))
    check('same seed', digest('a.safetensors') == digest('b.safetensors'), 'weights differ')
    check('other seed', digest('a.safetensors') != digest('c.safetensors'), 'weights are equal')
    ended('engine', train('linear.rly', *BASE, '--epochs', 5, '--seed', 1, '--engine', 'interp', '--out',
                          'i.safetensors'))
    close('engines', tensors('i.safetensors'), tensors('a.safetensors'))


def compiled():
    """The engines of this build that run on threads."""
    return [e for e in ('vm', 'native')
            if train('linear.rly', *BASE, '--engine', e, '--epochs', 1).returncode == 0]


def wide_data():
    x = rng.randn(300, 256).astype(np.float32)
    np.savez('wide.npz', x=x, y=(x[:, :10].argmax(1)).astype(np.int32))
    return ['--data', 'wide.npz', '--batch', 128, '--lr', .001]


def threads_of(args):
    """Trains; the most threads that were seen."""
    p = subprocess.Popen([RVM, 'train', *map(str, args)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    most = 0
    while p.poll() is None:
        try:
            most = max(most, len(os.listdir('/proc/%d/task' % p.pid)))
        except OSError:
            pass
        time.sleep(.005)
    check('training on threads', p.returncode == 0, p.stderr.read())
    p.stderr.close()
    return most


TIMES = 'train.history', 'train.checksum'        # what of a checkpoint depends on the time it was made


def test_threads():
    """Any number of threads: the same weights, and the same checkpoint but for its times."""
    args = [os.path.join(HERE, 'wide.rly'), *wide_data(), '--epochs', 3]
    for engine in compiled():
        found, seen = {}, {}
        for n in (1, 2, 3, 7):
            out = ['--out', 'w%d.safetensors' % n, '--checkpoint', '%s%d.safetensors' % (engine, n)]
            seen[n] = threads_of([*args, '--engine', engine, '--threads', n, *out])
            # One more watches for signals.
            check('threads', seen[n] - seen[1] == n - 1, '%d of %d on %s' % (seen[n], n, engine))
            found[n] = digest('w%d.safetensors' % n)
            a, b = tensors('%s1.safetensors' % engine), tensors('%s%d.safetensors' % (engine, n))
            other = [k for k in a if k not in TIMES and a[k].tobytes() != b[k].tobytes()]
            check('threads', not other, '%s differ on %d threads of %s' % (other, n, engine))
        check('%s: weights of threads' % engine, len(set(found.values())) == 1, found)
    for engine in ('auto', 'interp'):
        ended(engine, train('linear.rly', *BASE, '--engine', engine, '--threads', 2, '--epochs', 1))
    ended('no such engine', train('linear.rly', *BASE, '--engine', 'fast'), 2, '--engine is auto, interp, vm or native')


def log_of(path):
    with open(path) as f:
        return [{k: v for k, v in json.loads(line).items() if k != 'seconds'} for line in f]


def test_resume():
    whole = ['--epochs', 8, '--patience', 50, '--out', 'whole.safetensors', '--log', 'whole.jsonl',
             '--checkpoint', 'cw.safetensors']
    ended('whole', train('linear.rly', *BASE, *whole))
    part = ['--patience', 50, '--out', 'part.safetensors', '--log', 'part.jsonl', '--checkpoint',
            'cp.safetensors', '--resume', '--plot', 'part.svg']
    for n in (3, 4, 8):
        ended('part', train('linear.rly', *BASE, '--epochs', n, *part),
              says='epoch 3 is done' if n == 4 else '')
    check('resumed', digest('whole.safetensors') == digest('part.safetensors'), 'weights differ')
    check('log', log_of('whole.jsonl') == log_of('part.jsonl'), 'logs differ')
    check('log lines', [e['epoch'] for e in log_of('part.jsonl')] == list(range(1, 9)))
    a, b = tensors('cw.safetensors'), tensors('cp.safetensors')
    for k in a:
        check('checkpoint ' + k, k in TIMES or np.array_equal(a[k], b[k]), 'differs')
    check('plot', len(xml.etree.ElementTree.parse('part.svg').getroot()) >= 8, 'too little in it')
    r = train('linear.rly', *BASE, '--epochs', 9, '--checkpoint', 'cp.safetensors')
    ended('without --resume', r, 1, 'cp.safetensors is there already')
    r = train('linear.rly', *BASE, '--lr', .03, '--checkpoint', 'cp.safetensors', '--resume')
    ended('other options', r, 1, 'it was made with --lr 0.02, now it is 0.03')
    with open('half.rly', 'w') as f:
        f.write('def @half(%x: float32) -> float32 { %x / 2.0 }\n')
    own = program('import "half.rly"\ndef @init() -> float32 { 1.0 }\n'
                  'def @loss(%w: float32, %x: Tensor[(n, 3), float32]) -> float32 { @half(%w) * mean(%x) }\n')
    go = ['--data', 'train.npz', '--epochs', 1, '--checkpoint', 'own.safetensors', '--resume']
    ended('an import', train(own, *go))
    with open('half.rly', 'a') as f:
        f.write('// now different\n')
    ended('an import that changed', train(own, *go), 1, 'it was made with program')
    r = rvm('run', HERE + '/linear.rly', '--params', 'cp.safetensors', '--input', 'x=[[0, 0, 0]]', '--output', 'y.npz', '--quiet')
    ended('a checkpoint as weights', r)
    close('a checkpoint serves as weights', {'out': leaves('y.npz')[0]}, {'out': b['net.bias'][None]})


def test_kill():
    args = [*BASE, '--batch', 1, '--epochs', 40, '--lr', .005]
    ended('not killed', train('linear.rly', *args, '--out', 'whole.safetensors'))
    part = [*args, '--checkpoint', 'c.safetensors', '--resume', '--out', 'part.safetensors']
    killed = 0
    for i in range(6):
        p = subprocess.Popen([RVM, 'train', HERE + '/linear.rly', '--engine', 'interp', *map(str, part)],
                             stdout=subprocess.PIPE)
        for _ in range(3 + 2 * i):
            p.stdout.readline()
        p.send_signal(signal.SIGKILL)
        killed += p.wait() == -signal.SIGKILL
        p.stdout.close()
    check('killed', killed >= 3, '%d times only' % killed)
    ended('after the kills', train('linear.rly', *part))
    check('as if not killed', digest('whole.safetensors') == digest('part.safetensors'), 'weights differ')


def kill_when(ready, args):
    """Starts the training, kills it when ready(seconds) says so.  Was it alive?"""
    p = subprocess.Popen([RVM, 'train', *map(str, args)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    began = time.time()
    while p.poll() is None and not ready(time.time() - began):
        pass
    p.send_signal(signal.SIGKILL)
    return p.wait() == -signal.SIGKILL


def test_kill_anywhere():
    """At random moments, and while the checkpoint is written: what is there stays whole."""
    engine = (compiled() or ['interp'])[0]
    args = [os.path.join(HERE, 'wide.rly'), *wide_data(), '--epochs', 12 if engine != 'interp' else 3, '--engine', engine]
    began = time.time()
    ended('not killed', rvm('train', *args, '--out', 'whole.safetensors'))
    took = time.time() - began
    part = [*args, '--checkpoint', 'c.safetensors', '--resume', '--out', 'part.safetensors']
    moments = random.Random(5)
    written = {'n': 0}

    def writing(seconds):
        return any(f.startswith('c.safetensors.') for f in os.listdir('.'))
    for i in range(40):
        if i >= 8 and written['n'] >= 2:  # a busy machine may look too late
            break
        for f in os.listdir('.'):
            if f.startswith('c.safetensors.'):  # the last one is for the training to remove
                os.remove(f)
        at = moments.uniform(.2, .9) * took
        killed = kill_when(writing if i % 2 else lambda seconds: seconds > at, part)
        left = writing(0)
        written['n'] += killed and left
        if not killed and os.path.exists('c.safetensors'):  # it came to its end
            os.remove('c.safetensors')
        if os.path.exists('c.safetensors'):
            tensors('c.safetensors')
    check('killed while writing', written['n'] >= 2, '%d times only' % written['n'])
    ended('after the kills', rvm('train', *part))
    check('nothing of it left', not writing(0), 'temporary files are left: ' + ' '.join(os.listdir('.')))
    check('as if never killed', digest('whole.safetensors') == digest('part.safetensors'), 'weights differ')


def test_interrupt():
    p = subprocess.Popen([RVM, 'train', HERE + '/linear.rly', '--data', 'train.npz', '--batch', '1',
                          '--epochs', '1000000', '--checkpoint', 'c.safetensors'],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for _ in range(5):
        p.stdout.readline()
    p.send_signal(signal.SIGINT)
    said = p.communicate(timeout=30)[1]
    check('interrupted', p.returncode == 130, p.returncode)
    check('interrupted says', 'c.safetensors has the state after epoch' in said, said)


def test_damage():
    args = ['linear.rly', *BASE, '--checkpoint', 'c.safetensors', '--resume']
    ended('whole', train(*args, '--epochs', 2))
    with open('c.safetensors', 'rb') as f:
        good = f.read()
    start = 8 + struct.unpack('<Q', good[:8])[0]
    for at in (0, 20, start, start + 13, start + 100, len(good) - 9, len(good) - 1):
        bad = bytearray(good)
        bad[at] ^= 4
        with open('c.safetensors', 'wb') as f:
            f.write(bad)
        ended('byte %d damaged' % at, train(*args, '--epochs', 3), 1, 'c.safetensors')
    for n in (0, 7, 100, start, len(good) - 1):
        with open('c.safetensors', 'wb') as f:
            f.write(good[:n])
        ended('cut at %d' % n, train(*args, '--epochs', 3), 1, 'c.safetensors')
    with open('c.safetensors', 'wb') as f:
        f.write(good)
    ended('whole again', train(*args, '--epochs', 3))


def test_patience():
    r = train('linear.rly', *BASE, '--lr', '1e-30', '--epochs', 50, '--patience', 3, '--out',
              'w.safetensors', '--log', 'l.jsonl', '--monitor', 'loss')
    ended('patience', r, says='no better for 3 epochs: stopped; epoch 1 was the best')
    check('stopped', len(log_of('l.jsonl')) == 4, log_of('l.jsonl'))
    # What is written is what was best: by default more is better, -NAME turns it.
    for monitor, best in (('bias', max), ('-bias', min), ('error', max), ('-error', min)):
        r = train('linear.rly', *BASE, '--epochs', 20, '--patience', 99, '--monitor', monitor, '--out',
                  'w.safetensors', '--log', 'l.jsonl')
        seen = [e['validation'][monitor.strip('-')] for e in log_of('l.jsonl')]
        r = train('linear.rly', '--data', 'test.npz', '--validate', 'test.npz', '--from', 'w.safetensors',
                  '--epochs', 1, '--lr', '1e-30', '--log', 'l.jsonl', '--batch', 16)
        got = log_of('l.jsonl')[0]['validation'][monitor.strip('-')]
        check('--monitor ' + monitor, abs(got - best(seen)) <= 1e-5, (got, seen))
    r = train('linear.rly', *BASE, '--epochs', 30, '--monitor', 'beauty', '--patience', 2)
    ended('unknown measure', r, 1, 'nothing measures `beauty`; there are loss, error, bias')


def test_hold_out():
    r = train('linear.rly', '--data', 'train.npz', '--validate', .2, '--epochs', 1)
    ended('share', r, says=['40 examples, 10 to validate', 'validation: loss ', 'error ', 'bias '])
    r = train('linear.rly', '--data', 'train.npz', '--epochs', 1)
    check('no validation', r.returncode == 0 and 'validation' not in r.stdout, r.stdout)


# ---- data ------------------------------------------------------------------------------------------

def test_sequences():
    rows = [rng.randn(n, 2).astype(np.float32) for n in (3, 1, 5, 2, 4, 4)]
    sums = np.float32([r.mean(0) @ [2, -1] for r in rows])
    os.mkdir('d')
    # Sequences of different lengths come from recordings; here @features makes them.
    flat = []
    for i, r in enumerate(rows):
        name = 'd/%d_%d.wav' % (i, i)
        flat.append(name)
        put_wav_floats(name, r)
    w = np.ones(2)
    losses = []
    for _ in range(8):
        s = np.stack([r.mean(0) for r in rows])
        d = s @ w - np.arange(6)
        losses.append((d * d).mean())
        w = w - .1 * (s * d[:, None]).mean(0)
    for program in ('sequences.rly', 'lists.rly'):
        with open(os.path.join(HERE, program)) as f:
            text = f.read()
        with open(program, 'w') as f:
            f.write(text + '\ndef @features(%x: Tensor[(n), float32]) -> Tensor[(?, 2), float32] {\n'
                    '  reshape(%x, newshape=[-1, 2])\n}\n')
        r = train(os.path.abspath(program), '--data', 'd', '--labels', 'name', '--batch', 6, '--epochs', 8,
                  '--optimizer', 'sgd', '--lr', .1, '--out', 'w.safetensors', '--log', 'l.jsonl')
        ended(program, r)
        close(program + ' weights', tensors('w.safetensors'), {'w': w}, 1e-4)
        close(program + ' losses', {'l': np.array([e['loss'] for e in log_of('l.jsonl')])}, {'l': losses}, 1e-4)
        again = train(os.path.abspath(program), '--data', 'd', '--labels', 'name', '--batch', 4, '--epochs', 2)
        ended(program + ' with a smaller last batch', again)


def put_wav(path, samples, rate=8000):
    with wave.open(path, 'wb') as w:
        w.setnchannels(1)
        w.setsampwidth(2)
        w.setframerate(rate)
        w.writeframes((np.clip(samples, -1, .999) * 32768).astype('<i2').tobytes())


def test_recordings():
    os.mkdir('byname')
    for label in ('bird', 'cat', 'dog'):
        os.makedirs('byfolder/' + label)
    table = []
    for i in range(30):
        label = i % 3
        x = rng.randn(80 + i) * .3
        x[:len(x) // 2] *= (0, .5, 1)[label]
        x[len(x) // 2:] *= (1, .5, 0)[label]
        name = ('bird', 'cat', 'dog')[label]
        put_wav('byname/%s_%02d.wav' % (name, i), x)
        put_wav('byfolder/%s/%02d.wav' % (name, i), x)
        table.append('%s_%02d.wav,%s\n' % (name, i, name))
    with open('labels.csv', 'w') as f:
        f.writelines(reversed(table))
    args = ['--epochs', 60, '--lr', .5, '--optimizer', 'sgd', '--log', 'l.jsonl']
    logs = []
    for data, how in (('byname', ['--labels', 'name']), ('byname', []), ('byfolder', []),
                      ('byname/*.wav', ['--labels', 'labels.csv'])):
        r = train('sounds.rly', '--data', data, '--validate', data, *how, *args)
        ended('recordings %s %s' % (data, how), r, says=['30 examples', '3 classes: bird cat dog'])
        logs.append(log_of('l.jsonl'))
        check('learns', logs[-1][-1]['validation']['metric'] >= .95, logs[-1][-1])
    check('names and table agree', logs[0] == logs[3])
    r = train('sounds.rly', '--data', 'byname/{bird,cat,dog}_[01]*.wav', '--validate',
              'byname/*_2*.wav', *args)
    ended('patterns', r, says='20 examples, 10 to validate')
    r = train('sounds.rly', '--data', 'byname/[bc]*.wav', '--validate', 'byname', *args)
    ended('a class that was not trained', r, 1, 'dog')
    os.mkdir('numbers')
    for i, label in enumerate(['7', '07', '7', '3', '07', '7']):
        put_wav('numbers/%s_%d.wav' % (label, i), rng.randn(20))
    ended('7 and 07 are two', train('sounds.rly', '--data', 'numbers', '--epochs', 1), says='3 classes: 3 07 7')
    os.mkdir('some')
    put_wav('some/bird_0.wav', np.zeros(0))
    put_wav('some/bird_1.wav', np.zeros(9))
    r = train(program('def @init() -> float32 { 1.0 }\ndef @loss(%w: float32, %x: Tensor[(b, n), float32], '
                      '%x_length: Tensor[(b), int32]) -> float32 '
                      '{ %w * mean(sum(%x, axis=[1]) / cast(%x_length, dtype="float32")) }\n'),
              '--data', 'some', '--epochs', 1)
    ended('a recording of nothing', r, 1, ['1 class: bird', '`x` of its batch has an example without elements'])
    put_wav('byname/dog_99.wav', rng.randn(50), 16000)
    ended('another rate', train('sounds.rly', '--data', 'byname', *args), 1, '16000')
    with open('byname/dog_99.wav', 'wb') as f:
        f.write(b'RIFF')
    ended('damaged recording', train('sounds.rly', '--data', 'byname', *args), 1,
          'dog_99.wav: not a RIFF/WAVE file')
    ended('no recordings', train('sounds.rly', '--data', 'nowhere', *args), 4, 'nowhere: no such file')
    with open('labels.csv', 'a') as f:
        f.write('a,b,c\n')
    ended('damaged table', train('sounds.rly', '--data', 'byname', '--labels', 'labels.csv', *args), 1,
          'labels.csv:31: expected a line')


def program(text):
    with open('p.rly', 'w') as f:
        f.write(text)
    return os.path.abspath('p.rly')


def test_errors():
    one = 'def @init() -> float32 { 1.0 }\n'
    step = one + 'def @gradient(%%w: float32, %s) -> (float32, float32) { (1.0, 1.0) }\n'
    data = ['--data', 'train.npz', '--epochs', 1]
    cases = [
        ('def @main() { 1 }\n', 'entry @init: '),
        (one, 'entry @loss: '),
        (one + 'def @loss(%w: float32, %x: Tensor[(n, 3), float32]) -> int32 { 1 }\n',
         'entry @loss: it must return a float32, found int32'),
        (one + 'def @gradient(%w: float32) -> float32 { %w }\n', 'entry @gradient: it must return (float32'),
        (one + 'def @train_step(%w: float32) -> float32 { %w }\n', 'entry @train_step: it has 1 parameters'),
        (step % '%z: Tensor[(n), float32]', '@gradient of '),
        (step % '%z: Tensor[(n), float32]', 'nothing is known for %z: the data has x, y'),
        (step % '%x: Tensor[(n), float32]', '%x is Tensor[(?), float32], a batch of the data is Tensor[(32, 3), float32]'),
        (step % '%x: Tensor[(n, 4), float32]', 'expected Tensor[(?, 4), float32], found Tensor[(32, 3), float32]'),
        (step % '%x: Tensor[(n, 3), int32]', 'x: int32 cannot be made of float32'),
        (step % '%x_length: float32', '%x_length holds lengths'),
        ('def @init() -> float64 { 1.0f64 }\ndef @gradient(%w: float64, %x: Tensor[(n, 3), float32]) '
         '-> (float32, float64) { (1.0, %w) }\n', 'a weight is float64: optimisers take float32'),
        ('def @init() -> fn (float32) -> float32 { fn (%x: float32) -> float32 { %x } }\n'
         'def @gradient(%w: fn (float32) -> float32, %x: Tensor[(n, 3), float32]) -> (float32, float32) '
         '{ (1.0, 1.0) }\n', 'only tensors, tuples and data can be trained'),
        (one + 'def @gradient(%w: float32, %x: Tensor[(n, 3), float32]) -> (float32, float32) '
         '{ (log(negative(%w)), 1.0) }\n', 'the loss is nan at step 1 (epoch 1)'),
        (one + 'def @gradient(%w: float32, %x: Tensor[(n, 3), float32]) -> (float32, float32) '
         '{ (%w, cast(1 / cast(%w - %w, dtype="int32"), dtype="float32")) }\n', 'integer division by zero'),
        (one + 'def @metrics(%w: float32, %key: Tensor[(2), uint32]) -> float32 { %w }\n' +
         'def @loss(%w: float32) -> float32 { %w }\n', '@metrics of '),
    ]
    for text, says in cases:
        r = train(program(text), *data)
        ended(says, r, 1, says)
    ended('step', train(program(step % '%x: Tensor[(n, 3), float32]'), *data))
    lin = os.path.join(HERE, 'linear.rly')
    for args, code, says in (
            (['--data', 'nothing.npz'], 4, 'nothing.npz'),
            (['--data', 'train.npz', '--data', 'test.npz'], 1, 'there is a `x` already'),
            (['--data', 'train.npz', '--data', '.'], 1, 'either tensor files or recordings'),
            (['--data', 'train.npz', '--validate', 'nothing.npz'], 4, 'nothing.npz'),
            (['--data', 'train.npz', '--out', 'no/such/w.safetensors', '--epochs', 1], 4, 'no/such'),
            (['--data', 'train.npz', '--from', 'train.npz'], 1, 'there is no tensor `net.weight`'),
            (['--data', 'train.npz', '--optimizer', 'lion'], 2, 'sgd, adam or adamw'),
            (['--data', 'train.npz', '--schedule', 'no'], 2, 'constant, cosine'),
            (['--data', 'train.npz', '--lr', -1], 2, 'above 0'),
            (['--data', 'train.npz', '--momentum', 1], 2, 'below 1'),
            (['--data', 'train.npz', '--resume'], 2, '--resume needs'),
            (['--data', 'train.npz', '--checkpoint', 'c.npz'], 2, '.safetensors'),
            (['--data', 'train.npz', '--out', 'w.txt'], 2, '--out'),
            (['--data', 'train.npz', '--validate', '1.5'], 2, 'a share above 0 and below 1'),
            (['--data', 'train.npz', '--epochs', 0], 2, '--epochs takes a whole number above 0, found `0`'),
            (['--data', 'train.npz', '--batch', 0], 2, '--batch takes a whole number above 0, found `0`'),
            (['--data', 'train.npz', '--log', '/dev/full', '--epochs', 9], 4, '/dev/full: it cannot be written'),
            (['--data', 'train.npz', '--plot', '/dev/full', '--epochs', 9], 4, '/dev/full: No space left'),
            ([], 2, '--data is missing')):
        ended(' '.join(map(str, args)), train(lin, *args), code, says)
    for what in 'out', 'checkpoint', 'log', 'plot':  # before the first epoch, and before the data is read
        r = train(lin, '--data', 'nothing.npz', '--' + what, 'no/such/w.safetensors')
        ended('--%s that cannot be written' % what, r, 4, 'no/such/w.safetensors: No such')
    r = train(program(step % '%z: Tensor[(n), float32]'), *data, '--validate', .3)
    check('a mistake is said once', r.stderr.count('nothing is known') == 1, r.stderr)
    bad = X.copy()
    bad[17, 1] = np.inf
    np.savez('infinite.npz', x=bad, y=Y)
    ended('infinite data', train(lin, '--data', 'infinite.npz'), 1, '`x` of its batch has numbers that are not finite')
    np.savez('odd.npz', x=X, y=Y[:9])
    ended('rows', train(lin, '--data', 'odd.npz'), 1, '`y` has 9 examples, `x` has 50')
    np.savez('wide.npz', x=X.astype(np.float64), y=np.int64(np.round(Y)))
    ended('converted', train(lin, '--data', 'wide.npz', '--epochs', 1))
    np.savez('one.npz', x=X[:1], y=Y[:1])
    ended('one example', train(lin, '--data', 'one.npz', '--validate', .5), 1, 'one example cannot be divided')
    np.savez('none.npz', x=X[:0], y=Y[:0])
    ended('no examples', train(lin, '--data', 'none.npz'), 1, 'no examples')


def test_conversions():
    text = ('def @init() -> float32 { 1.0 }\ndef @loss(%%w: float32, %%x: Tensor[(n, 3), float32], '
            '%%y: Tensor[(n), %s]) -> float32 { %%w * mean(cast(%%y, dtype="float32")) }\n')
    for have, values, want, code, says in (
            ('i8', [0, 1, 2], 'uint64', 0, 'epoch 1/1'),
            ('i8', [0, -1, 2], 'uint64', 1, 'y: example 1: uint64 does not hold -1'),
            ('u8', [0, 1 << 63, 2], 'int64', 1, 'y: example 1: int64 does not hold 9223372036854775808'),
            ('u8', [0, 1, 300], 'uint8', 1, 'y: example 2: uint8 does not hold 300'),
            ('i1', [0, 1, -128], 'int64', 0, 'epoch 1/1')):
        np.savez('y.npz', x=X[:3], y=np.array(values, have))
        ended('%s as %s' % (values, want), train(program(text % want), '--data', 'y.npz', '--epochs', 1), code, says)


# Weights in a list with the rest in front are named as `rvm run` reads them.
def test_names():
    lists = program(
        'type Chain { End, Chain(Chain, Tensor[(1), float32]) }\n'
        'def @init() -> Chain { Chain(Chain(End, ones(shape=[1], dtype="float32")), zeros(shape=[1], dtype="float32")) }\n'
        'def @sum_of(%c: Chain) -> float32 { match (%c) { End => 0.0, Chain(%rest, %t) => sum(%t) + @sum_of(%rest) } }\n'
        'def @loss(%c: Chain, %x: Tensor[(n, 3), float32]) -> float32 { @sum_of(%c) + mean(%x) }\n'
        'def @main(%c: Chain) { %c }\n')
    sgd = ['--data', 'train.npz', '--epochs', 1, '--batch', 50, '--optimizer', 'sgd', '--lr', .5]
    ended('a list with its rest in front', train(lists, *sgd, '--out', 'w.safetensors'))
    ended('is read back', rvm('run', lists, '--params', 'w.safetensors'), says='Chain(Chain(End, [0.5]), [-0.5])')
    one = ('def @init() -> float32 { 1.0 }\n'
           'def @loss(%%%s: float32, %%x: Tensor[(n, 3), float32]) -> float32 { %%%s * mean(%%x) }\n')
    for name in ('a"b.rly', 'c\\d.rly'):
        with open(name, 'w') as f:
            f.write(one % ('w', 'w'))
        ended('a program called ' + name, train(os.path.abspath(name), *sgd))
    r = train(program(one % ('train', 'train')), *sgd, '--checkpoint', 'c.safetensors')
    ended('weights called as the checkpoint calls its own', r, 1, 'rename %train')


def test_plot():
    text = ('def @init() -> float32 { 0.0 }\ndef @loss(%%w: float32, %%x: Tensor[(n, 3), float32]) -> float32 '
            '{ %%w + %s }\n')
    for loss in ('0.0', '1e-30', '4e15', '3e38', '-4e15'):
        r = train(program(text % loss), '--data', 'train.npz', '--epochs', 1, '--batch', 50, '--plot', 'p.svg')
        ended('one loss of ' + loss, r)
        with open('p.svg') as f:
            svg = f.read()
        check('its picture', 4 <= svg.count('text-anchor="end"') <= 12 and 'nan' not in svg, svg)


def test_print_step():
    r = train('linear.rly', '--print-step')
    ended('--print-step', r, says=['def @train_step(', '@adam('])
    shutil.copy(HERE + '/linear.rly', 'linear.rly')
    with open('step.rly', 'w') as f:
        f.write(r.stdout)
    ended('what it prints is a program', rvm('check', 'step.rly'))


def on_terminal(columns):
    pid, fd = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack('HHHH', 24, columns, 0, 0))
        os.execv(RVM, [RVM, 'train', HERE + '/linear.rly', '--data', 'train.npz', '--validate', '0.2',
                       '--batch', '1', '--epochs', '2'])
    said = b''
    try:
        while True:
            part = os.read(fd, 65536)
            if not part:
                break
            said += part
    except OSError:
        pass
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    text = said.decode()
    check('on a terminal of %d columns' % columns, code == 0, text)
    return text


def test_terminal():
    text = on_terminal(120)
    for part in ('\repoch 1/2 ', '40/40  loss ', '/s  ETA ', '\033[K', 'last loss '):
        check('the bar has %r' % part, part in text, text)
    for columns in (50, 20):
        bars = [s for s in on_terminal(columns).split('\r') if s.startswith('epoch ') and s.endswith('\033[K')]
        long = [s for s in bars if len(s) - len('\033[K') >= columns]
        check('the bar stays in a line of %d columns' % columns, bars and not long, bars[:3])


for test in (test_optimisers, test_own_step, test_derived, test_digits, test_seeds, test_threads, test_resume, test_kill,
             test_kill_anywhere, test_interrupt, test_damage,
             test_patience, test_hold_out, test_sequences, test_recordings, test_errors,
             test_conversions, test_names, test_plot, test_print_step, test_terminal):
    if not sys.argv[3:] or test.__name__[len('test_'):] in sys.argv[3:]:
        with in_folder():
            np.savez('train.npz', x=X, y=Y)
            np.savez('test.npz', x=X[:7] + 1, y=Y[:7] + .5)
            test()
finish()
