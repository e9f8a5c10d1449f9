#include <fmt/format.h>

#include <algorithm>

#include "kernels/bench/kernel_cases.h"
#include "kernels/conv/fold_weight.h"
#include "kernels/norm/spectral_norm.h"
#include "kernels/optim/adam.h"
#include "kernels/optim/gradient_sums.h"
#include "models/bigbigan/bigbigan.h"
#include "tests/harness/op_case.h"

namespace bigbigan {
namespace {

std::vector<Shape> spectral_weights(const ParamStore& store) {
  std::vector<Shape> shapes;
  for (const ParamStore::Entry& entry : store.entries()) {
    if (entry.normalized) shapes.push_back(entry.shape);
  }
  return shapes;
}

KernelCase spectral_case(const std::string& network, const std::vector<Shape>& shapes) {
  int64_t longest = 1, elems = 0;
  for (const Shape& w : shapes) {
    longest = std::max({longest, w[0], w.elems() / w[0]});
    elems += w.elems();
  }
  return {.name = fmt::format("spectral_norm/network:{}/weights:{}/elems:{}", network,
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
                  spectral_norm(ex, args, true, 1e-4, scratch);
                });
                return k;
              },
          .takes_bf16 = false,
          .length = longest};
}

// All normalised weights of a network, one behind the other in flat vectors.
struct FlatWeights {
  NormalizedWeights weights;
  std::vector<Tensor> vectors;
  Tensor sums;
  int64_t elems = 0;

  FlatWeights(KernelSetup& s, const std::vector<Shape>& shapes) {
    for (const Shape& shape : shapes) {
      const Tensor u = s.normal({shape[0]}), v = s.normal({shape.elems() / shape[0]});
      vectors.insert(vectors.end(), {u, v});
      weights.list.push_back({elems, u, v});
      elems += shape.elems();
    }
    const Tensor sigmas = s.normal({weights.size()}, 0, 1);
    weights.sigmas = sigmas;
    vectors.push_back(sigmas);
    sums = Tensor::zeros(s.ctx, gradient_sums_shape(weights), DType::kF64);
  }
};

KernelCase gradient_sums_case(const std::string& network, const std::vector<Shape>& shapes) {
  int64_t elems = 0;
  for (const Shape& w : shapes) elems += w.elems();
  return {.name = fmt::format("gradient_sums/network:{}/weights:{}/elems:{}", network,
                              shapes.size(), elems),
          .prepare =
              [=](KernelSetup& s) {
                const FlatWeights flat(s, shapes);
                const Tensor value = s.normal({elems}), grad = s.normal({elems});
                const Tensor scratch =
                    s.fresh({gradient_sums_scratch_elems(elems, flat.weights)}, DType::kF64);
                return PreparedKernel{s.launch([=](const auto& ex) {
                                        gradient_sums(ex, value, grad, flat.weights, flat.sums,
                                                      false, scratch);
                                      }),
                                      {value, grad},
                                      {flat.sums}};
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

// 36 bytes per weight, or 38 with those that bf16 forward passes read; all of them normalised.
KernelCase update_case(const std::vector<Shape>& shapes, bool packs) {
  int64_t elems = 0;
  for (const Shape& w : shapes) elems += w.elems();
  return {.name = fmt::format("optimizer_update/elems:{}/normalized:{}{}", elems, shapes.size(),
                              packs ? "/packed:bf16" : ""),
          .prepare =
              [=](KernelSetup& s) {
                const FlatWeights flat(s, shapes);
                const Tensor value = s.normal({elems}), grad = s.normal({elems});
                const Tensor m = s.normal({elems}), v = s.normal({elems}, 0.1, 1);
                const Tensor average = s.normal({elems});
                const Tensor packed = packs ? s.fresh({elems}, DType::kBF16) : Tensor();
                const int64_t update = 7;
                const Tensor t = Tensor::from_host(s.ctx, {1}, DType::kI64, &update);
                const Tensor skip = Tensor::zeros(s.ctx, {1}, DType::kI32);
                PreparedKernel k{s.launch([=](const auto& ex) {
                                   optimizer_update(
                                       ex, {value, grad, m, v, t, skip, average, packed, 1e-4, 0.5,
                                            0.999, 1e-8, 0.999, flat.weights, flat.sums});
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

}  // namespace

std::vector<KernelCase> weight_kernels(const KernelSizes& z) {
  const BigBiGAN model(z.model);
  const int64_t elems = model.d_store.parameter_count();
  const int64_t c = z.channels;
  return {spectral_case("g", spectral_weights(model.g_store)),
          spectral_case("d", spectral_weights(model.d_store)),
          gradient_sums_case("d", spectral_weights(model.d_store)),
          fold_case("fold_upsample_weight", {c, 3, 3, 2 * c}, {2 * c, 4, 4, c},
                    [](const auto& ex, View w, View v) { fold_upsample_weight(ex, w, v); }),
          fold_case("fold_avg_pool_weight", {c, 3, 3, c}, {c, 4, 4, c},
                    [](const auto& ex, View w, View v) { fold_avg_pool_weight(ex, w, v); }),
          update_case(spectral_weights(model.d_store), false),
          update_case(spectral_weights(model.d_store), true),
          average_case(elems)};
}

}  // namespace bigbigan
