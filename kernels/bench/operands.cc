#include "kernels/bench/operands.h"

#include "kernels/random/philox.h"
#include "tests/harness/values.h"

namespace bigbigan {
namespace {

constexpr int64_t kDifferent = 1 << 20;

std::vector<double> normal_values(int64_t count, const NormalValues& values) {
  const int64_t first = 0;
  std::vector<float> drawn(count);
  random_normal(CpuExec{}, {values.seed, RandomStream::kSample, {&first, {1}, DType::kI64}},
                {drawn.data(), {1, count}, DType::kF32});
  std::vector<double> list;
  for (const float v : drawn) {
    const auto value = static_cast<float>(values.mean + values.deviation * v);
    list.push_back(values.rounded_to == DType::kBF16 ? static_cast<double>(bf16(value)) : value);
  }
  return list;
}

}  // namespace

Tensor normal_tensor(const Context& ctx, const Shape& shape, DType dtype,
                     const NormalValues& values) {
  const Tensor tensor = Tensor::empty(ctx, shape, dtype);
  const int64_t elems = tensor.elems(), count = std::min(elems, kDifferent);
  const Tensor flat = tensor.reshape({elems}), tile = flat.slice(0, count);
  write(tile, normal_values(count, values));
  for (int64_t at = count; at < elems; at += count) {
    const int64_t end = std::min(at + count, elems);
    flat.slice(at, end).copy_from(tile.slice(0, end - at));
  }
  return tensor;
}

}  // namespace bigbigan
