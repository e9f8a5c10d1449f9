// The search for nearest neighbours, by the tile. The launchers are f32 alone: in f64, with which
// they are compared, plain loops compute the same.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kernels/bench/kernel_cases.h"
#include "kernels/knn/l1_distances.h"
#include "kernels/knn/nearest.h"

namespace bigbigan {
namespace {

constexpr int64_t kNeighbours = 50;  // the most that bigbigan-eval knn asks for
constexpr float kFactor = -2;        // of scores that are products: squared distances

void plain_l1_distances(ConstView queries, ConstView references, View distances) {
  const int64_t rows = references.shape[0], columns = references.shape[1];
  for (int64_t i = 0; i < distances.elems(); ++i) {
    const double* a = queries.as<double>() + i / rows * columns;
    const double* b = references.as<double>() + i % rows * columns;
    double sum = 0;
    for (int64_t c = 0; c < columns; ++c) sum += std::abs(a[c] - b[c]);
    distances.as<double>()[i] = sum;
  }
}

// Two operations per term, a difference and a sum. Neither is fused as a product's are: at most
// half of the products' ceiling.
KernelCase l1_distances_case(int64_t queries, int64_t references, int64_t columns) {
  return {.name = fmt::format("l1_distances/queries:{}/references:{}/columns:{}", queries,
                              references, columns),
          .prepare =
              [=](KernelSetup& s) {
                const Tensor q = s.normal({queries, columns}), r = s.normal({references, columns});
                const Tensor distances = s.fresh({queries, references});
                PreparedKernel k{{}, {q, r, distances}, {distances}};
                if (s.dtype == DType::kF64) {
                  k.launch = [=] { plain_l1_distances(q, r, distances); };
                  return k;
                }
                int64_t elems = 0;
                s.ctx.run([&](const auto& ex) {
                  elems = l1_distances_scratch_elems(ex, references, columns);
                });
                const Tensor scratch = s.fresh({elems});
                k.launch =
                    s.launch([=](const auto& ex) { l1_distances(ex, q, r, distances, scratch); });
                return k;
              },
          .takes_bf16 = false,
          .flops = 2.0 * queries * references * columns,
          .length = columns};
}

void plain_nearest(ConstView scores, ConstView offsets, View distances) {
  const int64_t references = scores.shape[1], k = distances.shape[1];
  std::vector<double> all(references);
  for (int64_t i = 0; i < scores.shape[0]; ++i) {
    for (int64_t j = 0; j < references; ++j)
      all[j] = offsets.as<double>()[j] + kFactor * scores.as<double>()[i * references + j];
    std::partial_sort(all.begin(), all.begin() + k, all.end());
    std::copy_n(all.begin(), k, distances.as<double>() + i * k);
  }
}

// The first tile: lists that hold nothing yet take in most candidates.
KernelCase nearest_case(int64_t queries, int64_t references) {
  return {.name = fmt::format("update_nearest/queries:{}/references:{}/k:{}", queries, references,
                              kNeighbours),
          .prepare =
              [=](KernelSetup& s) {
                const Tensor scores = s.normal({queries, references});
                const Tensor offsets = s.normal({references});
                const Tensor distances = s.fresh({queries, kNeighbours});
                const Tensor rows = s.fresh(distances.shape(), DType::kI32);
                PreparedKernel k{{}, {scores, offsets, distances, rows}, {distances}};
                if (s.dtype == DType::kF64) {
                  k.launch = [=] { plain_nearest(scores, offsets, distances); };
                  return k;
                }
                k.launch = s.launch([=](const auto& ex) {
                  update_nearest(ex, {scores, offsets, kFactor, 0, distances, rows});
                });
                return k;
              },
          .takes_bf16 = false};
}

}  // namespace

// Features as wide as H and J.
std::vector<KernelCase> knn_kernels(const KernelSizes& z) {
  return {l1_distances_case(z.queries, z.references, z.wide),
          nearest_case(z.queries, z.references)};
}

}  // namespace bigbigan
