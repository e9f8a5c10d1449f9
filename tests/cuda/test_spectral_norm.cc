// Spectral norm on CUDA against the CPU.
#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

#include "kernels/norm/spectral_norm.h"
#include "tests/cuda/twins.h"

using namespace bigbigan;

namespace {

// No rows, one element, tails in rows and columns, whole packs and not, several blocks of rows, of
// columns and of elements.
const std::vector<Shape> kShapes = {{0, 4},   {1, 1},       {3, 31},     {33, 4},  {31, 33},
                                    {300, 8}, {8, 3, 3, 3}, {5, 700},    {1, 129}, {257, 3, 3, 8},
                                    {65, 9},  {40, 1, 1},   {130, 2, 65}};

struct Weights {
  std::vector<Shape> shapes;
  std::vector<Twin> w, u, v, sigma, y;

  // `scale` of the elements.
  Weights(Twins& twins, const std::vector<Shape>& all, double scale) : shapes(all) {
    for (const Shape& shape : shapes) {
      const int64_t rows = shape[0], columns = rows == 0 ? 0 : shape.elems() / rows;
      w.push_back(twins.normal(shape, DType::kF32, scale));
      u.push_back(twins.normal({rows}, DType::kF32, 1 / std::sqrt(1.0 + double(rows))));
      v.push_back(twins.fresh({columns}, DType::kF32));
      sigma.push_back(twins.fresh({1}, DType::kF32));
      y.push_back(twins.fresh(shape, DType::kF32));
    }
  }

  void forward(Twins& twins, bool iterate) const {
    const auto args = [&](auto at) {
      std::vector<SpectralNormArgs> list;
      for (size_t i = 0; i < w.size(); ++i) {
        list.push_back(
            {.w = at(w[i]), .u = at(u[i]), .v = at(v[i]), .sigma = at(sigma[i]), .y = at(y[i])});
      }
      return list;
    };
    const auto at_cpu = [](const Twin& t) { return t.cpu.view(); };
    const Twin scratch = twins.fresh({spectral_norm_scratch_elems(args(at_cpu))}, DType::kF64);
    twins.run(
        [&](const auto& ex, auto at) { spectral_norm(ex, args(at), iterate, 1e-4, at(scratch)); });
  }

  // Sums over the rows, then over the columns.
  [[nodiscard]] double tolerance(size_t i) const {
    return sum_tolerance(DType::kF32, shapes[i][0]) + sum_tolerance(DType::kF32, v[i].cpu.elems());
  }

  void require_close(const Twins& twins, bool iterate) const {
    for (size_t i = 0; i < w.size(); ++i) {
      INFO("weight " << i << ", " << to_string(shapes[i]));
      if (!iterate) twins.require_equal(u[i]);
      for (const auto& list : {u, v, sigma, y}) twins.require_close(list[i], tolerance(i));
    }
  }
};

}  // namespace

TEST_CASE("spectral norm") {
  // Elements so small that eps takes the place of the norms.
  const double scale = GENERATE(1.0, 1e-7);
  for (const bool iterate : {false, true}) {
    Twins twins;
    const Weights weights(twins, kShapes, scale);
    weights.forward(twins, iterate);
    weights.require_close(twins, iterate);
    weights.forward(twins, iterate);  // from the u of the first
    weights.require_close(twins, iterate);
  }
}

TEST_CASE("spectral norm of no weight and of very many") {
  for (const int count : {0, 128, 300}) {
    Twins twins;
    std::vector<Shape> shapes(count, Shape{3, 5});
    for (int i = 0; i < count; i += 7) shapes[i] = Shape{33, 40};
    const Weights weights(twins, shapes, 1.0);
    weights.forward(twins, true);
    weights.require_close(twins, true);
  }
}
