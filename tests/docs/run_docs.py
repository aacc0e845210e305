#!/usr/bin/env python3
"""run_docs.py RVM SOURCE_DIR [--bless] [FILE.md ...] -- the documents are true.

In every .md of the tree:

  ```rly                  a complete program: rvm check accepts it
  ```rly name.rly         the same, and it is there for the commands below
  ```rly fails E0310      the same, but that error, and no other, is reported
  ```rly warns E0307      the same, accepted with that warning
  ```console              lines that begin with "$ " are run by sh; what follows
                          is stdout and stderr, exactly; a line "..." stands for
                          any number of lines; a command goes on after a `\\`

Relative links lead somewhere, generated documents are what rvm prints, and the
man page names every command and option.  Commands run in a folder made for the
document, where the files of the tree can be seen, `build` is where rvm is, and
rvm is in the PATH.  A block that names $MODELS is run only when that is set.
--bless rewrites the outputs and the generated documents.  Ends with the line
"N passed, N failed".
"""
import difflib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

GENERATED = {"docs/operators.md": ["ops", "--md"], "docs/errors.md": ["explain", "--md"],
             "docs/library.md": ["ops", "--library"]}
TIMEOUT = 120


class Tests:
    passed = failed = 0

    def result(self, name, why=None):
        if why is None:
            self.passed += 1
            return
        self.failed += 1
        print(f"FAILED: {name}\n{why}")


def documents(root):
    for folder, dirs, files in os.walk(root):
        dirs[:] = sorted(d for d in dirs if not d.startswith((".", "build")))
        for f in sorted(files):
            if f.endswith(".md"):
                yield os.path.join(folder, f)


def fences(lines):
    """(info, first line, line behind the last) of each fenced block."""
    start = info = None
    for i, line in enumerate(lines):
        mark = re.match(r"```(.*)$", line)
        if not mark:
            continue
        if start is None:
            start, info = i + 1, mark.group(1).strip()
        else:
            yield info, start, i
            start = None


def sandbox(root, rvm):
    d = tempfile.mkdtemp(prefix="rvm-docs-")
    for name in os.listdir(root):
        if not name.startswith((".", "build")):
            os.symlink(os.path.join(root, name), os.path.join(d, name))
    os.symlink(os.path.dirname(rvm), os.path.join(d, "build"))
    return d


def run(command, where, rvm):
    env = dict(os.environ, LC_ALL="C", PATH=os.path.dirname(rvm) + os.pathsep + os.environ["PATH"])
    p = subprocess.run(["sh", "-c", command], cwd=where, env=env, stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TIMEOUT)
    out = p.stdout.decode("utf-8", "replace").rstrip("\n").split("\n")
    return p.returncode, [] if out == [""] else [l.rstrip() for l in out]


def matches(want, got):
    """A line "..." of want stands for any lines."""
    if not want:
        return not got
    if want[0] == "...":
        return any(matches(want[1:], got[i:]) for i in range(len(got) + 1))
    return bool(got) and want[0] == got[0] and matches(want[1:], got[1:])


def commands(block):
    """[command, its lines, the lines of its output] of a console block."""
    out, i = [], 0
    while i < len(block):
        if not block[i].startswith("$ "):
            out.append([None, [], [block[i]]])
            i += 1
            continue
        said = [block[i]]
        while said[-1].endswith("\\") and i + 1 < len(block):
            i += 1
            said.append(block[i])
        i += 1
        want = []
        while i < len(block) and not block[i].startswith("$ "):
            want.append(block[i])
            i += 1
        out.append(["\n".join(said)[2:], said, want])
    return out


def stripped(want):
    n = len(want)
    while n and not want[n - 1].strip():
        n -= 1
    return want[:n], want[n:]


def console(t, doc, at, block, where, rvm, bless):
    fresh = []
    for command, said, want in commands(block):
        want, blank = stripped(want)
        name = f"{doc}:{at}: {command}"
        if command is None:
            t.result(name, "  an output without a command")
            fresh += want + blank
            continue
        try:
            code, got = run(command, where, rvm)
        except subprocess.TimeoutExpired:
            code, got = 0, [f"(not done after {TIMEOUT} s)"]
        same = matches(want, got)
        fresh += said + (want if same or not bless else got) + blank
        why = None
        if code == 70 or code > 128:
            why = f"  exit code {code}"
        elif not same and not bless:
            why = "\n".join("  " + l for l in difflib.unified_diff(want, got, "document", "now", lineterm=""))
        t.result(name, why)
    return fresh


