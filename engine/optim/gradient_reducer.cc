#include "engine/optim/gradient_reducer.h"

#include "kernels/elementwise/unary.h"

namespace bigbigan {

GradientReducer::GradientReducer(const Context& ctx, ParamStore& store, int64_t bucket_bytes,
                                 DType payload)
    : ctx_(ctx),
      store_(store),
      bucket_of_(store.entries().size()),
      is_ready_(store.entries().size()) {
  const Tensor& grad = store.grad;
  if (payload != grad.dtype()) {
    if (payload != DType::kBF16 || grad.dtype() != DType::kF32) {
      fail(ExitCode::kConfig,
           "{}: gradients of {} cannot travel as {}: as they are, or f32 as bf16", store.name(),
           name_of(grad.dtype()), name_of(payload));
    }
    payload_ = Tensor::empty(ctx, grad.shape(), payload, MemoryTag::kGradients);
  }
  const auto elem_bytes = static_cast<int64_t>(size_of(grad.dtype()));
  for (auto i = static_cast<int64_t>(store.entries().size()) - 1; i >= 0; --i) {
    const ParamStore::Entry& entry = store.entries()[i];
    const int64_t end = buckets_.empty() ? grad.elems() : buckets_.back().begin;
    if (buckets_.empty() ||
        (buckets_.back().end - buckets_.back().begin) * elem_bytes >= bucket_bytes) {
      buckets_.push_back({.begin = end, .end = end});
    }
    Bucket& bucket = buckets_.back();
    bucket.begin = entry.offset;
    bucket.entries += entry.frozen ? 0 : 1;
    bucket.waits_for = bucket.entries;
    bucket_of_[i] = static_cast<int64_t>(buckets_.size()) - 1;
  }
}

void GradientReducer::ready(int64_t entry) {
  check(!is_ready_.at(entry), "{}: the gradient of {} is complete twice", store_.name(),
        store_.entries()[entry].name);
  is_ready_[entry] = true;
  Bucket& bucket = buckets_[bucket_of_[entry]];
  if (--bucket.waits_for == 0 && !store_.is_sharded()) start(bucket);
}

void GradientReducer::start(Bucket& bucket) {
  bucket.is_started = true;
  Tensor part = store_.grad.slice(bucket.begin, bucket.end);
  if (payload_) {
    const Tensor rounded = payload_.slice(bucket.begin, bucket.end);
    ctx_.run([&](const auto& ex) { convert(ex, part, rounded); });
    part = rounded;
  }
  ctx_.comm->start_sum(part);
}

void GradientReducer::sum_part() {
  const Tensor mine = store_.part(store_.grad);
  if (!payload_) return ctx_.comm->reduce_scatter_sum(store_.grad, mine);
  const Tensor rounded = store_.part(payload_);
  ctx_.run([&](const auto& ex) { convert(ex, store_.grad, payload_); });
  ctx_.comm->reduce_scatter_sum(payload_, rounded);
  ctx_.run([&](const auto& ex) { convert(ex, rounded, mine); });
}

void GradientReducer::finish() {
  for (Bucket& bucket : buckets_) {
    if (!bucket.is_started && !store_.is_sharded()) start(bucket);
    bucket.is_started = false;
    bucket.waits_for = bucket.entries;
  }
  is_ready_.assign(is_ready_.size(), false);
  if (store_.is_sharded()) return sum_part();
  ctx_.comm->finish_sums();
  if (payload_) ctx_.run([&](const auto& ex) { convert(ex, payload_, store_.grad); });
}

}  // namespace bigbigan
