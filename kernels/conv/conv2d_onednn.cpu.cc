#include "kernels/conv/conv2d_onednn.h"

#include <oneapi/dnnl/dnnl.hpp>

#include <map>
#include <memory>
#include <mutex>
#include <tuple>
#include <vector>

#include "kernels/common/one_thread.h"

namespace bigbigan::onednn {
namespace {

using dnnl::memory;
using Tag = memory::format_tag;

const dnnl::engine& cpu() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

// One convolution of a fixed number of samples, ready to run. Reorders go between KRSC and the
// layout the primitive wants its weights in.
struct Plan {
  dnnl::primitive primitive;
  dnnl::reorder to_library, from_library;
  memory::desc x, y, bias, krsc, library;
  int64_t scratchpad_bytes = 0;
  // oneDNN 2.6 gathers the pixels that a strided 1x1 convolution reads in the scratchpad, in packs
  // of channels, but asks for the channels without the rest of the last pack: it writes beyond the
  // end.
  int64_t overrun_bytes = 0;
};

struct Key {
  ConvPass pass;
  ConvGeometry g;
  bool has_bias;

  [[nodiscard]] auto tie() const {
    return std::tie(pass, g.n, g.h, g.w, g.c, g.k, g.r, g.s, g.stride, g.pad, has_bias);
  }
  bool operator<(const Key& other) const { return tie() < other.tie(); }
};

Plan make_plan(const Key& key) {
  const ConvGeometry& g = key.g;
  const auto f32 = memory::data_type::f32;
  const memory::dims strides = {g.stride, g.stride}, pads = {g.pad, g.pad};
  // What is left over at the far edge when the stride does not divide is not read.
  const memory::dims far = {(g.p - 1) * g.stride + g.r - g.h - g.pad,
                            (g.q - 1) * g.stride + g.s - g.w - g.pad};
  Plan plan;
  plan.x = {{g.n, g.c, g.h, g.w}, f32, Tag::nhwc};
  plan.y = {{g.n, g.k, g.p, g.q}, f32, Tag::nhwc};
  plan.krsc = {{g.k, g.c, g.r, g.s}, f32, Tag::ohwi};
  const memory::desc any({g.k, g.c, g.r, g.s}, f32, Tag::any);
  const auto kind = dnnl::prop_kind::forward_training;
  const auto direct = dnnl::algorithm::convolution_direct;
  using Forward = dnnl::convolution_forward;
  if (key.has_bias) plan.bias = {{g.k}, f32, Tag::a};
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  const Forward::primitive_desc forward(
      key.has_bias ? Forward::desc(kind, direct, plan.x, any, plan.bias, plan.y, strides, pads, far)
                   : Forward::desc(kind, direct, plan.x, any, plan.y, strides, pads, far),
      attr, cpu());
  const auto finish = [&](const auto& pd, const memory::desc& weights) {
    plan.library = weights;
    plan.scratchpad_bytes = static_cast<int64_t>(pd.scratchpad_desc().get_size());
  };
  if (key.pass == ConvPass::kFprop) {
    plan.primitive = Forward(forward);
    finish(forward, forward.weights_desc());
  } else if (key.pass == ConvPass::kDgrad) {
    using Backward = dnnl::convolution_backward_data;
    const Backward::primitive_desc pd(
        Backward::desc(direct, plan.x, any, plan.y, strides, pads, far), attr, cpu(), forward);
    plan.primitive = Backward(pd);
    finish(pd, pd.weights_desc());
  } else {
    using Backward = dnnl::convolution_backward_weights;
    const Backward::primitive_desc pd(
        Backward::desc(direct, plan.x, any, plan.y, strides, pads, far), attr, cpu(), forward);
    plan.primitive = Backward(pd);
    finish(pd, pd.diff_weights_desc());
  }
  constexpr int64_t kPackBytes = 64;
  if (g.r == 1 && g.stride > 1) plan.overrun_bytes = g.h * g.w * kPackBytes;
  plan.to_library = dnnl::reorder({cpu(), plan.krsc, cpu(), plan.library});
  plan.from_library = dnnl::reorder({cpu(), plan.library, cpu(), plan.krsc});
  return plan;
}

// Plans by geometry, made once per process (a vendor handle cache).
std::shared_ptr<const Plan> plan_for(const Key& key) {
  static std::mutex mutex;
  static std::map<Key, std::shared_ptr<const Plan>> plans;
  const std::lock_guard lock(mutex);
  auto& plan = plans[key];
  if (!plan) {
    const OneThread one_thread;
    try {
      plan = std::make_shared<const Plan>(make_plan(key));
    } catch (const dnnl::error& e) {
      fail(ExitCode::kInternal, "conv2d: oneDNN: {} for x {}, weight {}, stride {}, pad {}",
           e.what(), key.g.x(), key.g.weight(), key.g.stride, key.g.pad);
    }
  }
  return plan;
}

memory wrap(const memory::desc& desc, const void* data) {
  return {desc, cpu(), const_cast<void*>(data)};
}

// The calling thread's workspace for one primitive (a vendor handle cache).
void* workspace(int64_t bytes) {
  thread_local std::vector<std::max_align_t> buffer;
  const size_t units = (bytes + 63) / sizeof(std::max_align_t) + 8;
  if (buffer.size() < units) buffer.resize(units);
  const auto address = reinterpret_cast<uintptr_t>(buffer.data());
  return reinterpret_cast<void*>((address + 63) / 64 * 64);
}

void execute(const Plan& plan, std::unordered_map<int, memory> args) {
  const OneThread one_thread;
  dnnl::stream stream(cpu());
  const memory::desc pad({plan.scratchpad_bytes}, memory::data_type::u8, Tag::a);
  if (plan.scratchpad_bytes > 0) {
    args.emplace(DNNL_ARG_SCRATCHPAD,
                 wrap(pad, workspace(plan.scratchpad_bytes + plan.overrun_bytes)));
  }
  plan.primitive.execute(stream, args);
}

void run_reorder(const dnnl::reorder& reorder, const memory& from, const memory& to) {
  const OneThread one_thread;
  dnnl::stream stream(cpu());
  reorder.execute(stream, const_cast<memory&>(from), const_cast<memory&>(to));
}

// Samples per chunk: enough work to pay for a call, at most 16 chunks; fixed by the problem.
int64_t samples_per_chunk(const ConvGeometry& g) {
  constexpr double kFlopsPerChunk = 8e6;
  const double per_sample = std::max(1.0, g.flops() / static_cast<double>(g.n));
  const auto by_work = static_cast<int64_t>(kFlopsPerChunk / per_sample) + 1;
  return std::min(g.n, std::max(by_work, (g.n + 15) / 16));
}

ConvGeometry with_samples(ConvGeometry g, int64_t n) {
  g.n = n;
  return g;
}

int64_t rounded(int64_t bytes) { return (bytes + 63) / 64 * 64; }

int64_t library_bytes(const Plan& plan) {
  return rounded(static_cast<int64_t>(plan.library.get_size()));
}

// Runs body(chunk, first sample, samples) in parallel.
template <class Body>
void for_sample_chunks(const CpuExec& ex, const ConvGeometry& g, const Body& body) {
  ex.for_range(g.n, samples_per_chunk(g), [&](int64_t begin, int64_t end) {
    body(begin / samples_per_chunk(g), begin, end - begin);
  });
}

bool same_layout(const Plan& plan) { return plan.library == plan.krsc; }

// The weights in the plan's layout: `w` itself, or a copy in scratch. Plans of all chunk sizes must
// agree.
const void* library_weights(const Plan& plan, const float* w, View scratch) {
  if (same_layout(plan)) return w;
  run_reorder(plan.to_library, wrap(plan.krsc, w), wrap(plan.library, scratch.data));
  return scratch.data;
}

// A weight layout for the last, smaller chunk may differ: then that chunk has its own copy behind
// the first.
struct Weights {
  std::shared_ptr<const Plan> full, rest;
  const void* for_full = nullptr;
  const void* for_rest = nullptr;

