#include "kernels/random/philox.h"

#include <Random123/philox.h>

#include <cmath>
#include <numbers>

#include "kernels/common/dispatch.h"

namespace bigbigan {
namespace {

// (0, 1]: never 0, so that its logarithm is finite. 24 bits fill an f32 exactly.
float unit_interval(uint32_t word) { return (float(word >> 8) + 1.0f) * 0x1p-24f; }

// Fills rows of `out` with transform(words) -> 4 numbers.
template <class Transform>
void fill(const char* op, const CpuExec& ex, const RandomArgs& args, View out,
          const Transform& transform) {
  if (out.elems() == 0) return;
  const int64_t rows = out.shape[0], width = out.elems() / rows;
  const auto first = static_cast<uint64_t>(*args.first_sample.as<int64_t>());
  dispatch_float(op, out.dtype, [&]<class T>(TypeTag<T>) {
    ex.for_range(rows, std::max<int64_t>(1, 2048 / width), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        T* row = out.as<T>() + r * width;
        for (int64_t j = 0; j < width; j += 4) {
          float numbers[4];
          transform(philox(args.seed, args.stream, first + r, static_cast<uint32_t>(j / 4)),
                    numbers);
          for (int64_t k = 0; k < std::min<int64_t>(4, width - j); ++k) row[j + k] = T(numbers[k]);
        }
      }
    });
  });
}

}  // namespace

PhiloxWords philox(uint64_t seed, RandomStream stream, uint64_t sample, uint32_t block) {
  const r123::Philox4x32::ctr_type counter = {{block, static_cast<uint32_t>(sample),
                                               static_cast<uint32_t>(sample >> 32),
                                               static_cast<uint32_t>(stream)}};
  const r123::Philox4x32::key_type key = {
      {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)}};
  const auto words = r123::Philox4x32()(counter, key);
  return {{words[0], words[1], words[2], words[3]}};
}

void random_uniform(const CpuExec& ex, const RandomArgs& args, View out) {
  const Observed observed(ex, moved({out}));
  if (ex.plan_only) return;
  fill("random_uniform", ex, args, out, [](const PhiloxWords& words, float* numbers) {
    for (int i = 0; i < 4; ++i) numbers[i] = float(words.word[i] >> 8) * 0x1p-23f - 1.0f;
  });
}

void random_normal(const CpuExec& ex, const RandomArgs& args, View out) {
  const Observed observed(ex, moved({out}));
  if (ex.plan_only) return;
  fill("random_normal", ex, args, out, [](const PhiloxWords& words, float* numbers) {
    for (int i = 0; i < 4; i += 2) {
      const float radius = std::sqrt(-2.0f * std::log(unit_interval(words.word[i])));
      const float angle = 2.0f * std::numbers::pi_v<float> * unit_interval(words.word[i + 1]);
      numbers[i] = radius * std::cos(angle);
      numbers[i + 1] = radius * std::sin(angle);
    }
  });
}

void reparametrize_forward(const CpuExec& ex, ConstView stats, ConstView eps, View z) {
  const Observed observed(ex, moved({stats, eps, z}));
  if (ex.plan_only) return;
  const int64_t n = eps.shape[0], width = eps.shape[1];
  check_shape("reparametrize", "stats", stats.shape, {n, 2 * width});
  check_shape("reparametrize", "z", z.shape, {n, width});
  dispatch_float("reparametrize", stats.dtype, [&]<class T>(TypeTag<T>) {
    using A = Accum<T>;
    for (int64_t i = 0; i < n * width; ++i) {
      const T* row = stats.as<T>() + i / width * 2 * width + i % width;
      const A raw = A(row[width]);
      const A deviation = std::max(raw, A(0)) + std::log1p(std::exp(-std::abs(raw)));
      z.as<T>()[i] = T(A(row[0]) + A(eps.as<T>()[i]) * deviation);
    }
  });
}

void reparametrize_backward(const CpuExec& ex, ConstView stats, ConstView eps, ConstView d_z,
                            View d_stats, bool accumulate) {
  const Observed observed(ex, moved({stats, eps, d_z, d_stats, accumulate ? d_stats : View()}));
  if (ex.plan_only) return;
  const int64_t n = eps.shape[0], width = eps.shape[1];
  check_shape("reparametrize", "d_z", d_z.shape, {n, width});
  check_shape("reparametrize", "d_stats", d_stats.shape, stats.shape);
  dispatch_float("reparametrize", stats.dtype, [&]<class T>(TypeTag<T>) {
    using A = Accum<T>;
    for (int64_t i = 0; i < n * width; ++i) {
      const int64_t at = i / width * 2 * width + i % width;
      const A g = A(d_z.as<T>()[i]);
      const A d_raw = g * A(eps.as<T>()[i]) / (1 + std::exp(-A(stats.as<T>()[at + width])));
      T* out = d_stats.as<T>() + at;
      out[0] = T(accumulate ? A(out[0]) + g : g);
      out[width] = T(accumulate ? A(out[width]) + d_raw : d_raw);
    }
  });
}

}  // namespace bigbigan
