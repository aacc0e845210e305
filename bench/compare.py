"""compare.sh: rvm beside its peers.

A row is a program of examples/models and what the peers have for it (bench/compare_items.py).  Every peer variant is
prepared and measured for a moment; the fastest and rvm then take turns, each a process of its own that was prepared
once.  A row that cannot be measured says why.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.dirname(HERE)
SHARED = os.environ.get("RVM_SHARED") or os.path.join(SOURCE, "..", "shared")
PEERS = os.path.abspath(os.path.join(SHARED, "peers"))
sys.dont_write_bytecode = True
sys.path[:0] = [PEERS, HERE]


class Missing(Exception):
    """Why a row cannot be measured."""


def parse():
    parser = argparse.ArgumentParser(prog="compare.sh", description="rvm beside PyTorch, ONNX Runtime and BLAS libraries")
    parser.add_argument("items", nargs="*", metavar="ITEM", help="groups or rows (default: all); --list shows them")
    parser.add_argument("--json", metavar="FILE", help="write the rows there")
    parser.add_argument("--rvm", metavar="PATH", default=os.environ.get("RVM"), help="default: $RVM, else the rvm of build/")
    parser.add_argument("--engine", default="native")
    parser.add_argument("--opt", default="2")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--budget", type=float, default=0.2, metavar="S", help="of each per round (default 0.2)")
    parser.add_argument("--quick", action="store_true", help="2 rounds of 0.1 s")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.budget = 2, 0.1
    return options


def find_rvm(given):
    for path in [given] if given else [os.path.join(SOURCE, "build", "rvm"), "rvm"]:
        if subprocess.run(["sh", "-c", 'command -v "$0" >/dev/null', path]).returncode == 0:
            return os.path.abspath(path) if os.path.exists(path) else path
    raise SystemExit("compare.sh: no rvm: build it, or say --rvm PATH")


def set_up_peers():
    if not os.path.isdir(PEERS):
        raise SystemExit(f"compare.sh: there are no peers at {PEERS} (RVM_SHARED names the folder of peers/)")
    import config
    if not os.path.exists(f"{config.BUILD}/libortshim.so"):
        subprocess.run([os.path.join(PEERS, "peers.sh"), "setup"], check=True)
    return config


class Setting:
    """What all rows need."""

    def __init__(self, options):
        self.options, self.config = options, set_up_peers()
        self.rvm = find_rvm(options.rvm)
        self.work = os.path.join(self.config.HOME, "rvm-compare")
        os.makedirs(self.work, exist_ok=True)
        self.help = subprocess.run([self.rvm, "run", "--help"], capture_output=True, text=True).stdout
        self.levels = {}

    def weights(self, model):
        path, script = f"{self.work}/{model}.safetensors", f"{SOURCE}/examples/models/weights.py"
        if not os.path.exists(path) or os.path.getmtime(path) < os.path.getmtime(script):
            subprocess.run([self.config.PYTHON, script, model, path + ".part"], check=True)
            os.replace(path + ".part", path)
        return path

    def command(self, row, *more):
        """rvm run, for a row."""
        program = row.program if os.path.isabs(row.program) else f"{SOURCE}/examples/{row.program}"
        args = [self.rvm, "run", program, f"--engine={self.options.engine}", f"--opt={self.options.opt}", f"--entry={row.entry}"]
        if row.weights:
            args.append("--params=" + (row.weights if row.weights.startswith("/") else self.weights(row.weights)))
        if row.fast:
            args.append("--fast-math")
        if row.threads > 1:
            if "--threads" not in self.help:
                raise Missing("this rvm has no --threads")
            args.append(f"--threads={row.threads}")
        inputs = row.inputs(self) if callable(row.inputs) else row.inputs
        return args + [f"--input={name}={value}" for name, value in inputs.items()] + list(more)


def peak_mib(process):
    """The most memory a process has held so far; None where /proc does not say."""
    try:
        with open(f"/proc/{process.pid}/status") as f:
            return next(int(line.split()[1]) / 1024 for line in f if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return None


class Ours:
    """rvm run --samples: answers seconds with samples."""

    def __init__(self, setting, row):
        self.errors = open(f"{setting.work}/stderr", "w+")
        self.process = subprocess.Popen(setting.command(row, "--samples"), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.errors, text=True, preexec_fn=setting.config.pinned(row.threads))
        self._answer()

    def _answer(self):
        for line in self.process.stdout:
            if line.startswith("@ "):
                return line[2:]
        self.process.wait()
        self.errors.seek(0)
        raise Missing("rvm: " + (self.errors.read().strip().splitlines() or [f"status {self.process.returncode}"])[0])

    def measure(self, budget):
        self.process.stdin.write(f"{budget}\n")
        self.process.stdin.flush()
        samples = [float(word) for word in self._answer().split()]
        return min(samples), statistics.median(samples)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Theirs:
    """One variant of a peer."""
    TO_US = {"us": 1.0, "ms": 1e3}

    def __init__(self, setting, row, selector):
        import pair
        try:
            item = setting.config.find_item(row.peer_item)
            variant, case = pair.find_case(item, selector)
            if case.unit not in self.TO_US:
                raise Missing(f"{selector} is not a time")
            self.name, self.unit = f"{case.name}@{case.fw}", self.TO_US[case.unit]
            self.peer = pair.Peer(item, variant, self.name, row.threads)
        except SystemExit as why:
            raise Missing(str(why))

    def measure(self, budget):
        best, median = self.peer.measure(budget)
        return self.unit * best, self.unit * median

    def close(self):
        self.peer.close()


def fastest(setting, row):
    """Of the variants that can be had, the one with the least best; the others end."""
    have, whys = [], []
    for selector in row.peers:
        peer = None
        try:
            peer = row.peer_class(setting, row, selector) if row.peer_class else Theirs(setting, row, selector)
            have.append((peer.measure(0.1)[0], len(have), peer))
        except (Missing, OSError, SystemExit) as why:
            whys.append(f"{selector}: {why}")
    if not have:
        raise Missing("; ".join(whys) or "no peer")
    have.sort()
    for _, _, peer in have[1:]:
        peer.close()
    return have[0][2]


def peaks(ours, peer):
    """Of both processes whole: machine code and its compiler, Python and its libraries."""
    found = {"ours_peak_mib": peak_mib(ours.process)}
    if hasattr(getattr(peer, "peer", None), "process"):
        found["peer_peak_mib"] = peak_mib(peer.peer.process)
    return found


def paired(setting, row):
    if row.memory:
        Ours(setting, row).close()              # what is measured finds its code in the cache
    ours, peer, rounds, memory = Ours(setting, row), None, [], {}
    try:
        peer = fastest(setting, row) if row.peers else None
        for round_number in range(setting.options.rounds + 1):      # round 0 only warms up
            times = [side.measure(setting.options.budget) for side in (peer, ours) if side]
            if round_number:
                rounds.append(times)
        if row.memory:
            memory = peaks(ours, peer)
    finally:
        ours.close()
        if peer:
            peer.close()
    result = {"ours_us": min(r[-1][0] for r in rounds), "ours_median_us": statistics.median(r[-1][1] for r in rounds)}
    if peer:
        result.update(peer=peer.name, peer_us=min(r[0][0] for r in rounds), peer_median_us=statistics.median(r[0][1] for r in rounds))
        result.update(ratio=result["ours_us"] / result["peer_us"], ratio_median=result["ours_median_us"] / result["peer_median_us"])
    setting.levels[row.name] = result["ours_us"]
    return dict(result, **memory)


# ---- rows that are not a call beside a call -----------------------------------------------------------------------

def against_ours(setting, row):
    """A share of another row of ours, which is measured for it if it has not been."""
    result = paired(setting, row)
    if row.base not in setting.levels:
        paired(setting, next(r for r in all_rows() if r.name == row.base))
    base = setting.levels[row.base]
    return dict(result, peer=f"rvm {row.base}", peer_us=base, ratio=result["ours_us"] / base)


def allocations(setting, row):
    """Per step of a longer loop over a shorter one, without the inputs; what the result holds is counted."""
    counts = []
    for command in row.pair(setting):
        done = subprocess.run(command + ["--stats", "--quiet"], capture_output=True, text=True)
        words = done.stderr.replace(",", " ").split()
        if done.returncode or "allocations" not in words:
            raise Missing((done.stderr.strip().splitlines() or ["no --stats"])[0])
        counts.append(int(words[words.index("allocations") - 1]))
    return {"value": (counts[1] - counts[0]) / row.steps, "unit": "allocations per step"}


def process_times(command, rounds):
    """Microseconds of each of `rounds` processes; a first one, not counted unless it is the only one, finds cold files
    and may have to compile."""
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        pid = os.posix_spawn("/bin/sh", ["sh", "-c", 'exec "$0" "$@" >/dev/null 2>&1', *command], os.environ)
        _, status = os.waitpid(pid, 0)
        if status:
            raise Missing(f"{' '.join(command[:3])} ended with status {os.waitstatus_to_exitcode(status)}")
        times.append((time.perf_counter() - start) * 1e6)
    return times[1:] or times


WAIT = """import os, sys
null = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_WRONLY, 0) for fd in (1, 2)]
print(os.wait4(os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=null), 0)[2].ru_maxrss)"""


def process_peak(command):
    """MiB that one more process held at most, but never less than a bare Python: Linux counts what the process that
    starts another one holds at that moment as the other's, and this one holds NumPy and weights."""
    return int(subprocess.check_output([sys.executable, "-I", "-S", "-c", WAIT, *command])) / 1024


