"""opt_equal.py RVM SOURCE_DIR -- the same output and exit code with every level,
every pass alone, every pass of level 2 left out in turn and three random orders
of the passes, for the golden regress programs and the examples that run without
inputs; and after every pass of level 2 the text reads back.  To the byte; where a
pass that may round differently takes part, floats within 1e-4."""
import pathlib, random, re, subprocess, sys

rvm, root = sys.argv[1], pathlib.Path(sys.argv[2])


def opt(*args):
    return subprocess.run([rvm, "opt", *args], capture_output=True, text=True, check=True).stdout


def run(path, *more):
    r = subprocess.run([rvm, "run", str(path), "--full", *more], capture_output=True, timeout=60)
    return r.returncode, r.stdout, r.stderr


number = re.compile(rb"-?\d+\.?\d*(?:e-?\d+)?")


def close(a, b):
    x, y = number.findall(a), number.findall(b)
    same = number.sub(b"#", a) == number.sub(b"#", b) and len(x) == len(y)
    return same and all(abs(float(p) - float(q)) <= 1e-5 + 1e-4 * abs(float(q)) for p, q in zip(x, y))


listing = opt("--list").splitlines()
names = [line.split()[0] for line in listing]
rounding = {line.split()[0] for line in listing if line.endswith("(rounding)")}
level2 = opt("--list", "--level", "2").strip().split(",")
rng = random.Random(7)
ways = [["--opt", "1"], ["--opt", "2"]] + [["--passes", n] for n in names]
ways += [["--passes", ",".join(p for p in level2 if p != n)] for n in sorted(set(level2))]
ways += [["--passes", ",".join(rng.choices(names, k=12))] for _ in range(3)]


def exact(way):
    return way != ["--opt", "2"] and not rounding & set(way[1].split(","))


files = sorted((root / "tests/golden/regress").glob("*.rly")) + sorted((root / "examples").glob("*.rly"))
bad = checked = 0
for f in files:
    plain = run(f, "--opt", "0")
    if re.search(rb"needs inputs|error\[E", plain[2]):
        continue
    checked += 1
    if plain[0] not in (0, 1, 3):
        bad += 1
        print("exit", plain[0], f)
    for w in ways:
        got = run(f, *w)
        if got != plain and (exact(w) or got[0] != plain[0] or not close(got[1], plain[1]) or got[2] != plain[2]):
            bad += 1
            print("differs:", f, *w)
    r = subprocess.run([rvm, "opt", "--verify", "--level", "2", str(f)], capture_output=True, text=True)
    if r.returncode:
        bad += 1
        print("does not read back:", f, r.stderr[:500])
print(f"{checked} programs, {len(ways)} ways, {bad} differ")
sys.exit(1 if bad or not checked else 0)