  Weights(ConvPass pass, const ConvGeometry& g, bool has_bias, const float* w, View scratch) {
    const int64_t chunk = samples_per_chunk(g);
    full = plan_for({pass, with_samples(g, chunk), has_bias});
    for_full = library_weights(*full, w, scratch);
    if (g.n % chunk == 0) return;
    rest = plan_for({pass, with_samples(g, g.n % chunk), has_bias});
    for_rest = for_full;
    if (rest->library == full->library) return;
    View second = scratch;
    second.data = static_cast<std::byte*>(scratch.data) + library_bytes(*full);
    for_rest = library_weights(*rest, w, second);
  }
};

}  // namespace

int64_t conv2d_scratch_bytes(ConvPass pass, const ConvGeometry& g) {
  const int64_t chunk = samples_per_chunk(g);
  const auto full = plan_for({pass, with_samples(g, chunk), false});
  const int64_t rest =
      g.n % chunk == 0 ? 0 : library_bytes(*plan_for({pass, with_samples(g, g.n % chunk), false}));
  if (pass != ConvPass::kWgrad) {
    // With `accumulate` the new gradient is formed apart, then added.
    const int64_t apart = pass == ConvPass::kDgrad ? g.x().elems() * int64_t(sizeof(float)) : 0;
    return 2 * std::max(library_bytes(*full), rest) + apart;
  }
  return (g.n + chunk - 1) / chunk * std::max(library_bytes(*full), rest) +
         rounded(g.weight().elems() * int64_t(sizeof(float)));
}

void conv2d_fprop(const CpuExec& ex, const ConvGeometry& g, const float* x, const float* w,
                  const float* bias, bool relu, float* y, View scratch) {
  const Weights weights(ConvPass::kFprop, g, bias != nullptr, w, scratch);
  const int64_t image = g.p * g.q * g.k;
  for_sample_chunks(ex, g, [&](int64_t, int64_t first, int64_t count) {
    const bool is_rest = weights.rest && first + count == g.n;
    const Plan& plan = is_rest ? *weights.rest : *weights.full;
    float* out = y + first * image;
    std::unordered_map<int, memory> args = {
        {DNNL_ARG_SRC, wrap(plan.x, x + first * g.h * g.w * g.c)},
        {DNNL_ARG_WEIGHTS, wrap(plan.library, is_rest ? weights.for_rest : weights.for_full)},
        {DNNL_ARG_DST, wrap(plan.y, out)}};
    if (bias != nullptr) args.emplace(DNNL_ARG_BIAS, wrap(plan.bias, bias));
    execute(plan, std::move(args));
    if (!relu) return;
    // oneDNN's own ReLU would make 0 of a NaN. The chunk is in the cache still.
    for (int64_t i = 0; i < count * image; ++i) out[i] = out[i] < 0 ? 0 : out[i];
  });
}

void conv2d_dgrad(const CpuExec& ex, const ConvGeometry& g, const float* d_y, const float* w,
                  const float* bias, float* d_x, bool accumulate, View scratch) {
  const Weights weights(ConvPass::kDgrad, g, false, w, scratch);
  auto* apart = reinterpret_cast<float*>(static_cast<std::byte*>(scratch.data) + scratch.elems()) -
                g.x().elems();
  const int64_t image = g.h * g.w * g.c;
  for_sample_chunks(ex, g, [&](int64_t, int64_t first, int64_t count) {
    const bool is_rest = weights.rest && first + count == g.n;
    const Plan& plan = is_rest ? *weights.rest : *weights.full;
    float* target = d_x + first * image;
    float* out = accumulate ? apart + first * image : target;
    execute(plan,
            {{DNNL_ARG_DIFF_DST, wrap(plan.y, d_y + first * g.p * g.q * g.k)},
             {DNNL_ARG_WEIGHTS, wrap(plan.library, is_rest ? weights.for_rest : weights.for_full)},
             {DNNL_ARG_DIFF_SRC, wrap(plan.x, out)}});
    if (accumulate) {
      for (int64_t i = 0; i < count * image; ++i) target[i] += out[i];
    }
    if (bias != nullptr) {
      for (int64_t pixel = 0; pixel < count * g.h * g.w; ++pixel) {
        for (int64_t c = 0; c < g.c; ++c) target[pixel * g.c + c] += bias[c];
      }
    }
  });
}

void conv2d_wgrad(const CpuExec& ex, const ConvGeometry& g, const float* x, const float* d_y,
                  float* d_w, bool accumulate, View scratch) {
  const int64_t chunk = samples_per_chunk(g), chunks = (g.n + chunk - 1) / chunk;
  const auto full = plan_for({ConvPass::kWgrad, with_samples(g, chunk), false});
  const auto rest =
      g.n % chunk == 0 ? full : plan_for({ConvPass::kWgrad, with_samples(g, g.n % chunk), false});
  const int64_t stride = std::max(library_bytes(*full), library_bytes(*rest));
  auto* partial = static_cast<std::byte*>(scratch.data);
  for_sample_chunks(ex, g, [&](int64_t index, int64_t first, int64_t count) {
    const Plan& plan = count == chunk ? *full : *rest;
    execute(plan, {{DNNL_ARG_SRC, wrap(plan.x, x + first * g.h * g.w * g.c)},
                   {DNNL_ARG_DIFF_DST, wrap(plan.y, d_y + first * g.p * g.q * g.k)},
                   {DNNL_ARG_DIFF_WEIGHTS, wrap(plan.library, partial + index * stride)}});
  });
  // Chunks of one layout are added up in that layout; the odd one out is brought to KRSC by itself.
  const bool one_layout = rest->library == full->library;
  const int64_t summed = one_layout ? chunks : chunks - 1;
  auto* sum = reinterpret_cast<float*>(partial);
  const auto library_elems = static_cast<int64_t>(full->library.get_size() / sizeof(float));
  for (int64_t i = 1; i < summed; ++i) {
    const auto* next = reinterpret_cast<const float*>(partial + i * stride);
    for (int64_t j = 0; j < library_elems; ++j) sum[j] += next[j];
  }
  auto* krsc = reinterpret_cast<float*>(partial + chunks * stride);
  const auto bring = [&](const Plan& plan, const std::byte* from, bool add) {
    run_reorder(plan.from_library, wrap(plan.library, from), wrap(plan.krsc, add ? krsc : d_w));
    if (!add) return;
    for (int64_t i = 0; i < g.weight().elems(); ++i) d_w[i] += krsc[i];
  };
  bring(*full, partial, accumulate);
  if (!one_layout) bring(*rest, partial + (chunks - 1) * stride, true);
}

}  // namespace bigbigan::onednn
