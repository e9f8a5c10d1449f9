#!/usr/bin/env bash
# Installs what is missing, builds, and runs the lints, the fuzz targets for a moment, and all tests: the release
# build, and the CUDA kernels run on the CPU under AddressSanitizer, and each kernel once under ThreadSanitizer, which finds
# races (tests/emu/README.md).
#
#   scripts/test.sh                    what CI runs
#   scripts/test.sh --cpu              without the CUDA kernels
#   scripts/test.sh --emulated         only the CUDA kernels; under ThreadSanitizer in every schedule, and without a sanitizer,
#                                      with one barrier left out at a time, too
#   scripts/test.sh --cuda             only the build by nvcc, and what can be tested of it: on a machine without a GPU the
#                                      tests that need one are skipped (BIGBIGAN_REQUIRE_GPU=1: they fail)
#   scripts/test.sh --cuda-release     only compiles the kernels for all architectures of a release: compute capabilities 8.0, 9.0
#                                      and 10.0, and PTX for later ones
#   scripts/test.sh --sanitize         only the CPU's tests under AddressSanitizer and ThreadSanitizer
#   scripts/test.sh -R REGEX           arguments after the options go to ctest
set -euo pipefail
cd "$(dirname "$0")/.."

cpu=(release) cuda=() release=() emulated=(emulated-address) races=(emulated-thread)
case ${1:-} in
  --cpu) emulated=() races=(); shift ;;
  --emulated) cpu=() emulated=(emulated emulated-address emulated-thread) races=(); shift ;;
  --cuda) cpu=() cuda=(cuda) emulated=() races=(); shift ;;
  --cuda-release) cpu=() emulated=() release=(cuda-release) races=(); shift ;;
  --sanitize) cpu=(address thread) emulated=() races=(); shift ;;
esac

# build PRESET [TARGET...]
build() {
  echo "== $1"
  cmake --preset "$1" >/dev/null
  cmake --build --preset "$1" --target "${@:2}" | tail -n 1
}

./scripts/install_deps.sh
./scripts/lint.sh
if [[ ${#cpu[@]} -gt 0 ]]; then
  echo "== fuzz"
  ./scripts/fuzz.sh 3
fi
for preset in "${cpu[@]}"; do
  build "$preset" all
  ctest --preset "$preset" -j "$(nproc)" "$@"
done
for preset in "${cuda[@]}"; do
  ./scripts/install_cudnn_frontend.sh
  build "$preset" cuda_tests
  ctest --preset "$preset" -L '^(cuda|gpu)$' -j "$(nproc)" "$@"
done
for preset in "${release[@]}"; do
  ./scripts/install_cudnn_frontend.sh
  build "$preset" kernels
done
for preset in "${emulated[@]}"; do
  build "$preset" emulated_tests
  ctest --preset "$preset" -L emulated -j "$(nproc)" "$@"
done
for preset in "${races[@]}"; do
  build "$preset" test_cuda emu_selftest
  ctest --preset "$preset" -L races -j "$(nproc)" "$@"
done
