#!/usr/bin/env bash
# Unpacks the C++ headers of wheels from PyPI: all that lies below the first folder `include` of each. Nothing of a wheel is
# installed or run.
#
#   fetch_wheel_headers.sh FOLDER PLATFORM WHEEL==VERSION...    replaces FOLDER/include
set -euo pipefail

target=$1 platform=$2
shift 2
mkdir -p "$target"
staging=$(mktemp -d "$target.XXXXXX")  # beside it: moved by renaming
trap 'rm -rf "$staging"' EXIT
python3 -m pip download --quiet --no-deps --only-binary=:all: --platform "$platform" --python-version 3.11 \
  --disable-pip-version-check --dest "$staging" "$@"
python3 - "$staging" <<'PYTHON'
import pathlib, sys, zipfile

staging = pathlib.Path(sys.argv[1])
for wheel in staging.glob("*.whl"):
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            _, inside, header = ("/" + name).partition("/include/")
            if inside and header and not name.endswith("/"):
                path = staging / "include" / header
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(archive.read(name))
PYTHON
rm -rf "$target/include"
mv "$staging/include" "$target/include"
