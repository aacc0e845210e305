#!/bin/sh
# deps.sh -- installs the Debian packages that building and testing need and
# that are not there yet.  As root, or with sudo.
set -eu
want='build-essential cmake pkg-config libgc-dev libcmocka-dev libjansson-dev zlib1g-dev libzip-dev nettle-dev
python3-numpy clang clang-format libclang-rt-14-dev llvm-19-dev'

missing=''
for p in $want; do
  dpkg -s "$p" 2>/dev/null | grep -q '^Status: install ok installed' || missing="$missing $p"
done
[ -n "$missing" ] || exit 0

echo "installing:$missing"
as_root=''
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "deps.sh: neither root nor sudo" >&2; exit 1; }
  as_root=sudo
fi
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq
# shellcheck disable=SC2086
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
