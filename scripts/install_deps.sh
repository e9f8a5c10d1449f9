#!/usr/bin/env bash
# Installs every package that building, testing and the demo need, by name, from the distribution
# (Debian 12). Does nothing where all are present.
set -euo pipefail

packages=(
  g++ cmake ninja-build ccache pkg-config git ca-certificates
  libfmt-dev libcli11-dev libtomlplusplus-dev nlohmann-json3-dev libxxhash-dev
  libdnnl-dev libeigen3-dev liblbfgs-dev librandom123-dev
  libpng-dev zlib1g-dev libprotobuf-dev protobuf-compiler
  catch2 libbenchmark-dev
  dataset-fashion-mnist
  clang libclang-rt-14-dev clang-format clang-tidy strace python3
)

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q "ok installed" || missing+=("$package")
done
[[ ${#missing[@]} -eq 0 ]] && exit 0

echo "installing: ${missing[*]}"
sudo=""
[[ $EUID -eq 0 ]] || sudo=sudo
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq
$sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
