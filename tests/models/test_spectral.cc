// Spectral norm in whole models: unit vectors, who moves them, and sigma against a singular value
// decomposition.
#include <Eigen/SVD>
#include <catch2/catch.hpp>

#include "engine/ops/norm.h"
#include "models/bigbigan/inference.h"
#include "tests/models/small_model.h"

using namespace bigbigan;

namespace {

// The directions u of a store, by entry.
std::vector<std::vector<double>> directions(ParamStore& store, bool averaged) {
  std::vector<std::vector<double>> all;
  for (const auto& e : store.buffer_entries()) {
    if (e.kind == BufferKind::kDirection) all.push_back(read(store.of(e, averaged)));
  }
  return all;
}

Eigen::MatrixXd matrix_of(const std::vector<double>& values, int64_t rows) {
  const int64_t columns = static_cast<int64_t>(values.size()) / rows;
  using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  return Eigen::Map<const RowMajor>(values.data(), rows, columns);
}

void train_a_little(SmallModel& m) {
  for (int i = 0; i < 3; ++i) {
    m.model.discriminator_gradients(m.ctx, m.inputs(i, 2, 2));
    m.model.encoder_generator_gradients(m.ctx, m.inputs(i, 2, 2));
  }
}

}  // namespace

TEST_CASE("spectral norm: u has length 1, live and averaged, which are one") {
  for (const DType dtype : {DType::kF64, DType::kF32}) {
    SmallModel m(attention_config(), dtype);
    train_a_little(m);
    for (ParamStore* store : {&m.model.g_store, &m.model.d_store}) {
      const auto live = directions(*store, false);
      CHECK(!live.empty());
      CHECK(directions(*store, true) == live);
      for (const auto& u : live) CHECK(std::abs(norm(u) - 1) <= 1e-6);
    }
    CHECK(directions(m.model.e_store, false).empty());  // E is not normalised
  }
}

TEST_CASE("spectral norm: u moves once per training sub-step and never in inference") {
  SmallModel m(attention_config());
  train_a_little(m);
  const auto before = directions(m.model.g_store, false);
  for (const BnMode mode : {BnMode::kStored, BnMode::kBatch}) {
    const Context ctx = inference_context(m.ctx, mode);
    const StepInputs in = m.inputs(0, 2, 2);
    generate(m.model, ctx, in.z);
    reconstruct(m.model, ctx, in.x);
    const UseAverages averages(m.model);
    generate(m.model, ctx, in.z);
  }
  CHECK(directions(m.model.g_store, false) == before);
  // One sub-step moves u by exactly one iteration.
  SmallModel other(attention_config());
  train_a_little(other);
  m.model.discriminator_gradients(m.ctx, m.inputs(0, 2, 2));
  Context iterate = other.ctx;
  iterate.power_iteration = true;
  static_cast<void>(other.model.generator.prepare(iterate));
  CHECK(directions(m.model.g_store, false) != before);
  CHECK(directions(m.model.g_store, false) == directions(other.model.g_store, false));
}

TEST_CASE("spectral norm: sigma is the largest singular value after 30 iterations") {
  HostAllocator allocator;
  Context ctx{.exec = CpuExec{}, .allocator = &allocator};
  for (const DType dtype : {DType::kF64, DType::kF32}) {
    ctx.dtype = dtype;
    for (const Shape& shape :
         std::vector<Shape>{{1, 7}, {9, 1}, {31, 33}, {64, 3, 3, 16}, {8, 1, 1, 40}}) {
      const int64_t rows = shape[0];
      const std::vector<double> values = noise(rows, shape.elems(), 0.3);
      const Tensor w = tensor_of(ctx, shape, dtype, values);
      std::vector<double> start = noise(17, rows, 1);
      const double length = norm(start);
      for (double& v : start) v /= length;
      const Tensor u = tensor_of(ctx, {rows}, dtype, start);
      Tensor y;
      for (const bool iterate :
           {true, false}) {  // sigma = v W^T u^T, and then |u W| of the stored u
        ctx.power_iteration = iterate;
        for (int i = 0; i < (iterate ? 30 : 1); ++i) {
          y = spectral_norm(ctx, std::vector<SpectralWeight>{{.w = w, .u = u, .dtype = dtype}},
                            1e-12)[0];
        }
        const double sigma = norm(values) / norm(read(y));
        const Eigen::JacobiSVD<Eigen::MatrixXd> svd(matrix_of(values, rows));
        INFO(to_string(shape) << ", sigma " << sigma);
        CHECK(sigma == Approx(svd.singularValues()(0)).epsilon(0.01));
        CHECK(sigma <= svd.singularValues()(0) * (1 + 1e-5));  // from below
      }
    }
  }
}
