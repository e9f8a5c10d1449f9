// Random numbers and the reparametrisation on CUDA against the CPU.
#include <algorithm>
#include <catch2/catch.hpp>
#include <vector>

#include "kernels/random/philox.h"
#include "tests/cuda/twins.h"

using namespace bigbigan;

namespace {

// Empty, one element, tails of Philox's blocks of four, several blocks of threads.
const std::vector<Shape> kShapes = {{0, 4},  {4, 0},   {1, 1},    {3, 3},
                                    {31, 4}, {33, 31}, {2, 3, 5}, {129, 120}};
// Samples whose numbers fill more than 32 bits, and cross that limit.
const std::vector<int64_t> kFirst = {0, (1LL << 32) - 2, (1LL << 40) + 12345};

}  // namespace

TEST_CASE("random numbers") {
  const DType dtype = GENERATE(DType::kF32, DType::kBF16);
  for (const RandomStream stream : {RandomStream::kLatent, RandomStream::kInitial}) {
    for (const int64_t first : kFirst) {
      for (const Shape& shape : kShapes) {
        Twins twins;
        const Twin sample = twins.of_integers({1}, std::vector<int64_t>{first});
        const Twin uniform = twins.fresh(shape, dtype);
        const Twin normal = twins.fresh(shape, dtype);
        twins.run([&](const auto& ex, auto at) {
          const RandomArgs args{
              .seed = 0x0123456789abcdef, .stream = stream, .first_sample = at(sample)};
          random_uniform(ex, args, at(uniform));
          random_normal(ex, args, at(normal));
        });
        INFO(to_string(shape) << " from sample " << first);
        twins.require_equal(uniform);  // 24 bits of each word
        // The angle: 2 pi u rounded on the CPU, exact on CUDA. A small number is the sine or cosine
        // of it times a radius of order 1.
        const double radius = std::max(1.0, twins.largest(normal));
        twins.require_within(normal, sum_tolerance(dtype) * radius);
      }
    }
  }
}

TEST_CASE("reparametrisation") {
  const DType dtype = GENERATE(DType::kF32, DType::kBF16);
  constexpr double kFunctionError = 4;  // ulps of CUDA's expf and log1pf together
  for (const Shape& shape :
       std::vector<Shape>{{0, 4}, {4, 0}, {1, 1}, {3, 3}, {31, 4}, {33, 31}, {129, 120}}) {
    for (const bool accumulate : {false, true}) {
      Twins twins;
      const Shape both = {shape[0], 2 * shape[1]};
      const Twin stats = twins.normal(both, dtype, 3.0), eps = twins.normal(shape, dtype);
      const Twin z = twins.fresh(shape, dtype), d_z = twins.normal(shape, dtype);
      const Twin d_stats = accumulate ? twins.normal(both, dtype) : twins.fresh(both, dtype);
      twins.run([&](const auto& ex, auto at) {
        reparametrize_forward(ex, at(stats), at(eps), at(z));
        reparametrize_backward(ex, at(stats), at(eps), at(d_z), at(d_stats), accumulate);
      });
      INFO(to_string(shape) << (accumulate ? ", accumulated" : ""));
      for (const Twin& t : {z, d_stats}) {
        twins.require_close(t, kFunctionError * sum_tolerance(dtype));
      }
    }
  }
}
