// Small models with all their parts, in f64 unless told otherwise, and inputs for them.
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "engine/util/thread_pool.h"
#include "models/bigbigan/bigbigan.h"
#include "tests/harness/op_case.h"
#include "tests/harness/values.h"

namespace bigbigan {

// 32x32, a few channels each, the basic encoder, no attention.
inline ModelConfig small_config() {
  ModelConfig c;
  c.resolution = 32;
  c.image_channels = 2;
  c.z_dim = 8;
  c.embed_dim = 3;
  c.g_channels = {6, 5, 4, 3};
  c.d_channels = {3, 4, 5, 6};
  c.mlp_width = 7;
  c.mlp_blocks = 2;
  c.encoder = "basic";
  c.encoder_channels = {3, 5};
  c.encoder_head_width = 6;
  return c;
}

// With attention in G and D.
inline ModelConfig attention_config() {
  ModelConfig c = small_config();
  c.g_channels = {8, 8, 8, 3};
  c.d_channels = {8, 8, 5, 6};
  c.g_attention = c.d_attention = 16;
  return c;
}

// Numbers around 0 with deviation `scale`.
inline std::vector<double> noise(uint64_t seed, int64_t elems, double scale) {
  std::mt19937_64 random(seed);
  std::vector<double> values(elems);
  for (double& v : values) v = scale * standard_normal(random);
  return values;
}

struct SmallModel {
  explicit SmallModel(const ModelConfig& config, DType dtype = DType::kF64, int threads = 1,
                      Communicator* comm = nullptr, const StoreDivision& division = {})
      : pool(threads),
        ctx{.exec = CpuExec{&pool}, .allocator = &allocator, .dtype = dtype},
        model(config) {
    Context shared = ctx;
    shared.comm = comm;
    model.allocate(shared, true, division);
    model.initialize(5);
    // Zeros among the initial values (biases, the attention's gamma) would hide gradients.
    uint64_t seed = 77;
    for (ParamStore* store : model.stores()) {
      const std::vector<double> changes = noise(seed++, store->value.elems(), 0.2);
      auto change = changes.begin();
      for (const auto& entry : store->entries()) {  // wherever it lies
        const Tensor value = store->of(store->value, entry);
        std::vector<double> values = read(value);
        for (size_t i = 0; i < values.size(); ++i) values[i] += change[i];
        write(value, values);
        change += (value.elems() + 15) / 16 * 16;
      }
      store->pack();
    }
  }

  // Samples [first, first + n) of an endless batch.
  StepInputs inputs(int64_t first, int64_t n, int64_t global_batch) {
    const int64_t r = model.arch.encoder_resolution;
    const auto rows = [&](uint64_t seed, const Shape& one, double scale) {
      std::vector<double> values;
      for (int64_t i = first; i < first + n; ++i) {
        const std::vector<double> row =
            noise(1000 * seed + static_cast<uint64_t>(i), one.elems(), scale);
        values.insert(values.end(), row.begin(), row.end());
      }
      return tensor_of(ctx, one.with_dim0(n), ctx.dtype, values);
    };
    const Shape latent{1, model.config.z_dim};
    return {.x = rows(1, {1, r, r, model.config.image_channels}, 0.5),
            .z = rows(2, latent, 1),
            .eps = rows(3, latent, 1),
            .global_batch = global_batch};
  }

  ThreadPool pool;
  HostAllocator allocator;
  Context ctx;
  BigBiGAN model;
};

inline double norm(const std::vector<double>& a) {
  double squares = 0;
  for (const double v : a) squares += v * v;
  return std::sqrt(squares);
}

// |a - b| / |b| in the Euclidean norm; 0 where both are zero.
inline double relative_distance(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> difference(b.size());
  for (size_t i = 0; i < b.size(); ++i) difference[i] = a[i] - b[i];
  const double distance = norm(difference);
  return distance == 0 ? 0 : distance / norm(b);
}

// Empty, or the tensors of two stores whose parts of a flat array (ParamStore::grad, value, ...)
// differ by more than `limit` times their norm. A tensor whose gradients are below `nothing` times
// the whole store's in both has none but rounding: a bias that a batch norm takes out again. Such
// tensors are left out.
inline std::string differences(ParamStore& a, ParamStore& b, Tensor ParamStore::*flat, double limit,
                               double nothing) {
  std::string text;
  const double none = nothing * norm(read(b.grad));
  for (size_t i = 0; i < b.entries().size(); ++i) {
    const auto &ea = a.entries()[i], &eb = b.entries()[i];
    check(ea.name == eb.name, "{} is called {} in the other store", eb.name, ea.name);
    if (norm(read(a.of(a.grad, ea))) <= none && norm(read(b.of(b.grad, eb))) <= none) continue;
    const std::vector<double> found = read(a.of(a.*flat, ea)), expected = read(b.of(b.*flat, eb));
    const double distance = relative_distance(found, expected);
    if (!(distance <= limit)) {
      text += fmt::format("{}: {:.3g} of a norm of {:.3g}\n", eb.name, distance, norm(expected));
    }
  }
  return text;
}

}  // namespace bigbigan
