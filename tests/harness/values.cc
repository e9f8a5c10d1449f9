#include "tests/harness/values.h"

#include <algorithm>

#include "kernels/common/dispatch.h"

namespace bigbigan {

std::vector<double> read(const Tensor& t) {
  std::vector<double> values(t.elems());
  dispatch_float("harness", t.dtype(), [&]<class T>(TypeTag<T>) {
    const std::vector<T> from = t.to_vector<T>();
    std::transform(from.begin(), from.end(), values.begin(),
                   [](T v) { return static_cast<double>(v); });
  });
  return values;
}

void write(const Tensor& t, std::span<const double> values) {
  check(t.elems() == static_cast<int64_t>(values.size()), "harness: {} values for {}",
        values.size(), t.shape());
  dispatch_float("harness", t.dtype(), [&]<class T>(TypeTag<T>) {
    std::vector<T> to(values.size());
    std::transform(values.begin(), values.end(), to.begin(),
                   [](double v) { return T(Accum<T>(v)); });
    t.write(to.data());
  });
}

Tensor tensor_of(const Context& ctx, const Shape& shape, DType dtype,
                 std::span<const double> values) {
  const Tensor t = Tensor::empty(ctx, shape, dtype);
  write(t, values);
  return t;
}

}  // namespace bigbigan
