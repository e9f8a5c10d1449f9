#!/usr/bin/env bash
# Fetches the C++ headers of cudnn-frontend, which BIGBIGAN_CUDA=ON compiles against, into .deps/cudnn-frontend/include,
# from NVIDIA's wheel on PyPI. Headers only: nothing of the wheel is installed or run.
set -euo pipefail
cd "$(dirname "$0")/.."

wheel=nvidia-cudnn-frontend==1.32.0
target=.deps/cudnn-frontend
[[ -f $target/include/cudnn_frontend.h && $(cat "$target/version" 2>/dev/null) == "$wheel" ]] && exit 0

echo "fetching cuDNN frontend headers: $wheel"
scripts/fetch_wheel_headers.sh "$target" manylinux_2_28_x86_64 "$wheel"
echo "$wheel" >"$target/version"
