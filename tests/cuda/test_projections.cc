// The joint projections of the non-local block on CUDA against the CPU: copies and choices, whose
// bits are the same.
#include <catch2/catch.hpp>
#include <cmath>
#include <string>
#include <vector>

#include "kernels/attention/projections.h"
#include "tests/cuda/twins.h"

using namespace bigbigan;

namespace {

struct Sizes {
  int64_t n, h, w, depth, width;
};

// Empty; without a window; rows and columns that no window has; channels of single elements, of
// halves of packs (12 and 48: the discriminator's), and of packs.
const std::vector<Sizes> kSizes = {{0, 4, 4, 2, 8},   {1, 1, 1, 1, 4},  {2, 5, 7, 3, 5},
                                   {2, 4, 6, 12, 48}, {3, 7, 2, 4, 16}, {2, 6, 5, 24, 96}};

// The output and its saved tensors of split_projections.
struct Split {
  Twin query, key, value, argmax;

  Split(Twins& twins, const Sizes& s, DType dtype) {
    const int64_t p = s.h / 2, q = s.w / 2;
    query = twins.fresh({s.n, s.h * s.w, s.depth}, dtype);
    key = twins.fresh({s.n, p * q, s.depth}, dtype);
    value = twins.fresh({s.n, p * q, s.width}, dtype);
    argmax = twins.fresh({s.n, p, q, s.depth + s.width}, DType::kU8);
  }
  void run(const Twins& twins, const Twin& joint) const {
    twins.run([&](const auto& ex, auto at) {
      split_projections(ex, at(joint), at(query), at(key), at(value), at(argmax));
    });
    for (const Twin& t : {query, key, value, argmax}) twins.require_equal(t);
  }
};

}  // namespace

TEST_CASE("split projections") {
  const DType dtype = GENERATE(DType::kF32, DType::kBF16);
  const bool accumulate = GENERATE(false, true);
  for (const Sizes& s : kSizes) {
    Twins twins;
    const Shape shape{s.n, s.h, s.w, 2 * s.depth + s.width};
    INFO(to_string(shape) << (accumulate ? ", accumulated" : ""));
    const Split split(twins, s, dtype);
    split.run(twins, twins.normal(shape, dtype));
    const Twin d_query = twins.normal(split.query.cpu.shape(), dtype);
    const Twin d_key = twins.normal(split.key.cpu.shape(), dtype);
    const Twin d_value = twins.normal(split.value.cpu.shape(), dtype);
    const Twin d_joint = accumulate ? twins.normal(shape, dtype) : twins.fresh(shape, dtype);
    twins.run([&](const auto& ex, auto at) {
      split_projections_backward(ex, {.argmax = at(split.argmax),
                                      .d_query = at(d_query),
                                      .d_key = at(d_key),
                                      .d_value = at(d_value),
                                      .d_joint = at(d_joint),
                                      .accumulate = accumulate});
    });
    twins.require_equal(d_joint);
  }
}

TEST_CASE("split projections: the first among equals, a NaN before all") {
  Twins twins;
  const double nan = std::nan("");
  // One image of 2x4 pixels; theta, phi and g of each: ties, and a NaN among larger ones.
  const Twin joint = twins.of({1, 2, 4, 3}, DType::kF32,
                              std::vector<double>{1, 3, 1, 2, 3, 1, 3, nan, 5, 4, 9, 5,  //
                                                  5, 3, 1, 6, 1, 1, 7, 2,   6, 8, 8, 6});
  const Split split(twins, {1, 2, 4, 1, 1}, DType::kF32);
  split.run(twins, joint);
  REQUIRE(read(split.query.cuda) == std::vector<double>{1, 2, 3, 4, 5, 6, 7, 8});
  REQUIRE(read(split.key.cuda)[0] == 3);
  REQUIRE(std::isnan(read(split.key.cuda)[1]));
  REQUIRE(read(split.value.cuda) == std::vector<double>{1, 6});
  // The winners, by who gets the gradient.
  const Twin d_query = twins.of({1, 8, 1}, DType::kF32, std::vector<double>(8));
  const Twin d_key = twins.of({1, 2, 1}, DType::kF32, std::vector<double>{1, 2});
  const Twin d_value = twins.of({1, 2, 1}, DType::kF32, std::vector<double>{3, 4});
  const Twin d_joint = twins.fresh({1, 2, 4, 3}, DType::kF32);
  twins.run([&](const auto& ex, auto at) {
    split_projections_backward(
        ex, {at(split.argmax), at(d_query), at(d_key), at(d_value), at(d_joint)});
  });
  REQUIRE(read(d_joint.cuda) == std::vector<double>{0, 1, 3, 0, 0, 0, 0, 2, 0, 0, 0, 0,  //
                                                    0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0});
}

TEST_CASE("join weights") {
  const DType dtype = GENERATE(DType::kF32, DType::kBF16);
  for (const int64_t c : {1, 8, 33, 96}) {
    INFO(c << " channels");
    Twins twins;
    const std::vector<int64_t> rows = {2, 3, 12};
    std::vector<Twin> weights, d_weights;
    for (const int64_t k : rows) {
      weights.push_back(twins.normal({k, 1, 1, c}, dtype));
      d_weights.push_back(k == 3 ? twins.normal({k, 1, 1, c}, DType::kF32)
                                 : twins.fresh({k, 1, 1, c}, DType::kF32));
    }
    const Twin joint = twins.fresh({17, 1, 1, c}, dtype);
    const Twin d_joint = twins.normal({17, 1, 1, c}, DType::kF32);
    twins.run([&](const auto& ex, auto at) {
      join_weights(ex, {at(weights[0]), at(weights[1]), at(weights[2])}, at(joint));
      const View left_out{.data = nullptr, .shape = {2, 1, 1, c}};
      join_weights_backward(ex, {.d_joint = at(d_joint),
                                 .d_weights = {left_out, at(d_weights[1]), at(d_weights[2])},
                                 .accumulate = {false, true, false}});
    });
    for (const Twin& t : {joint, d_weights[1], d_weights[2]}) twins.require_equal(t);
  }
}
