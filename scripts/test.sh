#!/usr/bin/env bash
# Installs what is missing, builds, and runs the lints, the fuzz targets for a moment, and all tests.
#
#   scripts/test.sh                    the release build
#   scripts/test.sh --sanitize         also the AddressSanitizer and ThreadSanitizer builds
#   scripts/test.sh --emulated         only the CUDA kernels, run on the CPU, in all three builds
#   scripts/test.sh -R REGEX           arguments after the options go to ctest
set -euo pipefail
cd "$(dirname "$0")/.."

presets=(release)
if [[ ${1:-} == --emulated ]]; then
  shift
  ./scripts/install_deps.sh
  for preset in emulated emulated-address emulated-thread; do
    echo "== $preset"
    cmake --preset "$preset" >/dev/null
    cmake --build --preset "$preset" --target emulated_tests | tail -n 1
    ctest --preset "$preset" -L emulated -j "$(nproc)" "$@"
  done
  exit 0
elif [[ ${1:-} == --sanitize ]]; then
  presets+=(address thread)
  shift
fi

./scripts/install_deps.sh
./scripts/lint.sh
echo "== fuzz"
./scripts/fuzz.sh 3
for preset in "${presets[@]}"; do
  echo "== $preset"
  cmake --preset "$preset" >/dev/null
  cmake --build --preset "$preset" | tail -n 1
  ctest --preset "$preset" -j "$(nproc)" "$@"
done
