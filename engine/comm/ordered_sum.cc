#include "engine/comm/ordered_sum.h"

#include <cstring>

#include "kernels/common/error.h"

namespace bigbigan {
namespace {

template <class T, class Sum = T>
void add(std::span<const std::byte* const> parts, T* sums, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    Sum sum{};
    for (const std::byte* part : parts) {
      T value;
      std::memcpy(&value, part + i * sizeof(T), sizeof(T));
      sum += static_cast<Sum>(value);
    }
    sums[i] = T(sum);
  }
}

}  // namespace

void add_in_rank_order(std::span<const std::byte* const> parts, View sum) {
  switch (sum.dtype) {
    case DType::kF32:
      return add(parts, sum.as<float>(), sum.elems());
    case DType::kF64:
      return add(parts, sum.as<double>(), sum.elems());
    case DType::kBF16:
      return add<bf16, float>(parts, sum.as<bf16>(), sum.elems());
    case DType::kI32:
      return add(parts, sum.as<int32_t>(), sum.elems());
    case DType::kI64:
      return add(parts, sum.as<int64_t>(), sum.elems());
    default:
      fail(ExitCode::kInternal, "all_reduce: no sum for {}", name_of(sum.dtype));
  }
}

}  // namespace bigbigan
