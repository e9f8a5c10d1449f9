// bigbigan-train under mpirun, from outside.
#pragma once

#include <cmath>

#include "engine/io/jsonl.h"
#include "tests/e2e/tiny_training.h"
#include "tests/engine_util/count.h"

namespace bigbigan {

using Words = std::vector<std::string>;

inline Words operator+(Words a, const Words& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// The MPI library's own leaks are not ours, nor is a fault on demand.
inline const Words kCalm = {"ASAN_OPTIONS=detect_leaks=0:handle_segv=0"};

inline Words ranks(const TinyTraining& tiny, int n, const std::string& name,
                   const Words& more = {}) {
  return mpirun() + Words{"-np", std::to_string(n)} +
         tiny.arguments(name, Words{"train.threads=1"} + more);
}

inline ProcessResult train(const TinyTraining& tiny, int n, const std::string& name,
                           const Words& more = {}, const Words& environment = {}) {
  return run_process(ranks(tiny, n, name, more), environment + kCalm);
}

// Losses of a run, step by step.
inline std::vector<double> losses(const TinyTraining& tiny, const std::string& name) {
  PosixVfs vfs;
  std::vector<double> all;
  for (const FlatJson& line : read_jsonl(vfs, tiny / name / "stats.jsonl")) {
    all.push_back(json_get<double>(line, "loss_d", "stats"));
    all.push_back(json_get<double>(line, "loss_eg", "stats"));
  }
  return all;
}

inline double distance(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(a[i] - b[i]));
  return worst;
}

}  // namespace bigbigan
