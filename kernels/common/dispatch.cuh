// From a run-time dtype to the type of a kernel: f32 or bf16 on a GPU; f64 belongs to the CPU.
#pragma once

#include "kernels/common/dispatch.h"

namespace bigbigan {

// f32 or bf16; throws Error{kInternal} for another dtype.
template <class F>
void dispatch_cuda(std::string_view op, DType dtype, const F& body) {
  switch (dtype) {
    case DType::kF32:
      return body(TypeTag<float>{});
    case DType::kBF16:
      return body(TypeTag<bf16>{});
    default:
      fail(ExitCode::kInternal, "{}: no CUDA kernel for {}", op, name_of(dtype));
  }
}

}  // namespace bigbigan
