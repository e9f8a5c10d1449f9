#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/linear/gemm.h"

namespace bigbigan {
namespace {

std::vector<float> filled(int64_t count, double rate) {
  std::vector<float> values(count);
  for (int64_t i = 0; i < count; ++i)
    values[i] = static_cast<float>(std::sin(rate * double(i) + 1));
  return values;
}

// a (rows, k) b (n, k)^T
std::vector<float> product(const float* a, const std::vector<float>& b, int64_t rows, int64_t n,
                           int64_t k, bool rows_alone, bool accumulate) {
  std::vector<float> c(rows * n, 0.5f);
  gemm(CpuExec{}, {.a = {a, {rows, k}, DType::kF32},
                   .b = {b.data(), {n, k}, DType::kF32},
                   .transpose_b = true,
                   .c = {c.data(), {rows, n}, DType::kF32},
                   .accumulate = accumulate,
                   .rows_alone = rows_alone});
  return c;
}

}  // namespace

TEST_CASE("with rows_alone a row has the same bits in any batch", "[kernels][gemm]") {
  const auto [n, k] =
      GENERATE(std::pair<int64_t, int64_t>{1, 64}, std::pair<int64_t, int64_t>{8, 16},
               std::pair<int64_t, int64_t>{160, 128}, std::pair<int64_t, int64_t>{33, 300});
  const bool accumulate = GENERATE(false, true);
  constexpr int64_t kRows = 70;
  const std::vector<float> a = filled(kRows * k, 0.7), b = filled(n * k, 1.3);
  const std::vector<float> all = product(a.data(), b, kRows, n, k, true, accumulate);
  const std::vector<float> usual = product(a.data(), b, kRows, n, k, false, accumulate);
  for (int64_t i = 0; i < kRows * n; ++i) REQUIRE(all[i] == Approx(usual[i]).margin(1e-4));
  for (const int64_t rows : {1, 2, 7, 15, 16, 17, 32, 33}) {
    for (const int64_t first : {0, 3, 30}) {
      const std::vector<float> part =
          product(a.data() + first * k, b, rows, n, k, true, accumulate);
      CAPTURE(n, k, rows, first);
      REQUIRE(std::memcmp(part.data(), all.data() + first * n, part.size() * sizeof(float)) == 0);
    }
  }
}

}  // namespace bigbigan
