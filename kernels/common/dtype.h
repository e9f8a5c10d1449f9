// Element types of tensors, and bfloat16 as a storage type.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

namespace bigbigan {

enum class DType : uint8_t { kF32, kF64, kBF16, kU8, kI32, kI64 };

// bfloat16: the upper half of an f32, rounded to nearest even. Storage only: convert, compute in
// float. Every NaN becomes the one that a GPU's conversion gives, so that both have the same bits.
struct bf16 {
  uint16_t bits = 0;

  bf16() = default;
  explicit bf16(float value) {
    const auto word = std::bit_cast<uint32_t>(value);
    if (std::isnan(value)) {
      bits = 0x7fff;
    } else {
      bits = static_cast<uint16_t>((word + 0x7fff + ((word >> 16) & 1)) >> 16);
    }
  }
  explicit operator float() const {
    return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
  }
  explicit operator double() const { return static_cast<double>(static_cast<float>(*this)); }
};

constexpr size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::kF32:
    case DType::kI32:
      return 4;
    case DType::kF64:
    case DType::kI64:
      return 8;
    case DType::kBF16:
      return 2;
    case DType::kU8:
      return 1;
  }
  return 0;
}

constexpr std::string_view name_of(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "f32";
    case DType::kF64:
      return "f64";
    case DType::kBF16:
      return "bf16";
    case DType::kU8:
      return "u8";
    case DType::kI32:
      return "i32";
    case DType::kI64:
      return "i64";
  }
  return "?";
}

template <class T>
constexpr DType dtype_of() {
  using U = std::remove_cv_t<T>;
  if constexpr (std::is_same_v<U, float>)
    return DType::kF32;
  else if constexpr (std::is_same_v<U, double>)
    return DType::kF64;
  else if constexpr (std::is_same_v<U, bf16>)
    return DType::kBF16;
  else if constexpr (std::is_same_v<U, uint8_t>)
    return DType::kU8;
  else if constexpr (std::is_same_v<U, int32_t>)
    return DType::kI32;
  else {
    static_assert(std::is_same_v<U, int64_t>, "no DType for this type");
    return DType::kI64;
  }
}

// What is kept beside activations of `dtype` without loss: weights and their gradients, optimiser
// state, statistics, losses.
constexpr DType master_dtype(DType dtype) { return dtype == DType::kBF16 ? DType::kF32 : dtype; }

// The type arithmetic is done in: double for f64, float for everything stored narrower.
template <class T>
using Accum = std::conditional_t<std::is_same_v<std::remove_cv_t<T>, double>, double, float>;

}  // namespace bigbigan
