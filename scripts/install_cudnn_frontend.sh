#!/usr/bin/env bash
# Fetches the C++ headers of cudnn-frontend, which BIGBIGAN_CUDA=ON compiles against, into .deps/cudnn-frontend/include,
# from NVIDIA's wheel on PyPI. Headers only: nothing of the wheel is installed or run.
set -euo pipefail
cd "$(dirname "$0")/.."

wheel=nvidia-cudnn-frontend==1.32.0
target=.deps/cudnn-frontend
[[ -f $target/include/cudnn_frontend.h && $(cat "$target/version" 2>/dev/null) == "$wheel" ]] && exit 0

echo "fetching cuDNN frontend headers: $wheel"
mkdir -p .deps
staging=$(mktemp -d .deps/cudnn-frontend.XXXXXX)
trap 'rm -rf "$staging"' EXIT
python3 -m pip download --quiet --no-deps --only-binary=:all: --platform manylinux_2_28_x86_64 \
  --python-version 3.11 --disable-pip-version-check --dest "$staging" "$wheel"
python3 - "$staging" <<'PYTHON'
import pathlib, sys, zipfile

staging = pathlib.Path(sys.argv[1])
for wheel in staging.glob("*.whl"):
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            folder, _, header = name.partition("include/")
            if folder == "" and header and not name.endswith("/"):
                path = staging / "include" / header
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(archive.read(name))
    wheel.unlink()
PYTHON
echo "$wheel" >"$staging/version"
rm -rf "$target"
mv "$staging" "$target"
