// Exact k-nearest-neighbour classification of features.
//
//   d_p(a, b) = | a / |a|_p - b / |b|_p |_p  for l1 and l2;  1 - <a, b> / (|a|_2 |b|_2)  for cosine
//
// A zero vector stays zero. On unit vectors l2 and cosine rank alike. Distances are f32. Neighbours
// are ordered by (distance, training row); votes count equally, and of classes with equal votes the
// one with the nearest member wins. Results do not depend on the number of threads. On CUDA the
// product of equal rows may differ in the last bit, and with it their order.
#pragma once

#include <span>
#include <vector>

#include "engine/core/context.h"
#include "eval/features.h"

namespace bigbigan {

enum class Metric : uint8_t { kL1, kL2, kCosine };

// Neighbours of each test row, nearest first: (test rows, k) training rows, k at most the training
// rows, and on CUDA kMaxNeighbours. `host` prepares, `ctx` searches. Throws Error{kStopped} after a
// signal.
std::vector<int32_t> nearest(const CpuExec& host, const Context& ctx, const Matrix& train,
                             const Matrix& test, Metric metric, int64_t k);

// Whether l2 and cosine find the same neighbours among these training rows: none of them is zero.
bool l2_ranks_as_cosine(const Matrix& train);

// Share of test rows that the vote of the first k neighbours classifies right, for each k.
std::vector<double> knn_accuracy(const CpuExec& host, const Context& ctx,
                                 const LabelledFeatures& train, const LabelledFeatures& test,
                                 int64_t classes, Metric metric, std::span<const int64_t> ks);

}  // namespace bigbigan
