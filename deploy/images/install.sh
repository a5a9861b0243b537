#!/bin/sh
# Install locked requirements into a directory: install.sh REQUIREMENTS TARGET
#
# Wheels that lie beside this script are used, and then nothing is fetched: that is how images are built on an engine
# without a network. Without them everything comes from the package index that pip is configured with. Either way the
# hashes of the lock files decide what is accepted. The base needs no pip in the first case.
set -eu
here=$(dirname "$0")
if ls "$here"/uv-*.whl >/dev/null 2>&1; then
    python3 -m zipfile -e "$here"/uv-*.whl /tmp/uv
    uv=$(ls /tmp/uv/uv-*.data/scripts/uv)
    chmod 755 "$uv"
    offline="--offline --no-index --find-links $here"
else
    python3 -m pip install --quiet --no-cache-dir --require-hashes --target /tmp/uv -r "$here/uv.txt"
    uv=/tmp/uv/bin/uv
    offline=""
fi
# shellcheck disable=SC2086 # several words on purpose
"$uv" pip install --quiet --no-cache --no-deps --require-hashes $offline \
    --python "$(command -v python3)" --target "$2" -r "$1"
find "$2" -depth -type d -name tests \( -path '*/numpy/*' -o -path '*/scipy/*' \) -exec rm -rf {} +
# Ready-made bytecode, trusted without a look at the source: the root file system is read-only when it runs.
python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash "$2"
rm -rf /tmp/uv
