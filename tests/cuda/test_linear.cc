// Embeddings on CUDA against the CPU: copies, and sums in the order of the rows, to the bit.
#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

#include "kernels/linear/embedding.h"
#include "tests/cuda/twins.h"

using namespace bigbigan;

namespace {

struct Table {
  int64_t classes, width, n;
};

}  // namespace

// Nothing to pick, nothing to fill; widths below, at and above what a warp has; many rows of few
// classes, and classes without a row.
TEST_CASE("embedding") {
  for (const Table& t : std::vector<Table>{{3, 8, 0},
                                           {3, 0, 5},
                                           {1, 1, 1},
                                           {2, 3, 70},
                                           {10, 31, 33},
                                           {7, 33, 31},
                                           {10, 128, 64},
                                           {4, 260, 100},
                                           {1000, 16, 65}}) {
    for (const bool accumulate : {false, true}) {
      Twins twins;
      std::vector<int32_t> list(t.n);
      for (int64_t i = 0; i < t.n; ++i) list[i] = static_cast<int32_t>(i * i * 13 % t.classes);
      const Twin labels = twins.of_integers({t.n}, list);
      const Shape rows = {t.n, t.width}, all = {t.classes, t.width};
      const Twin table = twins.normal(all, DType::kF32), d_y = twins.normal(rows, DType::kF32);
      const Twin y = twins.fresh(rows, DType::kF32);
      const Twin d_table =
          accumulate ? twins.normal(all, DType::kF32) : twins.fresh(all, DType::kF32);
      twins.run([&](const auto& ex, auto at) {
        embedding_forward(ex, at(table), at(labels), at(y));
        embedding_backward(ex, at(labels), at(d_y), at(d_table), accumulate);
      });
      INFO(t.n << " of (" << t.classes << "," << t.width << ")"
               << (accumulate ? ", accumulated" : ""));
      twins.require_equal(y);
      twins.require_equal(d_table);
    }
  }
}

TEST_CASE("embedding: NaN for a label outside the table") {
  Twins twins;
  const Twin good = twins.of_integers({3}, std::vector<int32_t>{1, 0, 1});
  const Twin bad = twins.of_integers({3}, std::vector<int32_t>{1, 2, -1});
  for (const int64_t width : {3, 8}) {
    const Twin table = twins.normal({2, width}, DType::kF32);
    const Twin y = twins.fresh({3, width}, DType::kF32);
    twins.run([&](const auto& ex, auto at) {
      constexpr bool kOnCpu = std::is_same_v<decltype(ex), const CpuExec&>;
      embedding_forward(ex, at(table), at(kOnCpu ? good : bad), at(y));
    });
    const std::vector<double> found = read(y.cuda), expected = read(table.cuda);
    for (int64_t i = 0; i < 3 * width; ++i) {
      if (i < width) {
        REQUIRE(found[i] == expected[width + i]);
      } else {
        REQUIRE(std::isnan(found[i]));
      }
    }
  }
}
