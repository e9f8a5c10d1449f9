#include "kernels/conv/conv2d.h"

#include "kernels/common/dispatch.h"
#include "kernels/common/widened.h"
#include "kernels/conv/conv2d_loops.h"
#include "kernels/conv/conv2d_onednn.h"
#include "kernels/conv/conv2d_shapes.h"

namespace bigbigan {

ConvGeometry conv_geometry(const Shape& x, const Shape& w, int64_t stride, int64_t pad) {
  check(x.rank() == 4 && w.rank() == 4 && x[3] == w[3], "conv2d: x {} with weight {}", x, w);
  check(stride >= 1 && pad >= 0 && x[1] + 2 * pad >= w[1] && x[2] + 2 * pad >= w[2],
        "conv2d: x {} with weight {}, stride {}, pad {}", x, w, stride, pad);
  ConvGeometry g{.n = x[0],
                 .h = x[1],
                 .w = x[2],
                 .c = x[3],
                 .k = w[0],
                 .r = w[1],
                 .s = w[2],
                 .stride = stride,
                 .pad = pad};
  g.p = (g.h + 2 * pad - g.r) / stride + 1;
  g.q = (g.w + 2 * pad - g.s) / stride + 1;
  return g;
}

int64_t conv2d_scratch_bytes(const CpuExec&, ConvPass pass, const ConvGeometry& g, DType dtype,
                             const ConvExtras&) {
  return dtype != DType::kF64 && g.n > 0 ? onednn::conv2d_scratch_bytes(pass, g) : 0;
}

void conv2d_fprop(const CpuExec& ex, const ConvGeometry& g, ConstView x, ConstView w,
                  ConstView bias, bool relu, View y, View scratch) {
  if (x.dtype == DType::kBF16 && !ex.plan_only) {
    return conv2d_fprop(ex, g, Widened(x), Widened(w), Widened(bias), relu, WidenedResult(y, false),
                        scratch);
  }
  const Observed observed(ex, moved({x, w, bias, y}, g.flops()),
                          {g.n, g.h, g.w, g.c, g.k, g.r, g.s, g.stride, g.pad, bool(bias), relu});
  check_fprop(g, x, w, bias, y);
  if (ex.plan_only || y.elems() == 0) return;
  dispatch_real("conv2d", x.dtype, [&]<class T>(TypeTag<T>) {
    const T* b = bias ? bias.as<T>() : nullptr;
    if constexpr (std::is_same_v<T, float>) {
      onednn::conv2d_fprop(ex, g, x.as<T>(), w.as<T>(), b, relu, y.as<T>(), scratch);
    } else {
      loops::conv2d_fprop(ex, g, x.as<T>(), w.as<T>(), b, relu, y.as<T>());
    }
  });
}

void conv2d_dgrad(const CpuExec& ex, const ConvGeometry& g, ConstView d_y, ConstView w,
                  ConstView bias, View d_x, bool accumulate, View scratch) {
  if (d_y.dtype == DType::kBF16 && !ex.plan_only) {
    return conv2d_dgrad(ex, g, Widened(d_y), Widened(w), Widened(bias),
                        WidenedResult(d_x, accumulate), accumulate, scratch);
  }
  const Observed observed(
      ex, moved({d_y, w, bias, d_x}, g.flops()),
      {g.n, g.h, g.w, g.c, g.k, g.r, g.s, g.stride, g.pad, bool(bias), accumulate});
  check_dgrad(g, d_y, w, bias, d_x);
  if (ex.plan_only || d_x.elems() == 0) return;
  dispatch_real("conv2d", d_y.dtype, [&]<class T>(TypeTag<T>) {
    const T* b = bias ? bias.as<T>() : nullptr;
    if constexpr (std::is_same_v<T, float>) {
      onednn::conv2d_dgrad(ex, g, d_y.as<T>(), w.as<T>(), b, d_x.as<T>(), accumulate, scratch);
    } else {
      loops::conv2d_dgrad(ex, g, d_y.as<T>(), w.as<T>(), b, d_x.as<T>(), accumulate);
    }
  });
}

void conv2d_wgrad(const CpuExec& ex, const ConvGeometry& g, ConstView x, ConstView d_y, View d_w,
                  bool accumulate, View scratch) {
  if (x.dtype == DType::kBF16 && !ex.plan_only) {
    return conv2d_wgrad(ex, g, Widened(x), Widened(d_y), d_w, accumulate, scratch);
  }
  const Observed observed(ex, moved({x, d_y, d_w}, g.flops()),
                          {g.n, g.h, g.w, g.c, g.k, g.r, g.s, g.stride, g.pad, 0, accumulate});
  check_wgrad(g, x, d_y, d_w);
  if (ex.plan_only) return;
  dispatch_real("conv2d", x.dtype, [&]<class T>(TypeTag<T>) {
    if constexpr (std::is_same_v<T, float>) {
      if (g.n > 0) {
        return onednn::conv2d_wgrad(ex, g, x.as<T>(), d_y.as<T>(), d_w.as<T>(), accumulate,
                                    scratch);
      }
    }
    loops::conv2d_wgrad(ex, g, x.as<T>(), d_y.as<T>(), d_w.as<T>(), accumulate);
  });
}

}  // namespace bigbigan
