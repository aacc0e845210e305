"""opt_equal.py RVM SOURCE_DIR -- the same output and exit code, to the byte, with
every level, every pass alone and three random orders of the passes, for the
golden regress programs and the examples that run without inputs."""
import pathlib, random, re, subprocess, sys

rvm, root = sys.argv[1], pathlib.Path(sys.argv[2])


def run(path, *more):
    r = subprocess.run([rvm, "run", str(path), "--full", *more], capture_output=True, timeout=60)
    return r.returncode, r.stdout, r.stderr


listing = subprocess.run([rvm, "opt", "--list"], capture_output=True, text=True, check=True).stdout
names = [line.split()[0] for line in listing.splitlines()]
rng = random.Random(7)
ways = [["--opt", "1"], ["--opt", "2"]] + [["--passes", n] for n in names]
ways += [["--passes", ",".join(rng.choices(names, k=12))] for _ in range(3)]
files = sorted((root / "tests/golden/regress").glob("*.rly")) + sorted((root / "examples").glob("*.rly"))
bad = checked = 0
for f in files:
    plain = run(f)
    if re.search(rb"needs inputs|error\[E", plain[2]):
        continue
    checked += 1
    for w in ways:
        if run(f, *w) != plain:
            bad += 1
            print("differs:", f, *w)
print(f"{checked} programs, {len(ways)} ways, {bad} differ")
sys.exit(1 if bad or not checked else 0)
