#include "engine/params/param_store.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "engine/params/init.h"
#include "kernels/common/dispatch.h"
#include "kernels/elementwise/unary.h"

namespace bigbigan {
namespace {

constexpr int64_t kPadElems = 16;  // 64 bytes of f32

int64_t padded(int64_t elems, int64_t parts = 1) {
  const int64_t unit = kPadElems * parts;
  return (elems + unit - 1) / unit * unit;
}

// Of the matrix (K, rest).
int64_t columns_of(const Shape& weight) { return weight.elems() / std::max<int64_t>(weight[0], 1); }

void write_doubles(const Tensor& target, std::span<const double> values) {
  dispatch_real("initialize", target.dtype(), [&]<class T>(TypeTag<T>) {
    std::vector<T> converted(values.size());
    std::transform(values.begin(), values.end(), converted.begin(),
                   [](double v) { return static_cast<T>(v); });
    target.write(converted.data());
  });
}

// Calls move(source index in KRSC, index in OIHW) for every element.
template <class Move>
void for_each_conv_element(const Shape& s, const Move& move) {
  int64_t krsc = 0;
  for (int64_t k = 0; k < s[0]; ++k)
    for (int64_t r = 0; r < s[1]; ++r)
      for (int64_t q = 0; q < s[2]; ++q)
        for (int64_t c = 0; c < s[3]; ++c) move(krsc++, ((k * s[3] + c) * s[1] + r) * s[2] + q);
}

}  // namespace

Var Param::operator()(const Context& ctx) const { return store->var(ctx, index, ctx.dtype); }
Var Param::master(const Context& ctx) const {
  return store->var(ctx, index, master_dtype(ctx.dtype));
}
const Shape& Param::shape() const { return store->entry(index).shape; }
Tensor Buffer::operator()() const { return store->buffer(index); }

Param ParamStore::add(std::string name, const Shape& shape, Init init, ParamLayout layout) {
  check(!value, "{}: {} declared after allocate()", name_, name);
  check(std::none_of(entries_.begin(), entries_.end(),
                     [&](const Entry& e) { return e.name == name; }),
        "{}: {} declared twice", name_, name);
  entries_.push_back({std::move(name), shape, layout, init});
  return {this, static_cast<int>(entries_.size()) - 1};
}

Buffer ParamStore::add_buffer(std::string name, const Shape& shape, BufferKind kind,
                              double initial) {
  check(!value, "{}: buffer {} declared after allocate()", name_, name);
  int64_t& elems = kind == BufferKind::kStatistics ? statistics_elems_ : directions_elems_;
  buffer_entries_.push_back({std::move(name), shape, kind, initial, elems});
  elems += padded(shape.elems());
  return {this, static_cast<int>(buffer_entries_.size()) - 1};
}

int ParamStore::normalize(const Param& weight, const Buffer& u) {
  check(!value, "{}: {} normalised after allocate()", name_, entries_.at(weight.index).name);
  check(normalized_.empty() || normalized_.back().entry < weight.index,
        "{}: {} normalised after one that was added later", name_, entries_[weight.index].name);
  entries_[weight.index].normalized = true;
  normalized_.push_back({weight.index, u.index, row_directions_elems_});
  row_directions_elems_ += padded(columns_of(weight.shape()));
  return static_cast<int>(normalized_.size()) - 1;
}

void ParamStore::lay_out(int64_t bucket_elems, int64_t parts) {
  std::vector<size_t> firsts;  // entry of each bucket, from the end
  int64_t elems = 0;
  for (size_t i = entries_.size(); i-- > 0;) {
    elems += padded(entries_[i].shape.elems());
    if (elems < bucket_elems && i > 0) continue;
    firsts.push_back(i);
    elems = 0;
  }
  buckets_.resize(firsts.size());
  elems_ = 0;
  for (size_t b = firsts.size(); b-- > 0;) {
    const size_t end = b == 0 ? entries_.size() : firsts[b - 1];
    const int64_t begin = elems_;
    for (size_t i = firsts[b]; i < end; ++i) {
      entries_[i].offset = elems_;
      elems_ += padded(entries_[i].shape.elems());
    }
    elems_ = begin + padded(elems_ - begin, parts);
    buckets_[b] = {begin, elems_};
  }
}

void ParamStore::allocate(const Context& ctx, bool training, const StoreDivision& division) {
  const auto flat = [&](int64_t elems, MemoryTag tag) {
    return Tensor::zeros(ctx, {elems}, master_dtype(ctx.dtype), tag);
  };
  ctx_ = ctx.with_tape(nullptr);
  shards_ = division.is_sharded && rank_count(ctx.comm) > 1 ? ctx.comm : nullptr;
  const int64_t parts = shards_ == nullptr ? 1 : shards_->size();
  const auto elem_bytes = static_cast<int64_t>(size_of(master_dtype(ctx.dtype)));
  lay_out((division.bucket_bytes - 1) / elem_bytes + 1, parts);
  if (ctx.dtype == DType::kBF16) {
    packed = Tensor::zeros(ctx, {elems_}, DType::kBF16, MemoryTag::kParameters);
  }
  value = flat(elems_, MemoryTag::kParameters);
  statistics = flat(statistics_elems_, MemoryTag::kBuffers);
  directions = flat(directions_elems_, MemoryTag::kBuffers);
  if (!training) return;
  grad = flat(elems_, MemoryTag::kGradients);
  row_directions_ = flat(row_directions_elems_, MemoryTag::kBuffers);
  sigmas_ = flat(std::ssize(normalized_), MemoryTag::kBuffers);
  adam_m = flat(elems_ / parts, MemoryTag::kOptimizer);
  adam_v = flat(elems_ / parts, MemoryTag::kOptimizer);
  if (!is_averaged_) return;
  ema = flat(elems_ / parts, MemoryTag::kOptimizer);
  ema_statistics = flat(statistics_elems_, MemoryTag::kBuffers);
}

void ParamStore::initialize(uint64_t seed) {
  for (const Entry& e : entries_) {
    std::vector<double> values(e.shape.elems(), e.init == Init::kOnes ? 1.0 : 0.0);
    if (e.init == Init::kOrthogonal) {
      values = orthogonal(seed, e.name, e.shape[0], columns_of(e.shape));
    }
    write_doubles(of(value, e), values);
  }
  for (const BufferEntry& e : buffer_entries_) {
    const auto values = e.kind == BufferKind::kDirection
                            ? orthogonal(seed, e.name, 1, e.shape.elems())
                            : std::vector<double>(e.shape.elems(), e.initial);
    write_doubles(of(e, false), values);
  }
  pack();
  reset_ema();
}

void ParamStore::pack() {
  if (packed) ctx_.run([&](const auto& ex) { convert(ex, value, packed); });
}

void ParamStore::reset_ema() {
  if (!ema) return;
  for (int64_t i = 0; i < pieces(); ++i) piece(ema, i).copy_from(piece(value, i));
  ema_statistics.copy_from(statistics);
}

int64_t ParamStore::piece_begin(int64_t i) const {
  if (shards_ == nullptr) return 0;
  const Bucket& bucket = buckets_[i];
  return bucket.begin + shards_->rank() * ((bucket.end - bucket.begin) / shards_->size());
}

Tensor ParamStore::piece(const Tensor& flat, int64_t i) const {
  if (shards_ == nullptr || !flat) return flat;
  const Bucket& bucket = buckets_[i];
  const int64_t parts = shards_->size(), elems = (bucket.end - bucket.begin) / parts;
  const bool is_whole = flat.elems() == elems_;
  const int64_t begin = is_whole ? piece_begin(i) : bucket.begin / parts;
  return flat.slice(begin, begin + elems);
}

void ParamStore::gather_pieces(const Tensor& whole) {
  for (int64_t i = 0; i < pieces(); ++i) {
    shards_->all_gather(piece(whole, i), whole.slice(buckets_[i].begin, buckets_[i].end));
  }
}

void ParamStore::gather_values() {
  if (shards_ == nullptr) return;
  gather_pieces(value);
  pack();
}

Tensor ParamStore::gather(const Tensor& flat) {
  if (flat.elems() == elems_) return flat;
  for (int64_t i = 0; i < pieces(); ++i) piece(grad, i).copy_from(piece(flat, i));
  gather_pieces(grad);
  // Between GPUs this is only enqueued. All wait until it is done: on the host, where a rank that
  // does not come is named, and then each for its device.
  shards_->barrier();
  std::vector<std::byte> one(size_of(grad.dtype()));
  grad.slice(0, 1).read(one.data());
  return grad;
}

void ParamStore::scatter(const Tensor& whole, const Tensor& flat) {
  if (flat.elems() == elems_) return;
  for (int64_t i = 0; i < pieces(); ++i) piece(flat, i).copy_from(piece(whole, i));
  grad.clear();  // of parameters that no loss reaches it stays as it is
}

int64_t ParamStore::parameter_count() const { return parameter_count(""); }

int64_t ParamStore::parameter_count(std::string_view prefix) const {
  int64_t count = 0;
  for (const Entry& e : entries_) {
    if (e.name.starts_with(prefix)) count += e.shape.elems();
  }
  return count;
}

Tensor ParamStore::of(const Tensor& flat, const Entry& entry) const {
  return flat.slice(entry.offset, entry.offset + entry.shape.elems()).reshape(entry.shape);
}

Tensor ParamStore::of(const BufferEntry& entry, bool averaged) const {
  const Tensor& flat = entry.kind == BufferKind::kDirection ? directions
                       : averaged                           ? ema_statistics
                                                            : statistics;
  return flat.slice(entry.offset, entry.offset + entry.shape.elems()).reshape(entry.shape);
}

Var ParamStore::var(const Context& ctx, int index, DType dtype) {
  const bool averaged(averages_);
  const Tensor& master = averaged ? averages_ : value;
  const Tensor& flat = dtype == master.dtype() || averaged ? master : packed;
  check(flat && flat.dtype() == dtype, "{}: {} asked for in {}", name_,
        averaged ? "a moving average" : "a parameter", name_of(dtype));
  return leaf(ctx, index, of(flat, entries_[index]));
}

Var ParamStore::leaf(const Context& ctx, int index, const Tensor& current) {
  const Entry& e = entries_[index];
  if (e.frozen || !is_watched(ctx)) return current;
  check(static_cast<bool>(grad) && !averages_, "{}: allocated without gradients", name_);
  std::function<void()> on_ready;
  if (on_gradient_ready) on_ready = [this, index] { on_gradient_ready(index); };
  return ctx.tape->leaf(current, of(grad, e).view(), accumulate_gradients, std::move(on_ready));
}

Tensor ParamStore::row_direction(const Normalized& weight) const {
  const int64_t columns = columns_of(entries_[weight.entry].shape);
  return row_directions_.slice(weight.offset, weight.offset + columns);
}

std::pair<Tensor, Tensor> ParamStore::spectral_results(const Context& ctx, int i) const {
  if (!is_watched(ctx)) return {};
  return {row_direction(normalized_.at(i)), sigmas_.slice(i, i + 1)};
}

NormalizedWeights ParamStore::normalized_weights(int64_t piece) const {
  NormalizedWeights weights{.sigmas = sigmas_};
  for (const Normalized& n : normalized_) {
    weights.list.push_back({.begin = entries_[n.entry].offset - piece_begin(piece),
                            .u = of(buffer_entries_[n.u], false),
                            .v = row_direction(n)});
  }
  return weights;
}

Tensor ParamStore::buffer(int index) const {
  return of(buffer_entries_[index], static_cast<bool>(averages_));
}

void krsc_to_oihw(const Shape& shape, const void* krsc, void* oihw, size_t element_bytes) {
  const auto* from = static_cast<const char*>(krsc);
  auto* to = static_cast<char*>(oihw);
  for_each_conv_element(shape, [&](int64_t memory, int64_t file) {
    std::memcpy(to + file * element_bytes, from + memory * element_bytes, element_bytes);
  });
}

void oihw_to_krsc(const Shape& shape, const void* oihw, void* krsc, size_t element_bytes) {
  const auto* from = static_cast<const char*>(oihw);
  auto* to = static_cast<char*>(krsc);
  for_each_conv_element(shape, [&](int64_t memory, int64_t file) {
    std::memcpy(to + memory * element_bytes, from + file * element_bytes, element_bytes);
  });
}

Shape file_shape(const ParamStore::Entry& entry) {
  const Shape& s = entry.shape;
  return entry.layout == ParamLayout::kConvolution ? Shape{s[0], s[3], s[1], s[2]} : s;
}

}  // namespace bigbigan
