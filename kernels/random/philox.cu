#include "kernels/random/philox.h"

#include <Random123/philox.h>

#include "kernels/common/dispatch.cuh"
#include "kernels/common/width.cuh"

namespace bigbigan {
namespace {

constexpr int kThreads = 256;        // one block of words per thread, or one pack
constexpr int kNumbersPerBlock = 4;  // 32-bit words of a Philox block, and floats of a pack

// (0, 1], as on the CPU.
__device__ inline float unit_interval(uint32_t word) {
  return (static_cast<float>(word >> 8) + 1.0f) * 0x1p-24f;
}

// Four numbers of four words.
struct Uniform {
  __device__ void operator()(const uint32_t (&word)[4], float (&out)[4]) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) out[i] = static_cast<float>(word[i] >> 8) * 0x1p-23f - 1.0f;
  }
};
struct Normal {
  __device__ void operator()(const uint32_t (&word)[4], float (&out)[4]) const {
#pragma unroll
    for (int i = 0; i < 4; i += 2) {
      const float radius = sqrtf(-2.0f * logf(unit_interval(word[i])));
      float sine, cosine;
      sincospif(2.0f * unit_interval(word[i + 1]), &sine, &cosine);
      out[i] = radius * cosine;
      out[i + 1] = radius * sine;
    }
  }
};

// Where the words come from.
struct Source {
  uint64_t seed;
  uint32_t stream;
  const int64_t* first_sample;  // read on the device: it moves on between replays of a graph
};

// out (rows, width); W is 4 or 1, the elements that one access takes.
template <class T, int W, class Transform>
__global__ void fill_kernel(Source source, int64_t rows, int64_t width, Transform transform,
                            T* out) {
  const int64_t blocks = (width + kNumbersPerBlock - 1) / kNumbersPerBlock;  // of a row
  for (int64_t i = grid_thread(); i < rows * blocks; i += grid_threads()) {
    const int64_t row = i / blocks, block = i - row * blocks;
    const auto sample = static_cast<uint64_t>(*source.first_sample + row);
    const r123::Philox4x32::ctr_type counter = {
        {static_cast<uint32_t>(block), static_cast<uint32_t>(sample),
         static_cast<uint32_t>(sample >> 32), source.stream}};
    const r123::Philox4x32::key_type key = {
        {static_cast<uint32_t>(source.seed), static_cast<uint32_t>(source.seed >> 32)}};
    const r123::Philox4x32::ctr_type random = r123::Philox4x32()(counter, key);
    const uint32_t words[4] = {random.v[0], random.v[1], random.v[2], random.v[3]};
    float numbers[kNumbersPerBlock];
    transform(words, numbers);
    T* to = out + row * width + block * kNumbersPerBlock;
    if constexpr (W == kNumbersPerBlock) {
      store(to, numbers);
    } else {
#pragma unroll
      for (int k = 0; k < kNumbersPerBlock; ++k) {
        if (block * kNumbersPerBlock + k < width) to[k] = from_float<T>(numbers[k]);
      }
    }
  }
}

template <class Transform>
void fill(const CudaExec& ex, const RandomArgs& args, View out, const Transform& transform) {
  if (out.elems() == 0) return;
  const int64_t rows = out.shape[0], width = out.elems() / rows;
  const Source source = {args.seed, static_cast<uint32_t>(args.stream),
                         args.first_sample.as<int64_t>()};
  const int64_t grid = pack_blocks<1>(rows * blocks_for(width, kNumbersPerBlock), kThreads);
  dispatch_cuda("random", out.dtype, [&]<class T>(TypeTag<T>) {
    dispatch_width<float>(width, all_aligned(out.data), [&]<int W>(Width<W>) {
      launch(fill_kernel<T, W, Transform>, grid, kThreads, 0, ex.stream, source, rows, width,
             transform, out.as<T>());
    });
  });
}

