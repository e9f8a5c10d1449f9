#!/usr/bin/env bash
# Fetches the CUDA headers that BIGBIGAN_CUDA=EMULATED compiles against into .deps/cuda/include, unless a toolkit is there:
# $CUDA_HOME, or /usr/local/cuda where that is not set. Headers only, from NVIDIA's wheels on PyPI, 2.4 MB.
set -euo pipefail
cd "$(dirname "$0")/.."

wheels=(nvidia-cuda-runtime==13.0.96 nvidia-cuda-crt==13.0.88)
target=.deps/cuda

for found in "${CUDA_HOME:-/usr/local/cuda}/include" "$target/include"; do
  [[ -f $found/cuda_runtime.h && -f $found/crt/host_defines.h ]] && exit 0
done

echo "fetching CUDA headers: ${wheels[*]}"
scripts/fetch_wheel_headers.sh "$target" manylinux2014_x86_64 "${wheels[@]}"
