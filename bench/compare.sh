#!/bin/sh
# compare.sh [--json FILE] [--rvm PATH] [--quick] [ITEM...] -- this rvm beside PyTorch, ONNX Runtime and BLAS
# libraries, taking turns on one core; a table of ratios (below 1: rvm is faster).  ITEM: gemm lstm treelstm bert
# fast cnn dscnn gru silero gconv convC fbs chain allocations startup train, or a row's name such as bert_S16; all by
# default, in about 10 minutes.  The peers stand in $RVM_SHARED/peers, or ../shared/peers beside the source.
here=$(cd "$(dirname "$0")/.." && pwd)
exec "${PEERS_PYTHON:-/usr/bin/python3}" "$here/bench/compare.py" "$@"
