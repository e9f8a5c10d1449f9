#include <fmt/format.h>

#include "kernels/bench/kernel_cases.h"
#include "kernels/norm/batch_norm.h"
#include "tests/harness/op_case.h"

namespace bigbigan {
namespace {

constexpr double kEps = 1e-4;

// Conditional batch norm and ReLU of x, with the statistics of x.
struct Norm {
  Tensor x, gain, bias, statistics, moments;
  bool upsample;

  Norm(KernelSetup& s, const Shape& shape, bool upsampled)
      : x(s.normal(shape)),
        gain(s.normal({shape[0], shape[-1]}, 0.5, 1)),
        bias(s.normal({shape[0], shape[-1]}, 0.5)),
        statistics(s.fresh({2, shape[-1]}, DType::kF64)),
        moments(s.fresh({1 + 2 * shape[-1]}, DType::kF64)),
        upsample(upsampled) {
    const Tensor scratch = s.fresh({batch_moments_scratch_elems(shape)}, DType::kF64);
    s.ctx.run([&](const auto& ex) {
      batch_statistics(ex, x, {.eps = kEps, .moments = moments, .statistics = statistics}, scratch);
    });
  }

  [[nodiscard]] BatchNormArgs args() const {
    return {.x = x,
            .statistics = statistics,
            .gain = gain,
            .bias = bias,
            .relu = true,
            .upsample = upsample};
  }
  [[nodiscard]] Shape y() const {
    const Shape& s = x.shape();
    return upsample ? Shape{s[0], 2 * s[1], 2 * s[2], s[3]} : s;
  }
};

std::string named(const char* launcher, const Shape& x, bool upsample) {
  return fmt::format("{}/x:{}{}", launcher, dims(x), upsample ? "/upsample:1" : "");
}

KernelCase statistics_case(const Shape& x) {
  return {.name = named("batch_statistics", x, false),
          .prepare =
              [=](KernelSetup& s) {
                const Tensor from = s.normal(x);
                const Tensor moments = s.fresh({1 + 2 * x[-1]}, DType::kF64);
                const Tensor statistics = s.fresh({2, x[-1]}, DType::kF64);
                const Tensor scratch = s.fresh({batch_moments_scratch_elems(x)}, DType::kF64);
                return PreparedKernel{
                    s.launch([=](const auto& ex) {
                      batch_statistics(ex, from,
                                       {.eps = kEps, .moments = moments, .statistics = statistics},
                                       scratch);
                    }),
                    {from, statistics},
                    {moments, statistics}};
              },
          .length = x.elems() / x[-1]};
}

KernelCase apply_case(const Shape& x, bool upsample) {
  return {.name = named("batch_norm_apply", x, upsample), .prepare = [=](KernelSetup& s) {
            const Norm norm(s, x, upsample);
            const Tensor y = s.fresh(norm.y());
            return PreparedKernel{
                s.launch([=](const auto& ex) { batch_norm_apply(ex, norm.args(), y); }),
                {norm.x, norm.gain, norm.bias, y},
                {y}};
          }};
}

KernelCase sums_case(const Shape& x, bool upsample) {
  return {.name = named("batch_norm_backward_sums", x, upsample),
          .prepare =
              [=](KernelSetup& s) {
                const Norm norm(s, x, upsample);
                const Tensor d_y = s.normal(norm.y());
                const Tensor sums = s.fresh({x[0], 2, x[-1]}, DType::kF64);
                return PreparedKernel{s.launch([=](const auto& ex) {
                                        batch_norm_backward_sums(ex, norm.args(), d_y, sums);
                                      }),
                                      {norm.x, norm.gain, norm.bias, d_y, sums},
                                      {sums}};
              },
          .length = 4 * x[1] * x[2]};
}

KernelCase backward_case(const Shape& x, bool upsample) {
  return {.name = named("batch_norm_backward_x", x, upsample),
          .prepare =
              [=](KernelSetup& s) {
                const Norm norm(s, x, upsample);
                const Tensor d_y = s.normal(norm.y()), d_x = s.fresh(x);
                const Tensor sums = s.fresh({x[0], 2, x[-1]}, DType::kF64);
                const Tensor totals = s.fresh({2, x[-1]}, DType::kF64);
                s.ctx.run([&](const auto& ex) {
                  batch_norm_backward_sums(ex, norm.args(), d_y, sums);
                  batch_norm_backward_totals(ex, norm.args(), sums, totals, {}, {});
                });
                return PreparedKernel{s.launch([=](const auto& ex) {
                                        batch_norm_backward_x(ex, norm.args(), d_y, totals,
                                                              norm.moments, d_x, false);
                                      }),
                                      {norm.x, norm.gain, norm.bias, d_y, d_x},
                                      {d_x}};
              },
          .length = 4 * x.elems() / x[-1]};
}

}  // namespace

std::vector<KernelCase> norm_kernels(const KernelSizes& z) {
  const Shape x{z.batch, z.resolution, z.resolution, z.channels};
  const Shape small{z.batch, z.resolution / 2, z.resolution / 2, z.channels};
  std::vector<KernelCase> list = {statistics_case(x)};
  for (const bool upsample : {false, true}) {
    const Shape& shape = upsample ? small : x;
    list.push_back(apply_case(shape, upsample));
    list.push_back(sums_case(shape, upsample));
    list.push_back(backward_case(shape, upsample));
  }
  return list;
}

}  // namespace bigbigan
