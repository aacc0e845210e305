#!/usr/bin/python3
"""catalogue.py SOURCE_DIR -- tests/catalogue.md has a row for every class of mistakes, and every row names tests that
exist: files of tests/, and behind a colon what is in the file; or says why it does not apply.  What is named for a class
in golden/regress stands in that row.  Ends with `N passed, N failed`."""
import pathlib
import re
import sys

tests = pathlib.Path(sys.argv[1]) / 'tests'
CLASSES = {'A': '01 02 04 06 08 09 10 12',
           'B': '01 02 03 05 06 07 09 10 12 13 14 15 17 18',
           'C': '01 03 04 06 07 08 10 11 12 13 15 16 17 18',
           'D': '01 02 03 05 06 08 09 10 11 12 14 15 16 18 19 20 22',
           'E': '01 03 04 06 07 08 09 11 12 14 15 16 17 18',
           'F': '01 03 04 05 06 07 09 10 11 13 14 15',
           'G': '01 03 05 06 07 09 10 11 12 14',
           'H': '01 02 04 05 06 07 08 10 11 13 14',
           'I': '01 02 04 05 06 08 09 10 11',
           'J': '01 03 04 06 07'}
wanted = [c + n for c, numbers in CLASSES.items() for n in numbers.split()]


def missing(reference):
    """Why a reference `file` or `file: text in it` is none, or None."""
    name, _, text = reference.partition(': ')
    file = tests / name
    if not file.is_file():
        return 'no file tests/' + name
    if text and text not in file.read_text():
        return '%s is not in tests/%s' % (text, name)
    return None


rows, faults = {}, []
for line in (tests / 'catalogue.md').read_text().splitlines():
    m = re.fullmatch(r'\| ([A-Z]\d\d) \| (.+) \| (.*) \|', line)
    if not m:
        continue
    name, what, named = m.groups()
    if name in rows:
        faults.append(name + ' is there twice')
    rows[name] = named
    if re.fullmatch(r'does not apply: .{10,}', named):
        continue
    if not named:
        faults.append(name + ' names no test')
    faults += ['%s: %s' % (name, why) for why in map(missing, named.split(', ') if named else []) if why]
faults += ['no row for ' + w for w in wanted if w not in rows]
faults += ['%s is no class' % r for r in rows if r not in wanted]
for file in sorted((tests / 'golden/regress').glob('[a-j][0-9][0-9]_*.rly')):
    name = file.name[:3].upper()
    if name in wanted and file.name not in rows.get(name, ''):
        faults.append('%s is not in the row of %s' % (file.name, name))
for f in faults:
    print('FAILED:', f)
print('%d passed, %d failed' % (len(rows), len(faults)))
sys.exit(bool(faults) or not rows)
