// From a run-time dtype to a compile-time type, by passing a type tag to a lambda.
//
//   dispatch_float("relu", x.dtype, [&]<class T>(TypeTag<T>) { relu<T>(...); });
#pragma once

#include <string_view>

#include "kernels/common/dtype.h"
#include "kernels/common/error.h"

namespace bigbigan {

template <class T>
struct TypeTag {
  using type = T;
};

// f32, f64 or bf16; throws Error{kInternal} for another dtype.
template <class F>
void dispatch_float(std::string_view op, DType dtype, const F& body) {
  switch (dtype) {
    case DType::kF32:
      return body(TypeTag<float>{});
    case DType::kF64:
      return body(TypeTag<double>{});
    case DType::kBF16:
      return body(TypeTag<bf16>{});
    default:
      fail(ExitCode::kInternal, "{}: no kernel for {}", op, name_of(dtype));
  }
}

// f32 or f64 only: statistics, optimiser, parameters.
template <class F>
void dispatch_real(std::string_view op, DType dtype, const F& body) {
  switch (dtype) {
    case DType::kF32:
      return body(TypeTag<float>{});
    case DType::kF64:
      return body(TypeTag<double>{});
    default:
      fail(ExitCode::kInternal, "{}: no kernel for {}", op, name_of(dtype));
  }
}

}  // namespace bigbigan
