"""checks.py -- what the tests in Python share: numpy, or they are skipped; the command under test, which is their
first argument; counting; folders to work in; tensors."""
import contextlib
import os
import shutil
import struct
import subprocess
import sys
import tempfile
try:
    import numpy as np
except ImportError:
    print('numpy is not installed: skipped')
    sys.exit(77)

RVM = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else None
passed = failed = 0


def check(name, ok, detail='it does not'):
    """ok is what has to be true, not what must not be: a nan is no success."""
    global passed, failed
    if ok:
        passed += 1
    else:
        failed += 1
        print('FAILED %s: %s' % (name, detail))


def finish():
    """Ends the test: `N passed, N failed`."""
    print('%d passed, %d failed' % (passed, failed))
    sys.exit(failed > 0 or passed == 0)


def rvm(*args, timeout=300):
    return subprocess.run([RVM, *map(str, args)], capture_output=True, text=True, errors='replace', timeout=timeout)


def ended(name, r, code=0, says=()):
    """r ended with the code and said all of these."""
    said = r.stdout + r.stderr
    missing = [text for text in ([says] if isinstance(says, str) else says) if text not in said]
    check(name, r.returncode == code and not missing, 'exit %d instead of %d, or it does not say %s:\n%s' % (
        r.returncode, code, missing, said))


@contextlib.contextmanager
def in_folder():
    """Works in a fresh folder, which is gone afterwards."""
    tmp, back = tempfile.mkdtemp(prefix='rvm-test-'), os.getcwd()
    os.chdir(tmp)
    try:
        yield tmp
    finally:
        os.chdir(back)
        shutil.rmtree(tmp)


def leaves(path):
    """The tensors of a result that was written with --output, in their order."""
    with np.load(path) as z:
        return [z['out']] if 'out' in z.files else [z['out.%d' % i] for i in range(len(z.files))]


def put_wav_floats(path, x):
    """A recording of float samples, kept as they are; 8000 a second."""
    data = np.asarray(x).astype('<f4').tobytes()
    with open(path, 'wb') as f:
        f.write(b'RIFF' + struct.pack('<I', 36 + len(data)) + b'WAVEfmt ' +
                struct.pack('<IHHIIHH', 16, 3, 1, 8000, 32000, 4, 32) + b'data' + struct.pack('<I', len(data)) + data)