def program(t, doc, at, info, block, where, rvm):
    words = info.split()[1:]
    name = next((w for w in words if w.endswith(".rly")), f"block{at}.rly")
    text = "\n".join(block) + "\n"
    with open(os.path.join(where, name), "w", encoding="utf-8") as f:
        f.write(text)
    word = next((w for w in ("fails", "warns") if w in words), None)
    want = words[words.index(word) + 1:] if word else []
    lowered = any(c.startswith("E04") for c in want)       # found when code is made
    command = "build --entry main --out fails.rvm" if lowered else "check"
    code, got = run(f"rvm {command} --diag=json {name}", where, rvm)
    try:
        found = sorted({json.loads(l)["code"] for l in got})
    except (ValueError, KeyError):
        found = ["?"]
    ok = code in ((1, 4) if word == "fails" else (0,)) and found == sorted(want)
    t.result(f"{doc}:{at}", None if ok else f"  wanted {want or 'no error'}, found\n  " + "\n  ".join(got))


def links(t, doc, path, text):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.S)):
        if re.match(r"[a-z]+:", target):
            continue
        ok = os.path.exists(os.path.join(os.path.dirname(path), target))
        t.result(f"{doc}: link", None if ok else f"  {target} is not there")


def document(t, root, path, rvm, bless):
    doc = os.path.relpath(path, root)
    with open(path, encoding="utf-8") as f:
        text = f.read()
    lines, out, last = text.split("\n"), [], 0
    where = sandbox(root, rvm)
    try:
        for info, start, end in fences(lines):
            block = lines[start:end]
            out += lines[last:start]
            last = end
            kind = info.split()[0] if info else ""
            if "$MODELS" in "\n".join(block) and not os.environ.get("MODELS"):
                kind = ""
            if kind == "console":
                block = console(t, doc, start, block, where, rvm, bless)
            if kind == "rly":
                program(t, doc, start, info, block, where, rvm)
            out += block
    finally:
        shutil.rmtree(where)
    out += lines[last:]
    if bless and out != lines:
        with open(path, "w", encoding="utf-8") as f:
            f.write("\n".join(out))
    links(t, doc, path, text)


def generated(t, root, rvm, bless):
    for doc, args in GENERATED.items():
        path = os.path.join(root, doc)
        now = subprocess.run([rvm] + args, stdout=subprocess.PIPE, check=True).stdout
        if bless:
            with open(path, "wb") as f:
                f.write(now)
        with open(path, "rb") as f:
            same = f.read() == now
        t.result(doc, None if same else f"  is not what `rvm {' '.join(args)}` prints: python3 {sys.argv[0]} "
                 "build/rvm . --bless")


def man_page(t, root, rvm):
    with open(os.path.join(root, "docs/rvm.1"), encoding="utf-8") as f:
        page = f.read().replace("\\-", "-")
    text = subprocess.run([rvm, "--help"], stdout=subprocess.PIPE, check=True, text=True).stdout
    for command in re.findall(r"^  ([a-z]+)  ", text, re.M):
        part = re.search(rf"^\.SS {command}\n(.*?)(?=^\.S[SH] |\Z)", page, re.M | re.S)
        t.result(f"man page: {command}", None if part else "  no section")
        one = subprocess.run([rvm, command, "--help"], stdout=subprocess.PIPE, check=True, text=True).stdout
        for option in re.findall(r"^  (--[a-z0-9-]+)", one, re.M):
            ok = option == "--diag" or (part and re.search(rf"{option}\b", part.group(1)))
            t.result(f"man page: {command} {option}", None if ok else "  not described")


def main():
    args = [a for a in sys.argv[1:] if a != "--bless"]
    bless = len(args) < len(sys.argv) - 1
    if len(args) < 2:
        print(__doc__)
        return 2
    rvm, root = os.path.abspath(args[0]), os.path.abspath(args[1])
    t = Tests()
    if len(args) == 2:
        generated(t, root, rvm, bless)
        man_page(t, root, rvm)
    for path in [os.path.abspath(a) for a in args[2:]] or list(documents(root)):
        document(t, root, path, rvm, bless)
    print(f"{t.passed} passed, {t.failed} failed")
    return 1 if t.failed else 0


if __name__ == "__main__":
    sys.exit(main())
