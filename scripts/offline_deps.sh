#!/usr/bin/env bash
# Packs the libraries that this distribution gives the project into one file, for a machine without network and with
# another distribution: there scripts/gpu_check.sh --bundle FILE builds with them. Its own compilers, CMake, ninja and CUDA
# toolkit are used; the C and C++ libraries there must be at least as new as here.
#
#   scripts/offline_deps.sh [FILE]     default .deps/offline.tar.gz
#
# In the file: usr/ (headers, libraries, protoc), cudnn-frontend/include, and cuda/include with headers that not every toolkit
# has: nccl.h, and, where a toolkit is installed here, those of cuDNN and cuBLAS.
set -euo pipefail
cd "$(dirname "$0")/.."

file=${1:-.deps/offline.tar.gz}
max_mib=40
# In every Linux with a C++ compiler, or replaced by what is there.
of_the_system='^(libc6|libc6-dev|libgcc-s1|libstdc[+][+]6|libgomp1|pkg-config)$'

./scripts/install_deps.sh
./scripts/install_cudnn_frontend.sh
source scripts/libraries.sh

staging=$(mktemp -d)
trap 'rm -rf "$staging"' EXIT

# "package" and all it depends on, one a line.
closure() {
  local pending=("$@") package seen=" "
  while [[ ${#pending[@]} -gt 0 ]]; do
    package=${pending[0]} pending=("${pending[@]:1}")
    [[ $package =~ $of_the_system || $seen == *" $package "* ]] && continue
    seen+="$package "
    echo "$package"
    mapfile -t -O "${#pending[@]}" pending < <(dpkg-query -W -f '${Depends}\n' "$package" |
      tr ',' '\n' | sed -E 's/^ *//; s/[ |(:].*//; /^$/d')
  done
}

# Copies one installed file below $staging/usr; links, absolute ones too, then point to their file within it.
copy() {
  local from target=$staging/usr/${1#/usr/}
  from=$(realpath "$(dirname "$1")")/$(basename "$1")
  mkdir -p "$(dirname "$target")"
  if [[ -L $from ]]; then
    ln -sf "$(realpath --relative-to="$(dirname "$from")" "$from")" "$target"
  else
    cp "$from" "$target"
  fi
}

for package in $(closure "${libraries[@]}"); do
  while read -r path; do
    [[ $path == /lib/* ]] && path=/usr$path
    [[ $path == /usr/include/* || $path == /usr/lib/* || $path == /usr/share/*cmake/* || $path == /usr/bin/protoc* ]] || continue
    if [[ ! -d $path || -L $path ]]; then copy "$path"; fi
  done < <(dpkg -L "$package")
done

# protoc finds its libraries beside it, wherever that is.
mv "$staging/usr/bin/protoc" "$staging/usr/bin/protoc.program"
cat >"$staging/usr/bin/protoc" <<'WRAPPER'
#!/bin/sh
here=$(dirname "$(realpath "$0")")
LD_LIBRARY_PATH=$(dirname "$here")/lib/x86_64-linux-gnu exec "$here/protoc.program" "$@"
WRAPPER
chmod +x "$staging/usr/bin/protoc"

mkdir "$staging/cudnn-frontend"
cp -r .deps/cudnn-frontend/include "$staging/cudnn-frontend/"
for header in .deps/nccl/include/nccl.h "${CUDA_HOME:-/usr/local/cuda}"/include/{nccl.h,cudnn*.h,cublas*.h}; do
  if [[ -f $header ]]; then install -D -m 644 -t "$staging/cuda/include" "$header"; fi
done

mkdir -p "$(dirname "$file")"
tar -C "$staging" --owner=0 --group=0 --sort=name -czf "$file" .
bytes=$(stat -c %s "$file")
echo "$file: $((bytes / 1024 / 1024)) MiB, $(du -sm "$staging" | cut -f1) MiB unpacked"
if ((bytes > max_mib * 1024 * 1024)); then
  echo "$file: over $max_mib MiB" >&2
  exit 1
fi
