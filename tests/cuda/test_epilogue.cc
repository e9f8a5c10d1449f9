// Note [Epilogues] on CUDA against the CPU: behind a product, and by the launcher of products.
#include <catch2/catch.hpp>
#include <cmath>
#include <string>
#include <vector>

#include "kernels/linear/epilogue.h"
#include "tests/cuda/twins.h"

using namespace bigbigan;

namespace {

struct Product {
  int64_t m, n, k;
};

// Rows below, at and above whole words and blocks of a mask; no rows.
const std::vector<Product> kProducts = {{1, 1, 1},    {3, 31, 5},  {4, 32, 3},    {2, 33, 7},
                                        {5, 128, 16}, {7, 129, 9}, {33, 264, 40}, {0, 8, 4}};

// The epilogue by gemm_finish behind a product, or by whoever the launcher of products takes.
template <class Args>
void run(Twins& twins, const Args& args, bool apart) {
  twins.run([&](const auto& ex, auto at) {
    const GemmArgs g = args(at);
    if constexpr (std::is_same_v<decltype(ex), const CudaExec&>) {
      if (apart) {
        gemm(ex, {.a = g.a, .transpose_a = g.transpose_a, .b = g.b, .c = g.c});
        gemm_finish(ex, g);
        return;
      }
    }
    gemm(ex, g);
  });
}

// On CUDA the mask says where c is above 0, and nothing behind the columns.
void require_mask_of(const Twin& mask, const Twin& c, const Product& p) {
  const std::vector<double> values = read(c.cuda);
  std::vector<uint8_t> bytes(mask.cuda.elems());
  mask.cuda.read(bytes.data());
  const int64_t row_bytes = gemm_mask_shape(p.m, p.n)[1];
  for (int64_t i = 0; i < p.m; ++i) {
    for (int64_t j = 0; j < 8 * row_bytes; ++j) {
      const bool bit = (bytes[i * row_bytes + j / 8] >> j % 8 & 1) != 0;
      REQUIRE(bit == (j < p.n && values[i * p.n + j] > 0));
    }
  }
}

template <class Body>
void for_all(const Body& body) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const Product& p : kProducts) {
      for (const bool apart : {false, true}) {
        INFO(p.m << " x " << p.n << " over " << p.k << ", " << name_of(dtype)
                 << (apart ? ", apart" : ""));
        body(p, dtype, apart);
      }
    }
  }
}

}  // namespace

TEST_CASE("epilogue: bias and ReLU, with a mask and without") {
  for_all([](const Product& p, DType dtype, bool apart) {
    for (const bool relu : {false, true}) {
      for (const bool masked : {false, true}) {
        if (masked && !relu) continue;
        Twins twins;
        const Twin a = twins.normal({p.m, p.k}, dtype), b = twins.normal({p.k, p.n}, dtype);
        const Twin bias = twins.normal({p.n}, dtype), c = twins.fresh({p.m, p.n}, dtype);
        const Twin mask = twins.fresh(gemm_mask_shape(p.m, p.n), DType::kU8);
        const auto args = [&](auto at) {
          GemmArgs g = {.a = at(a), .b = at(b), .c = at(c), .bias = at(bias), .relu = relu};
          if (masked) g.positive = at(mask);
          return g;
        };
        run(twins, args, apart);
        twins.require_close(c, sum_tolerance(dtype, p.k + 1));
        if (masked) require_mask_of(mask, c, p);
      }
    }
  });
}

TEST_CASE("epilogue: ReLU keeps a NaN") {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const bool apart : {false, true}) {
      INFO(name_of(dtype) << (apart ? ", apart" : ""));
      Twins twins;
      const Twin a = twins.normal({3, 2}, dtype), b = twins.normal({2, 40}, dtype);
      const Twin nan = twins.of({40}, dtype, std::vector<double>(40, std::nan("")));
      const Twin c = twins.fresh({3, 40}, dtype);
      run(
          twins,
          [&](auto at) {
            return GemmArgs{.a = at(a), .b = at(b), .c = at(c), .bias = at(nan), .relu = true};
          },
          apart);
      for (const double value : read(c.cuda)) REQUIRE(std::isnan(value));
      for (const double value : read(c.cpu)) REQUIRE(std::isnan(value));
    }
  }
}

TEST_CASE("epilogue: only where a mask says so") {
  for_all([](const Product& p, DType dtype, bool apart) {
    Twins twins;
    const Shape of_mask = gemm_mask_shape(p.m, p.n);
    std::vector<uint8_t> bits(of_mask.elems());
    for (size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<uint8_t>(i * i * 37 + i / 3);
    const Twin mask = twins.of_integers(of_mask, bits);
    const Twin a = twins.normal({p.m, p.k}, dtype), b = twins.normal({p.k, p.n}, dtype);
    const Twin c = twins.fresh({p.m, p.n}, dtype);
    run(
        twins,
        [&](auto at) {
          return GemmArgs{.a = at(a), .b = at(b), .c = at(c), .only_where = at(mask)};
        },
        apart);
    twins.require_equal(c);
  });
}

TEST_CASE("epilogue: sums of the first operand") {
  for_all([](Product p, DType dtype, bool apart) {
    if (p.m == 0) p = {32, 4, 0};  // nothing to add up
    Twins twins;
    const Twin a = twins.normal({p.k, p.m}, dtype), b = twins.normal({p.k, p.n}, dtype);
    const Twin c = twins.fresh({p.m, p.n}, DType::kF32);
    const Twin sums = twins.fresh({p.m}, DType::kF32);
    run(
        twins,
        [&](auto at) {
          return GemmArgs{
              .a = at(a), .transpose_a = true, .b = at(b), .c = at(c), .a_sums = at(sums)};
        },
        apart);
    twins.require_equal(c);
    // Terms of size 1, which may cancel.
    twins.require_within(sums, sum_tolerance(DType::kF32, p.k + 1) * static_cast<double>(p.k));
  });
}

TEST_CASE("epilogue: with something added, and those that do not go together") {
  for_all([](const Product& p, DType dtype, bool) {
    Twins twins;
    const Twin a = twins.normal({p.m, p.k}, dtype), b = twins.normal({p.k, p.n}, dtype);
    const Twin bias = twins.normal({p.n}, dtype), addend = twins.normal({p.m, p.n}, dtype);
    const Twin c = twins.fresh({p.m, p.n}, dtype);
    const auto args = [&](auto at) {
      return GemmArgs{.a = at(a), .b = at(b), .c = at(c), .addend = at(addend), .bias = at(bias)};
    };
    run(twins, args, false);
    twins.require_close(c, sum_tolerance(dtype, p.k + 2));
    GemmArgs g = args([](const Twin& t) { return t.cpu.view(); });
    g.accumulate = true;
    CHECK_THROWS_WITH(gemm(CpuExec{}, g), Catch::Contains("do not go together"));
  });
}
