#include <fmt/format.h>

#include "kernels/bench/kernel_cases.h"
#include "kernels/elementwise/binary.h"
#include "kernels/elementwise/unary.h"
#include "kernels/image/normalize.h"
#include "kernels/loss/adversarial.h"
#include "kernels/random/philox.h"
#include "kernels/reduce/column_sum.h"
#include "kernels/spatial/global_pool.h"
#include "kernels/spatial/max_pool.h"
#include "kernels/spatial/relu_pool.h"
#include "kernels/spatial/resample.h"
#include "tests/harness/op_case.h"

namespace bigbigan {
namespace {

std::string named(const char* launcher, const Shape& x) {
  return fmt::format("{}/x:{}", launcher, dims(x));
}

// y = f(x): two shapes and a launcher.
template <class Launch>
KernelCase map_case(const char* name, const Shape& x, const Shape& y, const Launch& launch) {
  return {.name = named(name, x), .prepare = [=](KernelSetup& s) {
            const Tensor from = s.normal(x), to = s.fresh(y);
            return PreparedKernel{
                s.launch([=](const auto& ex) { launch(ex, from, to); }), {from, to}, {to}};
          }};
}

// y = f(a, b)
template <class Launch>
KernelCase combine_case(const char* name, const Shape& a, const Shape& b, const Launch& launch) {
  return {.name = named(name, a), .prepare = [=](KernelSetup& s) {
            const Tensor left = s.normal(a), right = s.normal(b), to = s.fresh(a);
            return PreparedKernel{s.launch([=](const auto& ex) { launch(ex, left, right, to); }),
                                  {left, right, to},
                                  {to}};
          }};
}

KernelCase max_pool_case(const Shape& x) {
  return {.name = named("max_pool_forward", x), .prepare = [=](KernelSetup& s) {
            const Tensor from = s.normal(x), to = s.fresh(max_pool_shape(x, {}));
            const Tensor argmax = s.fresh(to.shape(), DType::kU8);
            return PreparedKernel{
                s.launch([=](const auto& ex) { max_pool_forward(ex, {}, from, to, argmax); }),
                {from, to, argmax},
                {to}};
          }};
}

KernelCase relu_pool_case(const Shape& x, const Shape& pooled) {
  return {.name = named("relu_pool_forward", x), .prepare = [=](KernelSetup& s) {
            const Tensor from = s.normal(x), y = s.fresh(x), mean = s.fresh(pooled);
            return PreparedKernel{
                s.launch([=](const auto& ex) { relu_pool_forward(ex, from, y, mean); }),
                {from, y, mean},
                {y, mean}};
          }};
}

KernelCase relu_pool_backward_case(const Shape& x, const Shape& pooled) {
  return {.name = named("relu_pool_backward", x), .prepare = [=](KernelSetup& s) {
            const Tensor y = s.normal(x), d_y = s.normal(x), d_mean = s.normal(pooled);
            const Tensor d_x = s.fresh(x);
            return PreparedKernel{s.launch([=](const auto& ex) {
                                    relu_pool_backward(ex, y, d_y, d_mean, d_x, false);
                                  }),
                                  {y, d_y, d_mean, d_x},
                                  {d_x}};
          }};
}

KernelCase max_pool_backward_case(const Shape& x) {
  return {.name = named("max_pool_backward", x), .prepare = [=](KernelSetup& s) {
            const Tensor from = s.normal(x), to = s.fresh(max_pool_shape(x, {}));
            const Tensor argmax = s.fresh(to.shape(), DType::kU8);
            s.ctx.run([&](const auto& ex) { max_pool_forward(ex, {}, from, to, argmax); });
            const Tensor d_y = s.normal(to.shape()), d_x = s.fresh(x);
            return PreparedKernel{s.launch([=](const auto& ex) {
                                    max_pool_backward(ex, {}, argmax, d_y, d_x, false);
                                  }),
                                  {argmax, d_y, d_x},
                                  {d_x}};
          }};
}

KernelCase column_sum_case(const Shape& x) {
  return {.name = named("column_sum", x),
          .prepare =
              [=](KernelSetup& s) {
                const Tensor from = s.normal(x), to = s.fresh({x[-1]});
                const Tensor scratch = s.fresh({column_sum_scratch_elems(x)}, DType::kF64);
                return PreparedKernel{
                    s.launch([=](const auto& ex) { column_sum(ex, from, {to}, {}, scratch); }),
                    {from, to},
                    {to}};
              },
          .length = x.elems() / x[-1]};
}

KernelCase relu_backward_sums_case(const Shape& x) {
  return {.name = named("relu_backward_sums", x),
          .prepare =
              [=](KernelSetup& s) {
                const Tensor y = s.normal(x), d_y = s.normal(x), d = s.fresh(x);
                const Tensor sums = s.fresh({x[-1]}, s.single());
                const Tensor scratch = s.fresh({column_sum_scratch_elems(x)}, DType::kF64);
                return PreparedKernel{s.launch([=](const auto& ex) {
                                        relu_backward_sums(ex, y, d_y, d, sums, false, scratch);
                                      }),
                                      {y, d_y, d, sums},
                                      {d, sums}};
              },
          .length = x.elems() / x[-1]};
}

KernelCase normalize_case(const Shape& x) {
  return {.name = named("normalize_image", x),
          .prepare =
              [=](KernelSetup& s) {
                std::vector<uint8_t> bytes(x.elems());
                for (size_t i = 0; i < bytes.size(); ++i) {
                  bytes[i] = static_cast<uint8_t>((i * 2654435761U) >> 16);
                }
                const Tensor pixels = Tensor::from_host(s.ctx, x, DType::kU8, bytes.data());
                const Tensor to = s.fresh(x, s.single());
                return PreparedKernel{
                    s.launch([=](const auto& ex) { normalize_image(ex, pixels, {}, to); }),
                    {pixels, to},
                    {to}};
              },
          .takes_bf16 = false};
}

KernelCase random_normal_case(const Shape& y) {
  return {.name = fmt::format("random_normal/y:{}", dims(y)),
          .prepare =
              [=](KernelSetup& s) {
                const Tensor first = Tensor::zeros(s.ctx, {1}, DType::kI64);
                const Tensor to = s.fresh(y);
                return PreparedKernel{s.launch([=](const auto& ex) {
                                        random_normal(ex, {1, RandomStream::kLatent, first}, to);
                                      }),
                                      {to},
                                      {to}};
              },
          .takes_bf16 = false};
}

KernelCase reparametrize_case(int64_t rows, int64_t width) {
  return {.name = fmt::format("reparametrize_forward/z:{}x{}", rows, width),
          .prepare =
              [=](KernelSetup& s) {
                const Tensor stats = s.normal({rows, 2 * width}), eps = s.normal({rows, width});
                const Tensor z = s.fresh({rows, width});
                return PreparedKernel{
                    s.launch([=](const auto& ex) { reparametrize_forward(ex, stats, eps, z); }),
                    {stats, eps, z},
                    {z}};
              },
          .takes_bf16 = false};
}

KernelCase hinge_case(int64_t rows) {
  return {.name = fmt::format("adversarial_forward/scores:{}x{}", kScoreCount, rows),
          .prepare =
              [=](KernelSetup& s) {
                PreparedKernel k;
                AdversarialArgs args{.batch = static_cast<double>(rows)};
                for (ConstView& score : args.scores) {
                  k.moved.push_back(s.normal({rows}));
                  score = k.moved.back();
                }
                const Tensor terms = s.fresh({kLossTermCount});
                k.launch = s.launch([args, kept = k.moved, terms](const auto& ex) {
                  adversarial_forward(ex, args, terms);
                });
                k.moved.push_back(terms);
                k.results = {terms};
                return k;
              },
          .takes_bf16 = false,
          .length = rows};
}

std::vector<KernelCase> memory_cases(const KernelSizes& z) {
  const int64_t n = z.batch, r = z.resolution, c = z.channels, half = r / 2;
  const Shape x{n, r, r, c}, small{n, half, half, c};
  std::vector<KernelCase> list = {
      map_case("relu_forward", x, x,
               [](const auto& ex, View a, View y) { relu_forward(ex, a, y); }),
      combine_case(
          "relu_backward", x, x,
          [](const auto& ex, View y, View g, View d) { relu_backward(ex, y, g, d, false); }),
      combine_case("add", x, x, [](const auto& ex, View a, View b, View y) { add(ex, a, b, y); }),
      combine_case("add_upsampled", x, small,
                   [](const auto& ex, View a, View b, View y) { add_upsampled(ex, a, b, y); }),
      map_case("upsample2x", small, x,
               [](const auto& ex, View a, View y) { upsample2x(ex, a, 1, y, false); }),
      map_case("pool_sum2x2", x, small,
               [](const auto& ex, View a, View y) { pool_sum2x2(ex, a, 0.25, y, false); }),
      map_case("box_downsample", {n, z.image, z.image, 3}, {n, z.image / 2, z.image / 2, 3},
               [](const auto& ex, View a, View y) { box_downsample(ex, a, 2, y); })};
  list.push_back(relu_pool_case(x, small));
  list.push_back(relu_pool_backward_case(x, small));
  list.push_back(max_pool_case({n, r, r, c / 2}));
  list.push_back(max_pool_backward_case({n, r, r, c / 2}));
  list.push_back(map_case("global_pool_forward", small, {n, c}, [](const auto& ex, View a, View y) {
    global_pool_forward(ex, a, 1, y);
  }));
  list.back().length = half * half;
  list.push_back(
      map_case("global_pool_backward", {n, c}, small,
               [](const auto& ex, View g, View d) { global_pool_backward(ex, g, 1, d, false); }));
  list.push_back(column_sum_case(x));
  list.push_back(relu_backward_sums_case(x));
  list.push_back(normalize_case({n, z.image, z.image, 3}));
  list.push_back(random_normal_case({n, 120}));
  list.push_back(random_normal_case({n, half * half * c}));
  list.push_back(reparametrize_case(n, 120));
  list.push_back(hinge_case(n));
  return list;
}

}  // namespace

KernelSizes base_sizes() {
  return {.batch = 256,
          .resolution = 64,
          .channels = 192,
          .image = 256,
          .wide = 2048,
          .queries = 4096,
          .references = 8192,
          .model = {}};
}

KernelSizes small_sizes() {
  ModelConfig small;
  small.resolution = small.z_dim = 32;
  small.g_channels = {8, 8, 8, 8};
  small.d_channels = {4, 4, 4, 4};
  small.mlp_width = 8;
  return {.batch = 2,
          .resolution = 4,
          .channels = 32,
          .image = 8,
          .wide = 16,
          .queries = 12,
          .references = 130,
          .model = small};
}

std::vector<KernelCase> kernel_cases(const KernelSizes& sizes) {
  std::vector<KernelCase> cases;
  for (const auto family : {norm_kernels, memory_cases, weight_kernels, attention_kernels,
                            product_kernels, knn_kernels}) {
    for (KernelCase& c : family(sizes)) cases.push_back(std::move(c));
  }
  return cases;
}

}  // namespace bigbigan
