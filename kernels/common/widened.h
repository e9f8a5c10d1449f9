// bf16 in launchers of the CPU that compute in f32, by a library or by loops: operands become f32
// copies, and a result is rounded once, when it is stored. A twin of the CUDA kernels, not fast.
#pragma once

#include <vector>

#include "kernels/common/view.h"

namespace bigbigan {

// f32 memory at a multiple of 64 bytes, which libraries may count on.
class AlignedFloats {
 public:
  void resize(int64_t elems) { lines_.resize((elems + kLine - 1) / kLine); }
  [[nodiscard]] float* data() { return lines_.empty() ? nullptr : lines_.front().values; }

 private:
  static constexpr int64_t kLine = 16;
  struct alignas(64) Line {
    float values[kLine];
  };
  std::vector<Line> lines_;
};

// An f32 copy of a bf16 view; any other view itself.
class Widened {
 public:
  explicit Widened(ConstView operand) : view_(operand) {
    if (operand.dtype != DType::kBF16) return;
    view_.dtype = DType::kF32;
    if (!operand) return;
    const bf16* from = operand.as<bf16>();
    floats_.resize(operand.elems());
    float* to = floats_.data();
    for (int64_t i = 0; i < operand.elems(); ++i) to[i] = static_cast<float>(from[i]);
    view_.data = to;
  }
  Widened(const Widened&) = delete;
  Widened& operator=(const Widened&) = delete;

  operator ConstView() const { return view_; }  // NOLINT: stands for the operand

 private:
  AlignedFloats floats_;
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
    const bf16* from = result.as<bf16>();
    for (int64_t i = 0; i < result.elems(); ++i) floats_.data()[i] = static_cast<float>(from[i]);
  }
  ~WidenedResult() {
    if (!result_ || view_.data == result_.data) return;
    auto* to = static_cast<bf16*>(result_.data);
    for (int64_t i = 0; i < result_.elems(); ++i) to[i] = bf16(floats_.data()[i]);
  }
  WidenedResult(const WidenedResult&) = delete;
  WidenedResult& operator=(const WidenedResult&) = delete;

  operator View() const { return view_; }  // NOLINT: stands for the result

 private:
  View result_, view_;
  AlignedFloats floats_;
};

}  // namespace bigbigan
