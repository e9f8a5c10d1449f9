// Golden files of the PyTorch peer (scripts/peers/make_golden.py, which says what they hold) and
// the engine's model loaded from one.
#pragma once

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "engine/io/safetensors.h"
#include "kernels/common/dispatch.h"
#include "models/bigbigan/weights.h"
#include "tests/harness/weight_gradients.h"
#include "train/config.h"

namespace bigbigan {

using Values = std::vector<double>;

// Elements of a real or u8 array as f64.
inline Values values_of(DType dtype, const void* data, int64_t elems) {
  Values values(static_cast<size_t>(elems));
  if (dtype == DType::kU8) {
    std::copy_n(static_cast<const uint8_t*>(data), elems, values.begin());
  } else {
    dispatch_real("golden", dtype, [&]<class T>(TypeTag<T>) {
      std::copy_n(static_cast<const T*>(data), elems, values.begin());
    });
  }
  return values;
}
inline Values values_of(const Tensor& t) { return values_of(t.dtype(), t.view().data, t.elems()); }

inline constexpr size_t kDigestBelow = 32;  // longer lists are kept as digests
inline constexpr size_t kDigestSums = 7;

inline double largest(const Values& values) {
  double most = 0;
  for (const double v : values) most = std::max(most, std::abs(v));
  return most;
}

// The values, or of long lists the largest magnitude and sums with fixed random signs: an error
// anywhere moves all sums.
inline Values digest(const Values& values) {
  if (values.size() <= kDigestBelow) return values;
  Values result(1 + kDigestSums, 0.0);
  result[0] = largest(values);
  for (size_t i = 0; i < values.size(); ++i) {
    auto hash = static_cast<uint32_t>(i + 1) * 2654435761U;
    hash ^= hash >> 15;
    hash *= 2246822519U;
    hash ^= hash >> 13;
    for (size_t k = 0; k < kDigestSums; ++k) {
      result[1 + k] += (hash >> k & 1U) != 0 ? values[i] : -values[i];
    }
  }
  return result;
}

class Golden {
 public:
  explicit Golden(const std::string& name)
      : file_(vfs_, std::string(BIGBIGAN_SOURCE_DIR) + "/tests/golden/" + name + ".safetensors") {
    apply_toml(config_fields(config), file_.metadata().at("config"), name);
  }

  [[nodiscard]] bool has(const std::string& name) const { return file_.has(name); }
  [[nodiscard]] const Shape& shape(const std::string& name) const { return file_.info(name).shape; }
  [[nodiscard]] SafetensorsFile& file() { return file_; }
  // Names that start with `prefix`, without it.
  [[nodiscard]] std::vector<std::string> names(const std::string& prefix) const {
    std::vector<std::string> found;
    for (const std::string& name : file_.names()) {
      if (name.starts_with(prefix)) found.push_back(name.substr(prefix.size()));
    }
    return found;
  }
  Values values(const std::string& name) {
    const TensorInfo& info = file_.info(name);
    std::vector<std::byte> bytes(static_cast<size_t>(info.bytes));
    file_.read(name, bytes);
    return values_of(info.dtype, bytes.data(), info.shape.elems());
  }

  Config config;

 private:
  PosixVfs vfs_;
  SafetensorsFile file_;
};

// The engine's model of a golden file, at its initial weights.
struct GoldenModel {
  GoldenModel(Golden& golden, DType dtype) : model(golden.config.model) {
    ctx.dtype = dtype;
    model.allocate(ctx, true);
    import_weights(model, WeightSet::kLive, golden.file(), true);
    for (ParamStore* store : model.stores()) store->reset_ema();
  }

  Tensor tensor(const Shape& shape, const Values& values) const {
    const Tensor t = Tensor::empty(ctx, shape, ctx.dtype);
    dispatch_real("golden", ctx.dtype, [&]<class T>(TypeTag<T>) {
      for (size_t i = 0; i < values.size(); ++i) t.as<T>()[i] = static_cast<T>(values[i]);
    });
    return t;
  }
  // The batch of sub-step `k`.
  StepInputs inputs(Golden& golden, int64_t k) const {
    const std::string here = "input." + std::to_string(k),
                      images = "input." + std::to_string(k % 2) + ".x";
    Values pixels = golden.values(images);
    for (double& v : pixels) v = v / 127.5 - 1;
    return {.x = tensor(golden.shape(images), pixels),
            .z = tensor(golden.shape(here + ".z"), golden.values(here + ".z")),
            .eps = tensor(golden.shape(here + ".eps"), golden.values(here + ".eps")),
            .global_batch = golden.shape(images)[0]};
  }
  // Tensors of a set by name, in file layout.
  std::map<std::string, Values> exported(WeightSet set) {
    std::map<std::string, Values> result;
    const ExportedWeights weights = export_weights(model, set);
    for (const NamedTensor& t : weights.tensors) {
      const Shape shape(t.shape);
      result[t.name] = values_of(t.dtype, t.data, shape.elems());
    }
    return result;
  }
  // Gradients by name, in file layout.
  std::map<std::string, Values> gradients() {
    std::map<std::string, Values> result;
    for (ParamStore* store : model.stores()) {
      const Tensor all =
          weight_gradients(ctx, store->value, store->grad, store->normalized_weights(0));
      for (const auto& entry : store->entries()) {
        const Tensor gradient = store->of(all, entry);
        Values values = values_of(gradient);
        if (entry.layout == ParamLayout::kConvolution) {
          krsc_to_oihw(entry.shape, values_of(gradient).data(), values.data(), sizeof(double));
        }
        result[entry.name] = values;
      }
    }
    return result;
  }

  HostAllocator host;
  Context ctx{.exec = CpuExec{}, .allocator = &host};
  BigBiGAN model;
};

}  // namespace bigbigan