def startup(setting, row):
    """A whole process: read the image, run once, end."""
    image = f"{setting.work}/{row.name}.rvm"
    build = [setting.rvm, "build", f"{SOURCE}/examples/{row.program}", f"--params={setting.weights(row.weights)}",
             f"--opt={setting.options.opt}", f"--out={image}"]
    done = subprocess.run(build, capture_output=True, text=True)
    if done.returncode:
        raise Missing(done.stderr.strip().splitlines()[0])
    command = [setting.rvm, "run", image, "--quiet", f"--engine={setting.options.engine}",
               *(f"--input={name}={value}" for name, value in row.inputs.items())]
    if row.cold:
        if "--no-cache" not in setting.help:
            raise Missing("this rvm has no cache to go past: --no-cache is not there")
        command.append("--no-cache")
    times = process_times(command, 0 if row.cold else 10)
    result = {"ours_us": min(times), "ours_median_us": statistics.median(times), "value": process_peak(command),
              "unit": "MiB peak"}
    if row.peers:
        peer = fastest(setting, row)
        best, median = peer.measure(1.0)
        peer.close()
        result.update(peer=peer.name, peer_us=best, peer_median_us=median, ratio=result["ours_us"] / best,
                      ratio_median=result["ours_median_us"] / median)
    return result


