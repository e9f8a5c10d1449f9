#include "engine/optim/gradient_reducer.h"

#include "kernels/elementwise/unary.h"

namespace bigbigan {

GradientReducer::GradientReducer(const Context& ctx, ParamStore& store, DType payload)
    : ctx_(ctx),
      store_(store),
      buckets_(store.buckets().size()),
      bucket_of_(store.entries().size()),
      is_ready_(store.entries().size()) {
  const Tensor& grad = store.grad;
  if (payload != grad.dtype()) {
    if (payload != DType::kBF16 || grad.dtype() != DType::kF32) {
      fail(ExitCode::kConfig,
           "{}: gradients of {} cannot travel as {}: as they are, or f32 as bf16", store.name(),
           name_of(grad.dtype()), name_of(payload));
    }
    if (rank_count(ctx.comm) > 1) {
      payload_ = Tensor::empty(ctx, grad.shape(), payload, MemoryTag::kGradients);
    }
  }
  int64_t bucket = 0;
  for (int64_t i = std::ssize(bucket_of_) - 1; i >= 0; --i) {
    const ParamStore::Entry& entry = store.entries()[i];
    while (entry.offset < store.buckets()[bucket].begin) ++bucket;
    bucket_of_[i] = bucket;
    if (!entry.frozen) buckets_[bucket].waits_for = ++buckets_[bucket].entries;
  }
}

void GradientReducer::ready(int64_t entry) {
  check(!is_ready_.at(entry), "{}: the gradient of {} is complete twice", store_.name(),
        store_.entries()[entry].name);
  is_ready_[entry] = true;
  const int64_t bucket = bucket_of_[entry];
  if (--buckets_[bucket].waits_for == 0) start(bucket);
}

void GradientReducer::start(int64_t bucket) {
  buckets_[bucket].is_started = true;
  const auto [begin, end] = store_.buckets()[bucket];
  const Tensor& flat = payload_ ? payload_ : store_.grad;
  const Tensor values = flat.slice(begin, end);
  if (payload_) {
    ctx_.run([&](const auto& ex) { convert(ex, store_.grad.slice(begin, end), values); });
  }
  if (!store_.is_sharded()) return ctx_.comm->start_sum(values);
  ctx_.comm->start_reduce_scatter_sum(values, store_.piece(flat, bucket));
}

void GradientReducer::finish() {
  for (int64_t b = 0; b < std::ssize(buckets_); ++b) {
    if (!buckets_[b].is_started) start(b);
    buckets_[b].is_started = false;
    buckets_[b].waits_for = buckets_[b].entries;
  }
  is_ready_.assign(is_ready_.size(), false);
  ctx_.comm->finish_sums();
  for (int64_t i = 0; payload_ && i < store_.pieces(); ++i) {
    ctx_.run([&](const auto& ex) {
      convert(ex, store_.piece(payload_, i), store_.piece(store_.grad, i));
    });
  }
}

}  // namespace bigbigan
