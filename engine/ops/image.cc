#include "engine/ops/image.h"

#include "kernels/image/normalize.h"

namespace bigbigan {

Tensor normalize_image(const Context& ctx, const Tensor& pixels, const Tensor& flip) {
  const Tensor y = Tensor::empty(ctx, pixels.shape(), ctx.dtype);
  ctx.run([&](const auto& ex) { normalize_image(ex, pixels, flip, y); });
  return y;
}

Tensor denormalize_image(const Context& ctx, const Tensor& image) {
  const Tensor y = Tensor::empty(ctx, image.shape(), DType::kU8);
  ctx.run([&](const auto& ex) { denormalize_image(ex, image, y); });
  return y;
}

}  // namespace bigbigan
