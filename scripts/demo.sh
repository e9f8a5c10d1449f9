#!/usr/bin/env bash
# From a bare machine to a trained BigBiGAN: installs, builds, trains a small model on Fashion-MNIST on the CPU,
# measures its features beside the untrained encoder's and raw pixels, and writes a report to look at.
#
#   scripts/demo.sh            about five minutes of training on two cores
#   scripts/demo.sh --quick    under two minutes
set -euo pipefail
cd "$(dirname "$0")/.."

minutes=5
case ${1:-} in
  "") ;;
  --quick) minutes=1.75 ;;
  *) echo "usage: scripts/demo.sh [--quick]" >&2; exit 64 ;;
esac
data=/usr/share/datasets/fashion-mnist
run=runs/demo-$(date +%Y%m%d-%H%M%S)

echo "== Installing and building"
./scripts/install_deps.sh
cmake --preset release >/dev/null
cmake --build --preset release --target bigbigan-train bigbigan-extract bigbigan-eval | tail -n 1

echo "== Training for $minutes minutes: $run"
build/train/bigbigan-train --preset fmnist-32-tiny --data $data --run-dir "$run" train.minutes=$minutes

echo "== Extracting features"
for split in train test; do
  build/eval/bigbigan-extract "$run" --data $data --split $split --out "$run/features/$split"
done

echo "== How good are they?"
build/eval/bigbigan-eval features "$run" --data $data --baselines
build/eval/bigbigan-eval report "$run"
