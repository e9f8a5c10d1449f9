#!/usr/bin/env bash
# The lints, the same for a commit and for CI.
#
#   scripts/lint.sh          formatting and layers
#   scripts/lint.sh --fix    formats the files first
#   scripts/lint.sh --tidy   also clang-tidy (slow; needs a configured build/)
set -euo pipefail
cd "$(dirname "$0")/.."

mapfile -t sources < <(git ls-files '*.h' '*.cc' '*.cuh' '*.cu')
if [[ ${1:-} == --fix ]]; then clang-format -i "${sources[@]}"; fi
clang-format --dry-run -Werror "${sources[@]}"
python3 scripts/lint/layers.py
if [[ ${1:-} == --tidy ]]; then
  # The build's flags are g++'s: clang need not know all of them.
  run-clang-tidy -p build -quiet -extra-arg=-Wno-unknown-warning-option \
    "^$PWD/(kernels|engine|models|train|eval|tests)/" 2>/dev/null
fi
