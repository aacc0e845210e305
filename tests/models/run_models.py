#!/usr/bin/python3
"""run_models.py RVM SOURCE_DIR -- examples/*.rly with the weights they were written for.

The models lie in $RVM_SHARED/models, else in ../shared/models beside the
source; they are not part of the project, and without them there is nothing to
run.  Every program is built to an image once, and that image runs all cases;
the weights are bound by the names in their files.  Ends with
`N passed, N failed, N skipped`."""
import json, os, struct, subprocess, sys, tempfile
import numpy as np

RVM, SOURCE = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
SHARED = os.environ.get('RVM_SHARED') or os.path.join(SOURCE, '..', 'shared')
MODELS = os.path.join(SHARED, 'models')
done = {'passed': 0, 'failed': 0, 'skipped': 0}

def check(name, ok, detail=''):
    done['passed' if ok else 'failed'] += 1
    print('%s %s %s' % ('ok  ' if ok else 'FAIL', name, detail))

def near(name, got, want, bound):
    same = got.shape == want.shape and got.dtype == want.dtype
    err = float(np.abs(got - want).max()) if same and want.size else 0.0
    check(name, same and err <= bound, 'max error %.2e (bound %.0e)' % (err, bound) if same else
          'found %s %s, expected %s %s' % (got.dtype, got.shape, want.dtype, want.shape))

def equal(name, got, want):
    check(name, got.shape == want.shape and bool((got == want).all()), '' if got.shape == want.shape
          else 'found shape %s, expected %s' % (got.shape, want.shape))

def rvm(*args): return subprocess.run([RVM, *args], capture_output=True, text=True)

class Program:
    """An example, built to an image in dir."""
    def __init__(self, dir, name):
        self.dir, self.image = dir, os.path.join(dir, name + '.rvm')
        source = os.path.join(SOURCE, 'examples', name + '.rly')
        r = rvm('build', source, '--out', self.image)
        check(name + ' builds', r.returncode == 0, r.stderr.strip())

    def run(self, *args):
        """The leaves of the result; an empty list if it fails."""
        out = os.path.join(self.dir, 'out.npz')
        if os.path.exists(out): os.remove(out)
        r = rvm('run', self.image, '--quiet', '--output', out, *args)
        if r.returncode != 0:
            check('run of ' + os.path.basename(self.image), False, r.stderr.strip())
            return []
        with np.load(out) as z:
            if 'out' in z.files: return [z['out']]
            return [z['out.%d' % i] for i in range(len(z.files))]

# ---- silero-vad ---------------------------------------------------------------------
# The reference was made with the .onnx, whose weights are of another training than
# those in the .safetensors beside it.  So the ONNX weights, under the names of the
# .safetensors, are compared with the reference, and with them the net in numpy below;
# the .safetensors as it is is compared with the net in numpy.

NAMES = {'model.stft.forward_basis_buffer': 'stft_conv.weight',
         'model.encoder.0.reparam_conv': 'conv1', 'model.encoder.1.reparam_conv': 'conv2',
         'model.encoder.2.reparam_conv': 'conv3', 'model.encoder.3.reparam_conv': 'conv4',
         'model.decoder.rnn': 'lstm_cell', 'model.decoder.decoder.2': 'final_conv'}

def varint(b, i):
    value = shift = 0
    while True:
        value |= (b[i] & 127) << shift
        shift, i = shift + 7, i + 1
        if b[i - 1] < 128: return value, i

def fields(b, number):
    """All fields of a protobuf message with this number."""
    i, found = 0, []
    while i < len(b):
        tag, i = varint(b, i)
        if tag & 7 == 0: value, i = varint(b, i)
        else:
            n, i = varint(b, i) if tag & 7 == 2 else (8 if tag & 7 == 1 else 4, i)
            value, i = b[i:i + n], i + n
        if tag >> 3 == number: found.append(value)
    return found

def onnx_weights(path):
    """ModelProto.graph = 7, .initializer = 5; TensorProto.dims = 1, .name = 8, .raw_data = 9."""
    weights = {}
    with open(path, 'rb') as f: graph = fields(f.read(), 7)[0]
    for t in fields(graph, 5):
        name = fields(t, 8)[0].decode()
        for old, new in NAMES.items():
            if name.startswith(old): name = new + name[len(old):]
        weights[name] = np.frombuffer(fields(t, 9)[0], '<f4').reshape(fields(t, 1))
    return weights

def safetensors_weights(path):
    with open(path, 'rb') as f: b = f.read()
    n = struct.unpack('<Q', b[:8])[0]
    head = json.loads(b[8:8 + n])
    part = lambda first, last: np.frombuffer(b[8 + n + first:8 + n + last], '<f4')
    head.pop('__metadata__', None)
    return {k: part(*v['data_offsets']).reshape(v['shape']) for k, v in head.items()}

def sigmoid(x): return 1 / (1 + np.exp(-x))

def conv1d(x, w, stride):
    at = range(0, x.shape[2] - w.shape[2] + 1, stride)
    return np.stack([np.tensordot(x[:, :, i:i + w.shape[2]], w, ((1, 2), (1, 2))) for i in at], 2)

