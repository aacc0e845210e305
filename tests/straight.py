#!/usr/bin/python3
"""straight.py RVM SOURCE_DIR -- the derivative of straight-line code is straight-line code.

Of every convolutional net of examples/models and of the corpus ($RVM_SHARED/corpus, or ../shared/corpus beside the
checkout; skipped if it is not there) the gradient of a scalar loss, and for those of examples/models also its
derivative along a step of all parameters, optimised at level 2, must hold

  no function value but fused operators, which are called where they stand; no call of another function; no ref;
  no tensor of zeros or ones, made or constant, but as the gradient of a weight that does not matter: that is
  returned as it is; and what a gradient of taken elements is scattered into;

and the small ones must give what they give without the optimiser.  Ends with `N passed, N failed`."""
import base64
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np

RVM, SOURCE = (os.path.abspath(path) for path in sys.argv[1:3])
MODELS = os.path.join(SOURCE, 'examples', 'models')
CORPUS = os.path.join(os.environ.get('RVM_SHARED') or os.path.join(SOURCE, '..', 'shared'), 'corpus')
# Program and entry.  fbs_layer @masked holds an if, and no pullback comes out of it.
OURS = [('dscnn', 'main'), ('resnet18', 'main'), ('resnet50', 'main'), ('mobilenet_v2', 'main'), ('resnext_block', 'main'),
        ('conv', 'main'), ('conv', 'g8'), ('cifarnet', 'main'), ('fbs_layer', 'whole'), ('fbs_layer', 'masked')]
FILLS = 'zeros|ones|full|zeros_like|ones_like|full_like|broadcast_to|broadcast_to_like|dyn.zeros|dyn.ones|dyn.full'


# ---- the programs -----------------------------------------------------------------------------------------------

def params_of(text, entry):
    """The text of the parameters, and their names."""
    start = text.index('def @%s(' % entry) + len('def @%s(' % entry)
    names, depth, at = [], 0, start
    for m in re.finditer(r'%(\w+)\s*:|[(\[]|[)\]]', text[start:]):
        at = start + m.start()
        if m.group(1):
            names += [m.group(1)] if depth == 0 else []
        elif m.group(0) in '([':
            depth += 1
        elif depth == 0:
            break
        else:
            depth -= 1
    return re.sub(r'/\*.*?\*/', '', text[start:at]), names


def with_gradient(text, params, names, net, along=False):
    """net: the loss, over ARGS.  along: forward mode."""
    args = ', '.join('%' + n for n in names)
    added = '\ndef @loss(%s) -> float32 { %s }\n' % (params, net.replace('ARGS', args))
    if along:
        steps = re.sub(r'%(\w+)\s*:', r'%step_\1:', params)
        added += 'def @gradient(%s, %s) { jvp(@loss)(%s, %s) }\n' % (params, steps, args, args.replace('%', '%step_'))
    else:
        added += 'def @gradient(%s) { grad(@loss)(%s) }\n' % (params, args)
    at = text.find('#[metadata]')
    return text + added if at < 0 else text[:at] + added + text[at:]


def sum_of(result, call):
    """A loss that looks at every element; result: the type of the net's value."""
    fields = re.findall(r'Tensor\[\(([^)]*)\), *(\w+)\]', result)
    if not fields or any(not d.startswith(('float', 'bfloat')) for _, d in fields):
        return None
    at = [call] if not result.startswith('(') else ['%%y.%d' % i for i in range(len(fields))]
    total = ' + '.join('sum(cast(tanh(%s), dtype="float32"))' % a for a in at)
    return total if len(at) == 1 and at[0] == call else 'let %%y = %s; %s' % (call, total)


def ours():
    for name, entry in OURS:
        with open(os.path.join(MODELS, name + '.rly')) as f:
            params, names = params_of(f.read(), entry)
        text = 'import "%s.rly"\n' % os.path.join(MODELS, name)
        net = 'sum(tanh(@%s(ARGS)))' % entry
        yield '%s @%s' % (name, entry), with_gradient(text, params, names, net), None
        yield '%s @%s along a step' % (name, entry), with_gradient(text, params, names, net, True), None


def corpus():
    for name in sorted(os.listdir(CORPUS)) if os.path.isdir(CORPUS) else []:
        folder = os.path.join(CORPUS, name)
        if not os.path.exists(os.path.join(folder, 'meta.json')):
            continue
        with open(os.path.join(folder, 'model.rly')) as f:
            text = f.read()
        with open(os.path.join(folder, 'meta.json')) as f:
            meta = json.load(f)
        if 'nn.conv' not in text or name.startswith('grad_') or re.search(r'\b(if|match|let %\w+ = fn) \(', text):
            continue
        loss = sum_of(meta['ret_type'], '@%s(ARGS)' % meta['entry'])
        if loss:
            yield name, with_gradient(text, *params_of(text, meta['entry']), loss), folder


# ---- what was made of them ----------------------------------------------------------------------------------------

