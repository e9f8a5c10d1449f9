// bf16 in launchers of the CPU that compute in f32, by a library or by loops: operands become f32
// copies, and a result is rounded once, when it is stored. A twin of the CUDA kernels, not fast.
#pragma once

#include <vector>

#include "kernels/common/view.h"

namespace bigbigan {

// An f32 copy of a bf16 view; any other view itself.
class Widened {
 public:
  explicit Widened(ConstView operand) : view_(operand) {
    if (operand.dtype != DType::kBF16) return;
    view_.dtype = DType::kF32;
    if (!operand) return;
    const bf16* from = operand.as<bf16>();
    floats_.resize(operand.elems());
    for (size_t i = 0; i < floats_.size(); ++i) floats_[i] = static_cast<float>(from[i]);
    view_.data = floats_.data();
  }
  Widened(const Widened&) = delete;
  Widened& operator=(const Widened&) = delete;

  operator ConstView() const { return view_; }  // NOLINT: stands for the operand

 private:
  std::vector<float> floats_;
  ConstView view_;
};

// f32 memory in the place of a bf16 view, which gets its values at the end of the scope; any other
// view itself. With `keep` it begins with the values of the view.
class WidenedResult {
 public:
  WidenedResult(View result, bool keep) : result_(result), view_(result) {
    if (result.dtype != DType::kBF16) return;
    view_.dtype = DType::kF32;
    if (!result) return;
    floats_.resize(result.elems());
    view_.data = floats_.data();
    if (!keep) return;
    for (size_t i = 0; i < floats_.size(); ++i) {
      floats_[i] = static_cast<float>(result.as<bf16>()[i]);
    }
  }
  ~WidenedResult() {
    if (floats_.empty()) return;
    auto* to = static_cast<bf16*>(result_.data);
    for (size_t i = 0; i < floats_.size(); ++i) to[i] = bf16(floats_[i]);
  }
  WidenedResult(const WidenedResult&) = delete;
  WidenedResult& operator=(const WidenedResult&) = delete;

  operator View() const { return view_; }  // NOLINT: stands for the result

 private:
  View result_, view_;
  std::vector<float> floats_;
};

}  // namespace bigbigan
