// Attention, and what NVIDIA's libraries compute.
#include <fmt/format.h>

#include "kernels/attention/attention.h"
#include "kernels/attention/projections.h"
#include "kernels/bench/kernel_cases.h"
#include "kernels/conv/conv2d.h"
#include "kernels/linear/gemm.h"
#include "tests/harness/op_case.h"

namespace bigbigan {
namespace {

// Of a block: queries (N, HW, C/8), keys (N, HW/4, C/8), values (N, HW/4, C/2).
struct AttentionSizes {
  int64_t n, queries, keys, depth, width;

  AttentionSizes(const KernelSizes& z, int64_t channels)
      : n(z.batch),
        queries(z.resolution * z.resolution),
        keys(queries / 4),
        depth(channels / 8),
        width(channels / 2) {}
  [[nodiscard]] std::string name(const char* launcher) const {
    return fmt::format("{}/n:{}/q:{}/k:{}/d:{}/v:{}", launcher, n, queries, keys, depth, width);
  }
  // Of one product of scores, and of one of values.
  [[nodiscard]] double depth_flops() const { return 2.0 * n * queries * keys * depth; }
  [[nodiscard]] double width_flops() const { return 2.0 * n * queries * keys * width; }
};

struct Attention {
  Tensor query, key, value, y, log_sum;

  Attention(KernelSetup& s, const AttentionSizes& z)
      : query(s.normal({z.n, z.queries, z.depth}, 0.5)),
        key(s.normal({z.n, z.keys, z.depth}, 0.5)),
        value(s.normal({z.n, z.keys, z.width})),
        y(s.fresh({z.n, z.queries, z.width})),
        log_sum(s.fresh({z.n, z.queries}, s.single())) {}
};

KernelCase attention_forward_case(const AttentionSizes& z) {
  return {.name = z.name("attention_forward"),
          .prepare =
              [=](KernelSetup& s) {
                const Attention a(s, z);
                return PreparedKernel{s.launch([=](const auto& ex) {
                                        attention_forward(ex, a.query, a.key, a.value, a.y,
                                                          a.log_sum);
                                      }),
                                      {a.query, a.key, a.value, a.y, a.log_sum},
                                      {a.y}};
              },
          .flops = z.depth_flops() + z.width_flops(),
          .length = z.keys + z.depth};
}

// Scores again, then d_value, d_score, d_query and d_key.
KernelCase attention_backward_case(const AttentionSizes& z) {
  return {.name = z.name("attention_backward"),
          .prepare =
              [=](KernelSetup& s) {
                const Attention a(s, z);
                s.ctx.run([&](const auto& ex) {
                  attention_forward(ex, a.query, a.key, a.value, a.y, a.log_sum);
                });
                const Tensor d_y = s.normal(a.y.shape()), d_q = s.fresh(a.query.shape());
                const Tensor d_k = s.fresh(a.key.shape()), d_v = s.fresh(a.value.shape());
                return PreparedKernel{s.launch([=](const auto& ex) {
                                        attention_backward(ex, {a.query, a.key, a.value, a.y,
                                                                a.log_sum, d_y, d_q, d_k, d_v});
                                      }),
                                      {a.query, a.key, a.value, a.y, a.log_sum, d_y, d_q, d_k, d_v},
                                      {d_q, d_k, d_v}};
              },
          .flops = 3 * z.depth_flops() + 2 * z.width_flops(),
          .length = z.queries + z.width};
}

// The joint projections (N, H, W, 2 C/8 + C/2), and what becomes of them.
struct Split {
  Tensor joint, query, key, value, argmax;

