#include "tests/harness/values.h"

#include "kernels/common/dispatch.h"

namespace bigbigan {

std::vector<double> read(ConstView t) {
  std::vector<double> values(t.elems());
  dispatch_float("harness", t.dtype, [&]<class T>(TypeTag<T>) {
    const T* from = t.as<T>();
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(from[i]);
  });
  return values;
}

void write(View t, std::span<const double> values) {
  check(t.elems() == static_cast<int64_t>(values.size()), "harness: {} values for {}",
        values.size(), to_string(t.shape));
  dispatch_float("harness", t.dtype, [&]<class T>(TypeTag<T>) {
    T* to = t.as<T>();
    for (size_t i = 0; i < values.size(); ++i) to[i] = T(Accum<T>(values[i]));
  });
}

Tensor tensor_of(const Context& ctx, const Shape& shape, DType dtype,
                 std::span<const double> values) {
  const Tensor t = Tensor::empty(ctx, shape, dtype);
  write(t, values);
  return t;
}

}  // namespace bigbigan
