#!/usr/bin/env bash
# Fetches the CUDA headers that BIGBIGAN_CUDA=EMULATED compiles against into .deps/cuda/include, unless a toolkit is there:
# $CUDA_HOME, or /usr/local/cuda where that is not set. Headers only, from NVIDIA's wheels on PyPI, 2.4 MB.
set -euo pipefail
cd "$(dirname "$0")/.."

wheels=(nvidia-cuda-runtime==13.0.96 nvidia-cuda-crt==13.0.88)
target=.deps/cuda/include

for found in "${CUDA_HOME:-/usr/local/cuda}/include" "$target"; do
  [[ -f $found/cuda_runtime.h && -f $found/crt/host_defines.h ]] && exit 0
done

echo "fetching CUDA headers: ${wheels[*]}"
download=$(mktemp -d)
trap 'rm -rf "$download"' EXIT
python3 -m pip download --quiet --no-deps --only-binary=:all: --platform manylinux2014_x86_64 \
  --disable-pip-version-check --dest "$download" "${wheels[@]}"
python3 - "$download" <<'PYTHON'
import pathlib, sys, zipfile

download = pathlib.Path(sys.argv[1])
for wheel in download.glob("*.whl"):
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            _, inside, header = name.partition("/include/")
            if inside and not name.endswith("/"):
                path = download / "include" / header
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(archive.read(name))
PYTHON
mkdir -p "$(dirname "$target")"
rm -rf "$target"
mv "$download/include" "$target"
