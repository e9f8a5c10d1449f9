// Tensor: shared storage, shape, dtype. Contiguous row-major, images NHWC; no strides.
#pragma once

#include <memory>

#include "engine/core/context.h"
#include "kernels/common/view.h"

namespace bigbigan {

class Tensor {
 public:
  Tensor() = default;

  // Uninitialised memory from the context's allocator.
  static Tensor empty(const Context& ctx, const Shape& shape, DType dtype,
                      MemoryTag tag = MemoryTag::kActivations);
  static Tensor zeros(const Context& ctx, const Shape& shape, DType dtype,
                      MemoryTag tag = MemoryTag::kActivations);
  // A tensor over memory that somebody else owns and keeps alive.
  static Tensor borrow(View view);

  [[nodiscard]] explicit operator bool() const { return data_ != nullptr; }
  [[nodiscard]] const Shape& shape() const { return shape_; }
  [[nodiscard]] DType dtype() const { return dtype_; }
  [[nodiscard]] int64_t elems() const { return shape_.elems(); }
  [[nodiscard]] View view() const { return {data_, shape_, dtype_}; }
  operator View() const { return view(); }       // NOLINT: a tensor is usable where a view is
  operator ConstView() const { return view(); }  // NOLINT
  template <class T>
  [[nodiscard]] T* as() const {
    return view().as<T>();
  }

  // The same memory under another shape of equal size.
  [[nodiscard]] Tensor reshape(const Shape& shape) const;
  // Rows [begin, end) of axis 0; shares memory.
  [[nodiscard]] Tensor slice(int64_t begin, int64_t end) const;

 private:
  std::shared_ptr<void> storage_;
  void* data_ = nullptr;
  Shape shape_;
  DType dtype_ = DType::kF32;
};

}  // namespace bigbigan
