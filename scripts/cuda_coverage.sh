#!/usr/bin/env bash
# Line coverage of the CUDA host code by the emulated tests: the launchers in kernels/**/*.cu and engine/core/backend_cuda.
# Fails below the percentage given (90).
set -euo pipefail
cd "$(dirname "$0")/.."

cmake --preset emulated-coverage >/dev/null
cmake --build --preset emulated-coverage --target emulated_tests | tail -n 1
find build-emulated-coverage -name '*.gcda' -delete
ctest --preset emulated-coverage -L emulated -R '/ascending$' -j "$(nproc)"
python3 scripts/lint/cuda_coverage.py build-emulated-coverage "${1:-90}"