// z = mean + eps softplus(raw), stats (N, 2 width) = [mean, raw].
template <class T, int W>
__global__ void reparametrize_kernel(const T* __restrict__ stats, const T* __restrict__ eps,
                                     int64_t elems, int64_t width, T* z) {
  for (int64_t i = grid_thread() * W; i < elems; i += grid_threads() * W) {
    const T* row = stats + i + i / width * width;
    float mean[W], raw[W], e[W];
    load(row, mean);
    load(row + width, raw);
    load(eps + i, e);
#pragma unroll
    for (int k = 0; k < W; ++k) {
      mean[k] += e[k] * (fmaxf(raw[k], 0) + log1pf(expf(-fabsf(raw[k]))));
    }
    store(z + i, mean);
  }
}

template <class T, int W>
__global__ void reparametrize_backward_kernel(const T* __restrict__ stats,
                                              const T* __restrict__ eps, const T* __restrict__ d_z,
                                              int64_t elems, int64_t width, bool accumulate,
                                              T* d_stats) {
  for (int64_t i = grid_thread() * W; i < elems; i += grid_threads() * W) {
    const int64_t at = i + i / width * width;
    float raw[W], e[W], g[W], d_mean[W] = {}, d_raw[W] = {};
    load(stats + at + width, raw);
    load(eps + i, e);
    load(d_z + i, g);
    if (accumulate) {
      load(d_stats + at, d_mean);
      load(d_stats + at + width, d_raw);
    }
#pragma unroll
    for (int k = 0; k < W; ++k) {
      d_mean[k] += g[k];
      d_raw[k] += g[k] * e[k] / (1 + expf(-raw[k]));
    }
    store(d_stats + at, d_mean);
    store(d_stats + at + width, d_raw);
  }
}

}  // namespace

void random_uniform(const CudaExec& ex, const RandomArgs& args, View out) {
  const Observed observed(ex);
  fill(ex, args, out, Uniform{});
}

void random_normal(const CudaExec& ex, const RandomArgs& args, View out) {
  const Observed observed(ex);
  fill(ex, args, out, Normal{});
}

void reparametrize_forward(const CudaExec& ex, ConstView stats, ConstView eps, View z) {
  const Observed observed(ex);
  const int64_t n = eps.shape[0], width = eps.shape[1];
  check_shape("reparametrize", "stats", stats.shape, {n, 2 * width});
  check_shape("reparametrize", "z", z.shape, {n, width});
  dispatch_cuda("reparametrize", stats.dtype, [&]<class T>(TypeTag<T>) {
    const T *from = stats.as<T>(), *noise = eps.as<T>();
    T* to = z.as<T>();
    dispatch_width<T>(width, all_aligned(from, noise, to), [&]<int W>(Width<W>) {
      launch(reparametrize_kernel<T, W>, pack_blocks<W>(n * width, kThreads), kThreads, 0,
             ex.stream, from, noise, n * width, width, to);
    });
  });
}

void reparametrize_backward(const CudaExec& ex, ConstView stats, ConstView eps, ConstView d_z,
                            View d_stats, bool accumulate) {
  const Observed observed(ex);
  const int64_t n = eps.shape[0], width = eps.shape[1];
  check_shape("reparametrize", "stats", stats.shape, {n, 2 * width});
  check_shape("reparametrize", "d_z", d_z.shape, {n, width});
  check_shape("reparametrize", "d_stats", d_stats.shape, stats.shape);
  dispatch_cuda("reparametrize", stats.dtype, [&]<class T>(TypeTag<T>) {
    const T *from = stats.as<T>(), *noise = eps.as<T>(), *g = d_z.as<T>();
    T* to = d_stats.as<T>();
    dispatch_width<T>(width, all_aligned(from, noise, g, to), [&]<int W>(Width<W>) {
      launch(reparametrize_backward_kernel<T, W>, pack_blocks<W>(n * width, kThreads), kThreads, 0,
             ex.stream, from, noise, g, n * width, width, accumulate, to);
    });
  });
}

}  // namespace bigbigan
