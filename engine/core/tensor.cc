#include "engine/core/tensor.h"

namespace bigbigan {

Tensor Tensor::empty(const Context& ctx, const Shape& shape, DType dtype, MemoryTag tag) {
  check(ctx.allocator != nullptr, "tensor: the context has no allocator");
  Tensor tensor;
  tensor.shape_ = shape;
  tensor.dtype_ = dtype;
  Allocator* allocator = ctx.allocator;
  const int64_t bytes = shape.elems() * static_cast<int64_t>(size_of(dtype));
  tensor.data_ = allocator->allocate(bytes, tag);
  tensor.memory_ = &allocator->memory();
  tensor.storage_ = std::shared_ptr<void>(
      tensor.data_, [allocator, bytes, tag](void* p) { allocator->release(p, bytes, tag); });
  return tensor;
}

Tensor Tensor::zeros(const Context& ctx, const Shape& shape, DType dtype, MemoryTag tag) {
  Tensor tensor = empty(ctx, shape, dtype, tag);
  tensor.clear();
  return tensor;
}

Tensor Tensor::from_host(const Context& ctx, const Shape& shape, DType dtype, const void* host,
                         MemoryTag tag) {
  const Tensor tensor = empty(ctx, shape, dtype, tag);
  tensor.write(host);
  return tensor;
}

Memory& Tensor::memory() const {
  check(memory_ != nullptr, "tensor {}: its memory is borrowed", shape_);
  return *memory_;
}

void Tensor::read(void* host) const { memory().read(data_, host, view().bytes()); }

void Tensor::write(const void* host) const { memory().write(data_, host, view().bytes()); }

void Tensor::copy_from(const Tensor& other) const {
  check(other.memory_ == memory_ && other.view().bytes() == view().bytes(),
        "tensor {}: copy from {}", shape_, other.shape_);
  memory().copy(data_, other.data_, view().bytes());
}

void Tensor::clear() const { memory().fill(data_, 0, view().bytes()); }

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

Tensor Tensor::part(int64_t offset, const Shape& shape, DType dtype) const {
  Tensor copy = *this;
  copy.shape_ = shape;
  copy.dtype_ = dtype;
  copy.data_ = static_cast<char*>(data_) + offset;
  check(0 <= offset && offset + copy.view().bytes() <= view().bytes(), "tensor {}: {} at byte {}",
        shape_, shape, offset);
  return copy;
}

}  // namespace bigbigan
