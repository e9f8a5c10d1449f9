// Bias, ReLU and adding behind a convolution, against the sum written out.
#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

#include "kernels/conv/finish.h"
#include "tests/cuda/twins.h"

using namespace bigbigan;

namespace {

struct Finish {
  Shape shape;
  bool bias, relu, accumulate;
};

void check_finish(const Finish& f, DType dtype, bool in_place, DType to_dtype) {
  Twins twins;
  const Twin from = twins.normal(f.shape, dtype), bias = twins.normal({f.shape[-1]}, dtype);
  const Twin fresh =
      f.accumulate ? twins.normal(f.shape, to_dtype) : twins.fresh(f.shape, to_dtype);
  const Twin& to = in_place ? from : fresh;
  std::vector<double> expected = read(from.cpu);
  const std::vector<double> b = read(bias.cpu), old = read(to.cpu);
  for (size_t i = 0; i < expected.size(); ++i) {
    if (f.bias) expected[i] += b[i % b.size()];
    if (f.accumulate) expected[i] += old[i];
    if (f.relu && expected[i] < 0) expected[i] = 0;
  }
  const Twin wanted = twins.of(f.shape, to_dtype, expected);
  twins.run([&](const auto& ex, auto at) {
    if constexpr (std::is_same_v<decltype(ex), const CudaExec&>) {
      conv2d_finish(ex, at(from), f.bias ? ConstView(at(bias)) : ConstView(), f.relu, at(to),
                    f.accumulate);
    }
  });
  INFO(to_string(f.shape) << " " << name_of(dtype) << (in_place ? " in place" : ""));
  twins.require_close({wanted.cpu, to.cuda}, sum_tolerance(to_dtype, 3));
}

}  // namespace

TEST_CASE("conv2d_finish") {
  const std::vector<Finish> cases = {
      {{0, 3, 3, 8}, true, true, false},  {{1, 1, 1, 1}, true, false, false},
      {{3, 5, 7, 33}, true, true, false}, {{2, 31, 33, 24}, true, true, false},
      {{2, 9, 9, 16}, true, false, true}, {{5, 3, 3, 7}, false, false, true},
      {{4, 3, 3, 64}, false, true, false}};
  for (const Finish& f : cases) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      check_finish(f, dtype, false, dtype);
      if (!f.accumulate) check_finish(f, dtype, true, dtype);
    }
    check_finish(f, DType::kBF16, false, DType::kF32);
  }
}

TEST_CASE("conv2d_finish: ReLU keeps a NaN") {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const int64_t channels : {8, 3}) {  // by packs, and one by one
      Twins twins;
      const Shape shape{2, 3, 3, channels};
      const Twin nan = twins.of(shape, dtype, std::vector<double>(shape.elems(), std::nan("")));
      const Twin to = twins.fresh(shape, dtype);
      twins.run([&](const auto& ex, auto at) {
        if constexpr (std::is_same_v<decltype(ex), const CudaExec&>) {
          conv2d_finish(ex, at(nan), {}, true, at(to), false);
        }
      });
      for (const double value : read(to.cuda)) CHECK(std::isnan(value));
    }
  }
}
