#include "kernels/common/dispatch.cuh"
#include "kernels/common/pack.cuh"
#include "kernels/elementwise/unary.h"

namespace bigbigan {
namespace {

constexpr int kThreads = 256;  // memory-bound: enough warps to hide latency at any register count

// Values of y from x.
struct Relu {
  __device__ float operator()(float x) const { return x < 0 ? 0.0f : x; }  // keeps a NaN
};
struct Tanh {
  __device__ float operator()(float x) const { return tanhf(x); }
};
struct Softplus {
  __device__ float operator()(float x) const { return fmaxf(x, 0) + log1pf(expf(-fabsf(x))); }
};
struct Scale {
  float factor;
  __device__ float operator()(float x) const { return factor * x; }
};

// Derivatives from what backward reads: the output, or softplus's input.
struct ReluSlope {
  __device__ float operator()(float y) const { return y > 0 ? 1.0f : 0.0f; }
};
struct TanhSlope {
  __device__ float operator()(float y) const { return 1 - y * y; }
};
struct SoftplusSlope {
  __device__ float operator()(float x) const { return 1 / (1 + expf(-x)); }
};

// y (+)= f(x)
template <class T, class F>
__global__ void map_kernel(const T* __restrict__ x, int64_t n, F f, bool accumulate, T* y) {
  for_each_pack<kPackElems<T>>(n, all_aligned(x, y), [&](auto width, int64_t i) {
    float in[width], out[width];
    load(x + i, in);
    if (accumulate) load(y + i, out);
    for (int k = 0; k < width; ++k) out[k] = (accumulate ? out[k] : 0.0f) + f(in[k]);
    store(y + i, out);
  });
}

// d_x (+)= d_y slope(saved)
template <class T, class F>
__global__ void map_backward_kernel(const T* __restrict__ saved, const T* __restrict__ d_y,
                                    int64_t n, F slope, bool accumulate, T* d_x) {
  for_each_pack<kPackElems<T>>(n, all_aligned(saved, d_y, d_x), [&](auto width, int64_t i) {
    float at[width], in[width], out[width];
    load(saved + i, at);
    load(d_y + i, in);
    if (accumulate) load(d_x + i, out);
    for (int k = 0; k < width; ++k) out[k] = (accumulate ? out[k] : 0.0f) + in[k] * slope(at[k]);
    store(d_x + i, out);
  });
}

// y = x, of f32 and bf16
template <class From, class To>
__global__ void convert_kernel(const From* __restrict__ x, int64_t n, To* __restrict__ y) {
  for_each_pack<kPackElems<float>>(n, all_aligned(x, y), [&](auto width, int64_t i) {
    float v[width];
    load(x + i, v);
    store(y + i, v);
  });
}

template <class F>
void map(const CudaExec& ex, const char* op, ConstView x, const F& f, bool accumulate, View y) {
  check(x.elems() == y.elems(), "{}: {} to {}", op, x.shape, y.shape);
  const int64_t n = x.elems();
  dispatch_cuda(op, x.dtype, [&]<class T>(TypeTag<T>) {
    launch(map_kernel<T, F>, pack_blocks<kPackElems<T>>(n, kThreads), kThreads, 0, ex.stream,
           x.as<T>(), n, f, accumulate, y.as<T>());
  });
}

template <class F>
void map_backward(const CudaExec& ex, const char* op, ConstView saved, ConstView d_y,
                  const F& slope, View d_x, bool accumulate) {
  check_shape(op, "d_y", d_y.shape, saved.shape);
  check_shape(op, "d_x", d_x.shape, saved.shape);
  const int64_t n = saved.elems();
  dispatch_cuda(op, saved.dtype, [&]<class T>(TypeTag<T>) {
    launch(map_backward_kernel<T, F>, pack_blocks<kPackElems<T>>(n, kThreads), kThreads, 0,
           ex.stream, saved.as<T>(), d_y.as<T>(), n, slope, accumulate, d_x.as<T>());
  });
}

}  // namespace

void relu_forward(const CudaExec& ex, ConstView x, View y) {
  const Observed observed(ex);
  map(ex, "relu", x, Relu{}, false, y);
}

void relu_backward(const CudaExec& ex, ConstView y, ConstView d_y, View d_x, bool accumulate) {
  const Observed observed(ex);
  map_backward(ex, "relu", y, d_y, ReluSlope{}, d_x, accumulate);
}

void tanh_forward(const CudaExec& ex, ConstView x, View y) {
  const Observed observed(ex);
  map(ex, "tanh", x, Tanh{}, false, y);
}

void tanh_backward(const CudaExec& ex, ConstView y, ConstView d_y, View d_x, bool accumulate) {
  const Observed observed(ex);
  map_backward(ex, "tanh", y, d_y, TanhSlope{}, d_x, accumulate);
}

void softplus_forward(const CudaExec& ex, ConstView x, View y) {
  const Observed observed(ex);
  map(ex, "softplus", x, Softplus{}, false, y);
}

void softplus_backward(const CudaExec& ex, ConstView x, ConstView d_y, View d_x, bool accumulate) {
  const Observed observed(ex);
  map_backward(ex, "softplus", x, d_y, SoftplusSlope{}, d_x, accumulate);
}

void scale(const CudaExec& ex, ConstView x, double factor, View y, bool accumulate) {
  const Observed observed(ex);
  map(ex, "scale", x, Scale{static_cast<float>(factor)}, accumulate, y);
}

void convert(const CudaExec& ex, ConstView x, View y) {
  const Observed observed(ex);
  check(x.elems() == y.elems(), "convert: {} to {}", x.shape, y.shape);
  const int64_t n = x.elems();
  const auto copy = [&]<class From, class To>(const From* in, To* out) {
    launch(convert_kernel<From, To>, pack_blocks<kPackElems<float>>(n, kThreads), kThreads, 0,
           ex.stream, in, n, out);
  };
  if (x.dtype == DType::kBF16) {
    copy(x.as<bf16>(), y.as<float>());
  } else {
    copy(x.as<float>(), y.as<bf16>());
  }
}

}  // namespace bigbigan
