#!/usr/bin/env bash
# Builds the fuzz targets with clang and runs each for a while: scripts/fuzz.sh [SECONDS [TARGET...]].
# New inputs stay in build-fuzz/corpus; an input that fails is left in build-fuzz and named.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-20}
targets=("${@:2}")
[[ ${#targets[@]} -gt 0 ]] || targets=(safetensors npy idx config flat_json manifest)

cmake --preset fuzz >/dev/null
cmake --build --preset fuzz --target "${targets[@]/#/fuzz_}" | tail -n 1

for target in "${targets[@]}"; do
  echo "== $target: $seconds s"
  mkdir -p "build-fuzz/corpus/$target"
  log=build-fuzz/$target.log
  "build-fuzz/tests/fuzz/fuzz_$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 \
    -print_final_stats=1 -verbosity=0 -artifact_prefix="build-fuzz/$target-" \
    "build-fuzz/corpus/$target" "tests/fuzz/corpus/$target" >"$log" 2>&1 ||
    { cat "$log"; echo "$target failed: see build-fuzz/$target-*"; exit 1; }
  grep "stat::number_of_executed_units" "$log"
done
