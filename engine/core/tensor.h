// Tensor: shared storage, shape, dtype. Contiguous row-major, images NHWC; no strides.
#pragma once

#include <memory>
#include <vector>

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
  // A copy of host memory.
  static Tensor from_host(const Context& ctx, const Shape& shape, DType dtype, const void* host,
                          MemoryTag tag = MemoryTag::kActivations);
  // A tensor over memory that somebody else owns and keeps alive.
  static Tensor borrow(View view);

  [[nodiscard]] explicit operator bool() const { return data_ != nullptr; }
  [[nodiscard]] const Shape& shape() const { return shape_; }
  [[nodiscard]] DType dtype() const { return dtype_; }
  [[nodiscard]] int64_t elems() const { return shape_.elems(); }
  // Whether no other tensor shares the memory; false for borrowed memory.
  [[nodiscard]] bool is_sole_owner() const { return storage_.use_count() == 1; }
  [[nodiscard]] View view() const { return {data_, shape_, dtype_}; }
  operator View() const { return view(); }       // NOLINT: a tensor is usable where a view is
  operator ConstView() const { return view(); }  // NOLINT
  template <class T>
  [[nodiscard]] T* as() const {
    return view().as<T>();
  }

  // Transfers, in the order of the launches on the tensor's memory. Not for borrowed tensors, whose
  // memory is unknown.
  void read(void* host) const;         // all bytes; they are there on return
  void write(const void* host) const;  // all bytes; the host's may change again on return
  void copy_from(const Tensor& other) const;
  void clear() const;
  // The elements on the host; throws Error{kInternal} when T is not the dtype.
  template <class T>
  [[nodiscard]] std::vector<T> to_vector() const {
    check(dtype_of<T>() == dtype_, "tensor {}: read as {}, holds {}", shape_,
          name_of(dtype_of<T>()), name_of(dtype_));
    std::vector<T> values(elems());
    read(values.data());
    return values;
  }
  // Of a tensor with one element.
  template <class T>
  [[nodiscard]] T item() const {
    check(elems() == 1, "tensor {}: not one element", shape_);
    return to_vector<T>()[0];
  }
  template <class T>
  void set_item(T value) const {
    check(elems() == 1 && dtype_of<T>() == dtype_, "tensor {}: not one element of {}", shape_,
          name_of(dtype_of<T>()));
    write(&value);
  }

  // The same memory under another shape of equal size.
  [[nodiscard]] Tensor reshape(const Shape& shape) const;
  // Rows [begin, end) of axis 0; shares memory.
  [[nodiscard]] Tensor slice(int64_t begin, int64_t end) const;
  // A tensor of its own from byte `offset` of this one's memory on.
  [[nodiscard]] Tensor part(int64_t offset, const Shape& shape, DType dtype) const;

 private:
  [[nodiscard]] Memory& memory() const;

  std::shared_ptr<void> storage_;
  Memory* memory_ = nullptr;  // of the allocator, which outlives its tensors; null where borrowed
  void* data_ = nullptr;
  Shape shape_;
  DType dtype_ = DType::kF32;
};

}  // namespace bigbigan
