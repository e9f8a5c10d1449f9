#include <fmt/format.h>

#include <algorithm>

#include "kernels/bench/kernel_cases.h"
#include "kernels/conv/fold_weight.h"
#include "kernels/norm/spectral_norm.h"
#include "kernels/optim/adam.h"
#include "models/bigbigan/bigbigan.h"
#include "tests/harness/op_case.h"

namespace bigbigan {
namespace {

// The weights of a network that are normalised, those with a direction u.
std::vector<Shape> spectral_weights(const ParamStore& store) {
  std::vector<Shape> shapes;
  for (const ParamStore::BufferEntry& u : store.buffer_entries()) {
    if (u.kind != BufferKind::kDirection) continue;
    const std::string weight = u.name.substr(0, u.name.rfind('.')) + ".weight";
    for (const ParamStore::Entry& entry : store.entries()) {
      if (entry.name == weight) shapes.push_back(entry.shape);
    }
  }
  return shapes;
}

KernelCase spectral_case(const std::string& network, const std::vector<Shape>& shapes) {
  int64_t longest = 1, elems = 0;
  for (const Shape& w : shapes) {
    longest = std::max({longest, w[0], w.elems() / w[0]});
    elems += w.elems();
  }
  return {.name = fmt::format("spectral_norm_forward/network:{}/weights:{}/elems:{}", network,
                              shapes.size(), elems),
          .prepare =
              [=](KernelSetup& s) {
                PreparedKernel k;
                std::vector<Tensor> vectors;
                std::vector<SpectralNormArgs> args;
                for (const Shape& shape : shapes) {
                  const Tensor w = s.normal(shape), u = s.normal({shape[0]}), y = s.fresh(shape);
                  const Tensor v = s.fresh({shape.elems() / shape[0]}), sigma = s.fresh({1});
                  args.push_back({w, u, v, sigma, y});
                  vectors.insert(vectors.end(), {u, v, sigma});
                  k.moved.insert(k.moved.end(), {w, y});
                  k.results.insert(k.results.end(), {u, v, y});
                }
                const Tensor scratch = s.fresh({spectral_norm_scratch_elems(args)}, DType::kF64);
                k.launch = s.launch([args, vectors, kept = k.moved, scratch](const auto& ex) {
                  spectral_norm_forward(ex, args, true, 1e-4, scratch);
                });
                return k;
              },
          .takes_bf16 = false,
          .length = longest};
}

KernelCase spectral_backward_case(const std::string& network, const std::vector<Shape>& shapes) {
  int64_t elems = 0;
  for (const Shape& w : shapes) elems += w.elems();
  return {.name = fmt::format("spectral_norm_backward/network:{}/weights:{}/elems:{}", network,
                              shapes.size(), elems),
          .prepare =
              [=](KernelSetup& s) {
                PreparedKernel k;
                std::vector<Tensor> vectors;
                std::vector<SpectralNormBackwardArgs> args;
                for (const Shape& shape : shapes) {
                  const Tensor d_y = s.normal(shape), y = s.normal(shape), d_w = s.fresh(shape);
                  const Tensor u = s.normal({shape[0]}), v = s.normal({shape.elems() / shape[0]});
                  const Tensor sigma = s.normal({1}, 0, 1);
                  args.push_back({d_y, y, u, v, sigma, d_w});
                  vectors.insert(vectors.end(), {u, v, sigma});
                  k.moved.insert(k.moved.end(), {d_y, y, d_w});
                  k.results.push_back(d_w);
                }
                const Tensor scratch =
                    s.fresh({spectral_norm_backward_scratch_elems(args)}, DType::kF64);
                k.launch = s.launch([args, vectors, kept = k.moved, scratch](const auto& ex) {
                  spectral_norm_backward(ex, args, scratch);
                });
                return k;
              },
          .takes_bf16 = false,
          .length = elems};
}

// The f32 weight (K, 3, 3, C) of a convolution, as the activations' 4x4 one beside it.
template <class Launch>
KernelCase fold_case(const char* name, const Shape& w, const Shape& v, const Launch& launch) {
  return {.name = fmt::format("{}/w:{}", name, dims(w)), .prepare = [=](KernelSetup& s) {
            const Tensor from = s.master(w), to = s.fresh(v);
            return PreparedKernel{
                s.launch([=](const auto& ex) { launch(ex, from, to); }), {from, to}, {to}};
          }};
}

// 36 bytes per weight, or 38 with those that bf16 forward passes read.
KernelCase update_case(int64_t elems, bool packs) {
  return {.name = fmt::format("optimizer_update/elems:{}{}", elems, packs ? "/packed:bf16" : ""),
          .prepare =
              [=](KernelSetup& s) {
                const Tensor value = s.normal({elems}), grad = s.normal({elems});
                const Tensor m = s.normal({elems}), v = s.normal({elems}, 0.1, 1);
                const Tensor average = s.normal({elems});
                const Tensor packed = packs ? s.fresh({elems}, DType::kBF16) : Tensor();
                const int64_t update = 7;
                const Tensor t = Tensor::from_host(s.ctx, {1}, DType::kI64, &update);
                const Tensor skip = Tensor::zeros(s.ctx, {1}, DType::kI32);
                PreparedKernel k{s.launch([=](const auto& ex) {
                                   optimizer_update(ex, {value, grad, m, v, t, skip, average,
                                                         packed, 1e-4, 0.5, 0.999, 1e-8, 0.999});
                                 }),
                                 {value, value, grad, m, m, v, v, average, average},
                                 {value, m, v, average}};
                if (packs) k.moved.push_back(packed);
                return k;
              },
          .takes_bf16 = false};
}

KernelCase average_case(int64_t elems) {
  return {.name = fmt::format("ema_update/elems:{}", elems),
          .prepare =
              [=](KernelSetup& s) {
                const Tensor average = s.normal({elems}), value = s.normal({elems});
                const Tensor skip = Tensor::zeros(s.ctx, {1}, DType::kI32);
                return PreparedKernel{
                    s.launch([=](const auto& ex) { ema_update(ex, average, value, 0.999, skip); }),
                    {average, average, value},
                    {average}};
              },
          .takes_bf16 = false};
}

KernelCase norm_case(int64_t elems) {
  return {.name = fmt::format("sum_of_squares/elems:{}", elems),
          .prepare =
              [=](KernelSetup& s) {
                const Tensor x = s.normal({elems}), sum = s.fresh({1});
                const Tensor skip = Tensor::zeros(s.ctx, {1}, DType::kI32);
                const Tensor scratch = s.fresh({sum_of_squares_scratch_elems(elems)}, DType::kF64);
                return PreparedKernel{
                    s.launch([=](const auto& ex) { sum_of_squares(ex, x, sum, skip, scratch); }),
                    {x},
                    {sum}};
              },
          .takes_bf16 = false,
          .length = elems};
}

}  // namespace

std::vector<KernelCase> weight_kernels(const KernelSizes& z) {
  const BigBiGAN model(z.model);
  const int64_t elems = model.d_store.parameter_count();
  const int64_t c = z.channels;
  return {spectral_case("g", spectral_weights(model.g_store)),
          spectral_case("d", spectral_weights(model.d_store)),
          spectral_backward_case("d", spectral_weights(model.d_store)),
          fold_case("fold_upsample_weight", {c, 3, 3, 2 * c}, {2 * c, 4, 4, c},
                    [](const auto& ex, View w, View v) { fold_upsample_weight(ex, w, v); }),
          fold_case("fold_avg_pool_weight", {c, 3, 3, c}, {c, 4, 4, c},
                    [](const auto& ex, View w, View v) { fold_avg_pool_weight(ex, w, v); }),
          update_case(elems, false),
          update_case(elems, true),
          average_case(elems),
          norm_case(elems)};
}

}  // namespace bigbigan
