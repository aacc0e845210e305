#!/bin/sh
# leave_one_out.sh RVM FOLDER MODEL.rly [OPTIONS...] -- trains on all speakers but one,
# for each of them, and says how many of that one's recordings are understood.
# FOLDER holds recordings named digit_speaker_number.wav.
set -eu
rvm=$1 folder=$2 model=$3
shift 3
speakers=$(ls "$folder" | sed -n 's/^[^_]*_\([^_]*\)_.*\.wav$/\1/p' | sort -u)
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for s in $speakers; do
  patterns=''
  for o in $speakers; do
    [ "$o" = "$s" ] || patterns="$patterns,$o"
  done
  "$rvm" train "$model" --data "$folder/*_{${patterns#,}}_*.wav" \
    --validate "$folder/*_${s}_*.wav" --log "$log" --quiet "$@"
  echo "$s $(sed -n '$s/.*"accuracy": \([0-9.]*\).*/\1/p' "$log")"
done
