#!/usr/bin/env bash
# Installs every package that building, testing and the demo need, by name, from the distribution
# (Debian 12), and the CUDA headers that the emulated device needs. Does nothing where all are present.
set -euo pipefail

source "$(dirname "$0")/libraries.sh"
packages=(
  "${libraries[@]}"
  g++ cmake ninja-build ccache git ca-certificates
  libopenmpi-dev openmpi-bin libboost-context-dev
  dataset-fashion-mnist
  clang libclang-rt-14-dev clang-format clang-tidy strace python3 python3-pip
)

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q "ok installed" || missing+=("$package")
done
if [[ ${#missing[@]} -gt 0 ]]; then
  echo "installing: ${missing[*]}"
  sudo=""
  [[ $EUID -eq 0 ]] || sudo=sudo
  export DEBIAN_FRONTEND=noninteractive
  $sudo apt-get update -qq
  $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

# Only the emulated builds need them: the others go on without.
"$(dirname "$0")/install_cuda_headers.sh" ||
  echo "no CUDA headers: the emulated presets will not configure" >&2