def silero(w, frames, state):
    """The net in numpy: probabilities of all frames, and the last state."""
    out = []
    for x in frames:
        y = conv1d(np.pad(x, ((0, 0), (0, 64)), 'reflect')[:, None], w['stft_conv.weight'], 128)
        x = np.sqrt(y[:, :129] ** 2 + y[:, 129:] ** 2)
        for i, stride in (1, 1), (2, 2), (3, 2), (4, 1):
            x = conv1d(np.pad(x, ((0, 0), (0, 0), (1, 1))), w['conv%d.weight' % i], stride)
            x = np.maximum(x + w['conv%d.bias' % i][:, None], 0)
        g = x[:, :, 0] @ w['lstm_cell.weight_ih'].T + w['lstm_cell.bias_ih']
        g = g + state[0] @ w['lstm_cell.weight_hh'].T + w['lstm_cell.bias_hh']
        i, f, n, o = np.split(g, 4, 1)
        c = sigmoid(f) * state[1] + sigmoid(i) * np.tanh(n)
        h = sigmoid(o) * np.tanh(c)
        state = np.stack([h, c])
        out.append(sigmoid(np.maximum(h, 0) @ w['final_conv.weight'][0] + w['final_conv.bias']))
    return np.stack(out), state

def test_silero(dir, at):
    ref = os.path.join(at, 'ref', 'silero_vad_16k_op15@stream-16k-')
    case = lambda name, file: os.path.join(ref + name, file)
    inputs = lambda name: case(name, 'inputs.npz')
    load = lambda name: (np.load(inputs(name)), np.load(case(name, 'outputs.npz')))
    p, params = Program(dir, 'silero_vad'), os.path.join(dir, 'onnx.npz')
    weights = onnx_weights(os.path.join(at, 'silero_vad_16k_op15.onnx'))
    np.savez(params, **weights)
    for name in 'b1', 'b3', 'full34s':
        want = load(name)[1]
        got = p.run('--entry', 'stream', '--inputs', inputs(name), '--params', params)
        if not got: continue
        near('silero %s, %d frames' % (name, len(got[0])), got[0], want['output'], 1e-5)
        last = want['stateN']                    # up to 27, and never rounded to a probability
        near('silero %s, state' % name, got[1], last, 1e-5 * float(np.abs(last).max()))

    x, want = load('b3')
    near('silero in numpy', silero(weights, x['input'], x['state'])[0], want['output'], 1e-5)
    state = x['state']
    for i in range(3):                           # the state goes from run to run
        np.savez(os.path.join(dir, 'frame.npz'), input=x['input'][i], state=state)
        got = p.run('--inputs', os.path.join(dir, 'frame.npz'), '--params', params)
        if not got: return
        near('silero frame %d alone' % i, got[0], want['output'][i], 1e-5)
        state = got[1]

    given = os.path.join(at, 'silero_vad_16k.safetensors')
    got = p.run('--entry', 'stream', '--inputs', inputs('b3'), '--params', given)
    if got: near('silero, weights of the .safetensors', got[0],
                 silero(safetensors_weights(given), x['input'], x['state'])[0], 1e-5)

    x, want = load('full34s')
    whole, rest = x['input'][:, 0, 64:].reshape(1, -1), np.ones((1, 100), np.float32)
    recording = os.path.join(dir, 'samples.npz')
    np.savez(recording, samples=np.concatenate([whole, rest], 1))
    got = p.run('--entry', 'recording', '--inputs', recording, '--params', params)
    if got: near('silero, a recording in one piece', got[0], want['output'], 1e-5)

# ---- g2p-en ---------------------------------------------------------------------------
def test_g2p(dir, at):
    p, ref = Program(dir, 'g2p'), os.path.join(at, 'ref', 'words.npz')
    params = os.path.join(at, 'checkpoint20.npz')
    want = np.load(ref)
    for word in sorted(k.split('.')[0] for k in want.files if k.endswith('.graphemes')):
        got = p.run('--input', 'graphemes=@%s:%s.graphemes' % (ref, word), '--params', params)
        if not got: continue
        equal('g2p %s, phonemes' % word, got[0], want[word + '.phonemes'])
        near('g2p %s, logits' % word, got[1], want[word + '.logits'], 1e-4)

# ---- stories260K ------------------------------------------------------------------------
def test_llama(dir, at):
    p, params = Program(dir, 'llama'), os.path.join(at, 'stories260K.npz')
    want = np.load(os.path.join(at, 'ref', 'greedy200.npz'))
    got = p.run('--input', 'prompt=i64[1]=1', '--input', 'n=200', '--params', params)
    if got:
        equal('llama, 200 tokens', got[0], want['tokens'])
        near('llama, logits', got[1], want['logits'], 1e-3)
    prompt = os.path.join(dir, 'prompt.npy')
    np.save(prompt, want['tokens'][:10])
    got = p.run('--input', 'prompt=@' + prompt, '--input', 'n=5', '--params', params)
    if got:
        equal('llama, 10 tokens given', got[0], want['tokens'][:15])
        near('llama, their logits', got[1], want['logits'][9:14], 1e-3)

for folder, test in ('silero-vad', test_silero), ('g2p-en', test_g2p), ('stories260K', test_llama):
    at = os.path.join(MODELS, folder)
    if not os.path.isdir(at):
        done['skipped'] += 1
        print('skip %s: there is no %s (RVM_SHARED names the folder of models/)' % (folder, at))
        continue
    with tempfile.TemporaryDirectory() as dir: test(dir, at)
print('%(passed)d passed, %(failed)d failed, %(skipped)d skipped' % done)
sys.exit(1 if done['failed'] else 0 if done['passed'] else 77)
