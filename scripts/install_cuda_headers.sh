#!/usr/bin/env bash
# Fetches headers that BIGBIGAN_CUDA=EMULATED and ON compile against, unless a toolkit has them: $CUDA_HOME, or
# /usr/local/cuda where that is not set. From NVIDIA's wheels on PyPI, nothing of which is installed or run:
#
#   .deps/cuda/include   CUDA's own, 2.4 MB of download; only the emulated builds need these
#   .deps/nccl/include   nccl.h, which no toolkit has of itself; the wheel around it is 200 MB
set -euo pipefail
cd "$(dirname "$0")/.."

toolkit=${CUDA_HOME:-/usr/local/cuda}/include
wheels=(nvidia-cuda-runtime==13.0.96 nvidia-cuda-crt==13.0.88)
nccl_wheel=nvidia-nccl-cu13==2.28.9

has_cuda() { [[ -f $1/cuda_runtime.h && -f $1/crt/host_defines.h ]]; }
if ! has_cuda "$toolkit" && ! has_cuda .deps/cuda/include; then
  echo "fetching CUDA headers: ${wheels[*]}"
  scripts/fetch_wheel_headers.sh .deps/cuda manylinux2014_x86_64 "${wheels[@]}"
fi
if [[ ! -f $toolkit/nccl.h && ! -f .deps/nccl/include/nccl.h ]]; then
  echo "fetching nccl.h: $nccl_wheel"
  scripts/fetch_wheel_headers.sh .deps/nccl manylinux_2_18_x86_64 "$nccl_wheel"
  find .deps/nccl/include -mindepth 1 ! -name nccl.h -delete
fi
