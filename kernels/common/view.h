// Shape, View and ConstView: all that a kernel ever sees of a tensor.
//
// A view is a pointer, a shape of rank <= 5 and a dtype. Memory is contiguous, row-major; images
// are NHWC. A view owns nothing.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "kernels/common/dtype.h"
#include "kernels/common/error.h"

namespace bigbigan {

inline constexpr int kMaxRank = 5;

class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<int64_t> dims) : Shape(std::span(dims.begin(), dims.size())) {}
  explicit Shape(std::span<const int64_t> dims) : rank_(static_cast<int>(dims.size())) {
    check(dims.size() <= kMaxRank, "shape: rank {} exceeds {}", dims.size(), kMaxRank);
    for (int i = 0; i < rank_; ++i) {
      check(dims[i] >= 0, "shape: dimension {} is {}", i, dims[i]);
      dims_[i] = dims[i];
    }
  }

  [[nodiscard]] int rank() const { return rank_; }
  // Size of axis `i`; negative `i` counts from the end.
  [[nodiscard]] int64_t operator[](int i) const { return dims_[i < 0 ? i + rank_ : i]; }
  [[nodiscard]] int64_t elems() const {
    int64_t n = 1;
    for (int i = 0; i < rank_; ++i) n *= dims_[i];
    return n;
  }
  [[nodiscard]] std::span<const int64_t> dims() const { return {dims_.data(), size_t(rank_)}; }
  [[nodiscard]] bool operator==(const Shape& other) const {
    return rank_ == other.rank_ &&
           std::equal(dims_.begin(), dims_.begin() + rank_, other.dims_.begin());
  }
  // The same shape with axis 0 replaced.
  [[nodiscard]] Shape with_dim0(int64_t n) const {
    Shape s = *this;
    s.dims_[0] = n;
    return s;
  }

 private:
  std::array<int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};

// "(8,32,32,64)"
std::string to_string(const Shape& shape);

}  // namespace bigbigan

// Shapes are arguments of messages as they are: nothing is formatted unless a check fails.
template <>
struct fmt::formatter<bigbigan::Shape> : fmt::formatter<std::string_view> {
  fmt::format_context::iterator format(const bigbigan::Shape& shape,
                                       fmt::format_context& ctx) const;
};

namespace bigbigan {

template <class Pointer>
struct BasicView {
  Pointer data = nullptr;
  Shape shape;
  DType dtype = DType::kF32;

  [[nodiscard]] int64_t elems() const { return shape.elems(); }
  [[nodiscard]] int64_t bytes() const { return elems() * static_cast<int64_t>(size_of(dtype)); }
  [[nodiscard]] explicit operator bool() const { return data != nullptr; }

  // The elements as T; throws Error{kInternal} when T is not the dtype.
  template <class T>
  [[nodiscard]] auto as() const {
    check(dtype_of<T>() == dtype, "view {}: read as {}, holds {}", shape, name_of(dtype_of<T>()),
          name_of(dtype));
    if constexpr (std::is_const_v<std::remove_pointer_t<Pointer>>)
      return static_cast<const T*>(data);
    else
      return static_cast<T*>(data);
  }
};

using View = BasicView<void*>;

struct ConstView : BasicView<const void*> {
  ConstView() = default;
  ConstView(const View& v) : BasicView{v.data, v.shape, v.dtype} {}  // NOLINT: a view to read from
  ConstView(const void* data, const Shape& shape, DType dtype) : BasicView{data, shape, dtype} {}
};

// Throws Error{kInternal} "<op>: <name> is (4,96), expected (8,96)" unless the shapes are equal.
inline void check_shape(std::string_view op, std::string_view name, const Shape& found,
                        const Shape& expected) {
  check(found == expected, "{}: {} is {}, expected {}", op, name, found, expected);
}

}  // namespace bigbigan
