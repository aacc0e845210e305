#!/bin/sh
# corpus.sh RVM SOURCE_DIR -- real programs with their expected outputs, where
# they are: $RVM_SHARED/corpus, or ../shared/corpus beside the checkout.
set -u
rvm=$1
shared=${RVM_SHARED:-$2/../shared}
[ -x "$shared/corpus/run.py" ] || { echo "no corpus at $shared/corpus: skipped"; exit 77; }
CORPUS_CACHE=${CORPUS_CACHE:-${TMPDIR:-/tmp}/rvm-corpus} /usr/bin/python3 "$shared/corpus/run.py" "$rvm"