# ---- the table -----------------------------------------------------------------------------------------------------

def all_rows():
    from compare_items import rows
    return rows(sys.modules[__name__])


def chosen(items):
    rows = all_rows()
    known = {row.item for row in rows} | {row.name for row in rows}
    for item in items:
        if item not in known:
            raise SystemExit(f"compare.sh: no item {item}; there are {' '.join(dict.fromkeys(row.item for row in rows))}")
    return [row for row in rows if not items or row.item in items or row.name in items]


def show(row, result):
    if "why" in result:
        print(f"{row.name:22s} not measured: {result['why']}", flush=True)
        return
    text = f"{row.name:22s}"
    text += f"{result['ours_us']:12.2f}" if "ours_us" in result else f"{'':12s}"
    text += f"{result['peer_us']:12.2f} {result['ratio']:8.3f}" if "peer_us" in result else f"{'':21s}"
    text += f" {result['ratio_median']:8.3f}" if "ratio_median" in result else f"{'':9s}"
    text += f"  {row.bar:8s}" + (" " if row.met(result) is None else "+" if row.met(result) else "-")
    if "value" in result:
        text += f"  {result['value']:.2f} {result['unit']}"
    if result.get("ours_peak_mib"):
        text += f"  {result['ours_peak_mib']:.0f} of {result.get('peer_peak_mib') or 0:.0f} MiB peak"
    print(f"{text}  {result.get('peer', '')}", flush=True)


def main():
    options = parse()
    if options.list:
        print("\n".join(f"{row.item:12s} {row.name:22s} {row.bar:8s} {row.program}" for row in chosen([])))
        return 0
    rows, results = chosen(options.items), []
    if options.json:  # before the minutes that the rows take
        try:
            open(options.json, "a").close()
        except OSError as why:
            raise SystemExit(f"compare.sh: {options.json}: {why.strerror}")
    setting = Setting(options)
    with open("/proc/cpuinfo") as f:
        cpu = next((line.split(":")[1].strip() for line in f if line.startswith("model name")), "unknown CPU")
    print(f"{cpu}; {setting.rvm} --engine {options.engine} --opt {options.opt}")
    print(f"{'':22s}{'ours us':>12s}{'peer us':>12s} {'ratio':>8s} {'median':>8s}  bar")
    for row in rows:
        try:
            result = row.measure(setting, row)
        except Missing as why:
            result = {"why": str(why)}
        show(row, result)
        results.append({"item": row.item, "name": row.name, "peer": None, "ours_us": None, "peer_us": None, "ratio": None,
                        "ours_median_us": None, "peer_median_us": None, "ratio_median": None, **result})
        if options.json:
            with open(options.json, "w") as f:
                json.dump(results, f, indent=1)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # the rows so far are in the file
        sys.exit(130)
