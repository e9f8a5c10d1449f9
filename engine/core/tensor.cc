#include "engine/core/tensor.h"

#include <cstring>

namespace bigbigan {

Tensor Tensor::empty(const Context& ctx, const Shape& shape, DType dtype, MemoryTag tag) {
  check(ctx.allocator != nullptr, "tensor: the context has no allocator");
  Tensor tensor;
  tensor.shape_ = shape;
  tensor.dtype_ = dtype;
  Allocator* allocator = ctx.allocator;
  const int64_t bytes = shape.elems() * static_cast<int64_t>(size_of(dtype));
  tensor.data_ = allocator->allocate(bytes, tag);
  tensor.storage_ = std::shared_ptr<void>(
      tensor.data_, [allocator, bytes, tag](void* p) { allocator->release(p, bytes, tag); });
  return tensor;
}

Tensor Tensor::zeros(const Context& ctx, const Shape& shape, DType dtype, MemoryTag tag) {
  Tensor tensor = empty(ctx, shape, dtype, tag);
  std::memset(tensor.data_, 0, tensor.view().bytes());
  return tensor;
}

Tensor Tensor::borrow(View view) {
  Tensor tensor;
  tensor.data_ = view.data;
  tensor.shape_ = view.shape;
  tensor.dtype_ = view.dtype;
  return tensor;
}

Tensor Tensor::reshape(const Shape& shape) const {
  check(shape.elems() == elems(), "reshape: {} to {}", shape_, shape);
  Tensor copy = *this;
  copy.shape_ = shape;
  return copy;
}

Tensor Tensor::slice(int64_t begin, int64_t end) const {
  check(shape_.rank() > 0 && 0 <= begin && begin <= end && end <= shape_[0],
        "slice: rows [{},{}) of {}", begin, end, shape_);
  Tensor copy = *this;
  copy.shape_ = shape_.with_dim0(end - begin);
  const int64_t row_bytes = shape_[0] > 0 ? view().bytes() / shape_[0] : 0;
  copy.data_ = static_cast<char*>(data_) + begin * row_bytes;
  return copy;
}

}  // namespace bigbigan