  Split(KernelSetup& s, const Shape& x, const AttentionSizes& z)
      : joint(s.normal(x)),
        query(s.fresh({z.n, z.queries, z.depth})),
        key(s.fresh({z.n, z.keys, z.depth})),
        value(s.fresh({z.n, z.keys, z.width})),
        argmax(s.fresh({z.n, x[1] / 2, x[2] / 2, z.depth + z.width}, DType::kU8)) {}
};

std::string split_name(const char* launcher, const Shape& x, const AttentionSizes& z) {
  return fmt::format("{}/x:{}/d:{}", launcher, dims(x), z.depth);
}

KernelCase split_case(const Shape& x, const AttentionSizes& z) {
  return {.name = split_name("split_projections", x, z), .prepare = [=](KernelSetup& s) {
            const Split t(s, x, z);
            return PreparedKernel{s.launch([=](const auto& ex) {
                                    split_projections(ex, t.joint, t.query, t.key, t.value,
                                                      t.argmax);
                                  }),
                                  {t.joint, t.query, t.key, t.value, t.argmax},
                                  {t.query, t.key, t.value}};
          }};
}

KernelCase split_backward_case(const Shape& x, const AttentionSizes& z) {
  return {.name = split_name("split_projections_backward", x, z), .prepare = [=](KernelSetup& s) {
            const Split t(s, x, z);
            s.ctx.run([&](const auto& ex) {
              split_projections(ex, t.joint, t.query, t.key, t.value, t.argmax);
            });
            const Tensor d_query = s.normal(t.query.shape()), d_key = s.normal(t.key.shape());
            const Tensor d_value = s.normal(t.value.shape()), d_joint = s.fresh(x);
            return PreparedKernel{
                s.launch([=](const auto& ex) {
                  split_projections_backward(ex, {t.argmax, d_query, d_key, d_value, d_joint});
                }),
                {t.argmax, d_query, d_key, d_value, d_joint},
                {d_joint}};
          }};
}

// One of the three passes of a convolution without extras.
KernelCase conv_case(ConvPass pass, const ConvGeometry& g) {
  constexpr const char* kNames[] = {"conv2d_fprop", "conv2d_dgrad", "conv2d_wgrad"};
  const int64_t terms[] = {g.r * g.s * g.c, g.r * g.s * g.k, g.n * g.p * g.q};
  const auto number = static_cast<size_t>(pass);
  return {.name = fmt::format("{}/n:{}/hw:{}/c:{}/k:{}/r:{}/stride:{}", kNames[number], g.n, g.h,
                              g.c, g.k, g.r, g.stride),
          .prepare =
              [=](KernelSetup& s) {
                const bool makes[] = {pass == ConvPass::kDgrad, pass == ConvPass::kWgrad,
                                      pass == ConvPass::kFprop};
                const Tensor x = makes[0] ? s.fresh(g.x()) : s.normal(g.x());
                const Tensor w =
                    makes[1] ? s.fresh(g.weight(), master_dtype(s.dtype)) : s.normal(g.weight());
                const Tensor y = makes[2] ? s.fresh(g.y()) : s.normal(g.y());
                int64_t bytes = 0;
                s.ctx.run([&](const auto& ex) {
                  bytes = conv2d_scratch_bytes(ex, pass, g, s.dtype, {});
                });
                const Tensor scratch = s.fresh({bytes}, DType::kU8);
                const Work launch = s.launch([=](const auto& ex) {
                  if (pass == ConvPass::kFprop)
                    conv2d_fprop(ex, g, x, w, {}, false, y, scratch);
                  else if (pass == ConvPass::kDgrad)
                    conv2d_dgrad(ex, g, y, w, {}, x, false, scratch);
                  else
                    conv2d_wgrad(ex, g, x, y, w, false, scratch);
                });
                return PreparedKernel{launch, {x, w, y}, {makes[0] ? x : makes[1] ? w : y}};
              },
          .flops = g.flops(),
          .length = terms[number]};
}

KernelCase gemm_case(int64_t m, int64_t n, int64_t k) {
  return {.name = fmt::format("gemm/m:{}/n:{}/k:{}", m, n, k),
          .prepare =
              [=](KernelSetup& s) {
                const Tensor a = s.normal({m, k}), b = s.normal({n, k}), c = s.fresh({m, n});
                return PreparedKernel{s.launch([=](const auto& ex) {
                                        gemm(ex, {.a = a, .b = b, .transpose_b = true, .c = c});
                                      }),
                                      {a, b, c},
                                      {c}};
              },
          .flops = 2.0 * m * n * k,
          .length = k};
}

}  // namespace

// G's block, and F's, of half as many channels.
std::vector<KernelCase> attention_kernels(const KernelSizes& sizes) {
  std::vector<KernelCase> list;
  for (const int64_t channels : {sizes.channels, sizes.channels / 2}) {
    const AttentionSizes z(sizes, channels);
    const Shape joint{z.n, sizes.resolution, sizes.resolution, 2 * z.depth + z.width};
    list.push_back(attention_forward_case(z));
    list.push_back(attention_backward_case(z));
    list.push_back(split_case(joint, z));
    list.push_back(split_backward_case(joint, z));
  }
  return list;
}

// The shapes of G's and F's blocks: 3x3 and, where they are rewritten, 4x4 with stride 2, from
// twice the attention block's resolution down to an eighth of it. H and J: a product on both
// halves.
std::vector<KernelCase> product_kernels(const KernelSizes& z) {
  std::vector<KernelCase> list;
  for (int64_t hw = 2 * z.resolution, c = z.channels / 2; hw >= z.resolution / 8 && hw >= 4;
       hw /= 2, c *= 2) {
    const ConvGeometry same = conv_geometry({z.batch, hw, hw, c}, {c, 3, 3, c}, 1, 1);
    const ConvGeometry halved = conv_geometry({z.batch, hw, hw, c}, {2 * c, 4, 4, c}, 2, 1);
    for (const ConvPass pass : {ConvPass::kFprop, ConvPass::kDgrad, ConvPass::kWgrad}) {
      list.push_back(conv_case(pass, same));
      list.push_back(conv_case(pass, halved));
    }
  }
  list.push_back(gemm_case(2 * z.batch, z.wide, z.wide));
  return list;
}

}  // namespace bigbigan