def filled(text):
    """Which constants are zeros or ones, and more than one element: TVM's format of arrays."""
    out = set()
    listed = re.search(r'"b64ndarrays": \[(.*?)\]', text, re.S)
    for i, b64 in enumerate(re.findall(r'"([^"]+)"', listed.group(1)) if listed else []):
        data = base64.b64decode(b64)
        rank, code, bits = struct.unpack_from('<iBB', data, 24)
        start = 32 + 8 * rank + 8
        if code in (0, 1, 2):
            kind = {0: 'i', 1: 'u', 2: 'f'}[code] + str(bits // 8)
            values = np.frombuffer(data, '<' + kind, offset=start)
            if values.size > 1 and (np.all(values == 0) or np.all(values == 1)):
                out.add('meta[relay.Constant][%d]' % i)
    return out


def bindings(body):
    """(name, value) of the bindings of a function, those of nested blocks left out."""
    out = []
    for line in body.split('\n'):
        m = re.match(r'  (?:let )?(%\w+)(?:: .*?)? = (.*)', line)
        if m:
            out.append((m.group(1), m.group(2)))
    return out


def operands(value):
    return re.findall(r'%\w+|meta\[relay\.Constant\]\[\d+\]', value)


def faults(text):
    """In forward mode functions may be called: those of steps are looked at too."""
    found = re.findall(r'^def @(?:gradient|\w+_jvp\w*)\(.*?^}', text, re.M | re.S)
    for body in found:
        yield from faults_of(text, re.sub(r' ?/\*.*?\*/', '', body))


def faults_of(text, body):
    lines = body.split('\n')[1:]
    for line in lines:
        if re.search(r'\bfn ?\(', line) and 'Primitive=1' not in line:
            yield 'a function value: ' + line
        if re.search(r'\bref(_read|_write)?\(', line):
            yield 'a ref: ' + line
        if re.search(r'@\w', line) and 'step_' not in text:
            yield 'a call: ' + line
    made = bindings(body)
    # What is only put together to be returned.
    result = {lines[-2].strip()}
    for name, value in reversed(made):
        if name in result and re.match(r'(\w+)?\(', value) and not re.match(r'[a-z]', value):
            result.update(operands(value))
    elsewhere = set()
    for name, value in made:
        if name not in result or not re.match(r'[A-Z]\w*\(|\(', value):
            elsewhere.update(operands(value))
    constant = filled(text)
    for name, value in made:
        fill = re.match(r'(%s)\(' % FILLS, value)
        like = fill and not fill.group(1).startswith('broadcast')
        filling = fill and (like or constant & set(operands(value)) or re.search(r'\([01](\.0)?f?[,)]', value))
        # A gradient that is scattered needs something to be scattered into.
        into = [v for _, v in made if name in operands(v)]
        if filling and into and all(re.match(r'scatter\w*\(%s,' % name, v) for v in into):
            continue
        if filling and (name not in result or name in elsewhere):
            yield 'filled: %s = %s' % (name, value)
    inner = [c for line in lines if line.startswith('    ') for c in operands(line)]
    for c in sorted(constant & (elsewhere | set(inner))):
        yield 'a constant of zeros or ones: ' + c


def run(program, folder, level, out):
    args = [RVM, 'run', program, '--entry', 'gradient', '--engine', 'interp', '--opt', str(level), '--output', out, '--quiet',
            '--inputs', os.path.join(folder, 'inputs.npz')]
    params = os.path.join(folder, 'params.npz')
    r = subprocess.run(args + (['--params', params] if os.path.exists(params) else []), capture_output=True, text=True)
    if r.returncode:
        raise ValueError('level %d: exit %d: %s' % (level, r.returncode, r.stderr.strip()[:300]))
    with np.load(out) as z:
        return {k: z[k] for k in z.files}


def same_values(program, folder, tmp):
    """Half precision is compared as the corpus does, loosely."""
    with open(os.path.join(folder, 'meta.json')) as f:
        half = 'float16' in json.dumps(json.load(f)) or 'mixed' in folder
    got, want = (run(program, folder, level, os.path.join(tmp, '%d.npz' % level)) for level in (2, 0))
    for k in want:
        scale = max(1.0, float(np.abs(want[k]).max())) if want[k].size else 1.0
        if not np.allclose(got[k], want[k], rtol=2e-2 if half else 1e-4, atol=(2e-2 if half else 1e-5) * scale):
            yield '%s differs by %.2g between levels' % (k, np.abs(got[k] - want[k]).max())


def check(name, text, folder):
    with tempfile.TemporaryDirectory() as tmp:
        program = os.path.join(tmp, 'p.rly')
        with open(program, 'w') as f:
            f.write(text)
        r = subprocess.run([RVM, 'opt', program, '--level', '2'], capture_output=True, text=True)
        if r.returncode:
            return ['exit %d: %s' % (r.returncode, r.stderr.strip()[:300])]
        found = list(faults(r.stdout))
        if folder and name.startswith('pass_'):
            try:
                found += same_values(program, folder, tmp)
            except ValueError as why:
                found.append(str(why))
        return found


def main():
    nets = list(ours()) + list(corpus())
    if not os.path.isdir(CORPUS):
        print('no corpus at %s: only examples/models' % CORPUS)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda net: check(*net), nets))
    for (name, _, _), faulty in zip(nets, found):
        print('%-38s %s' % (name, 'straight' if not faulty else '%d faults' % len(faulty)))
        for fault in faulty[:8]:
            print('    ' + fault.strip()[:200])
    failed = sum(bool(f) for f in found)
    print('%d passed, %d failed' % (len(nets) - failed, failed))
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
