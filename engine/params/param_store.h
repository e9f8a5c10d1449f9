// The parameters and buffers of one optimiser group (G, E or D) as flat arrays.
//
// Optimiser, moving average, norms, all-reduce and checkpoint are single passes over flat spans;
// every entry is addressed by name outside and by a handle inside. Names and file shapes:
// docs/parameters.md.
#pragma once

#include <functional>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/comm/communicator.h"
#include "engine/core/tape.h"
#include "kernels/optim/normalized_weights.h"

namespace bigbigan {

enum class Init : uint8_t { kOrthogonal, kZeros, kOnes };

// How a parameter lies in memory and in files.
enum class ParamLayout : uint8_t {
  kPlain,        // the same in both
  kConvolution,  // KRSC in memory, OIHW in files
};

// What a buffer means for the moving average of weights.
enum class BufferKind : uint8_t {
  kStatistics,  // averaged like a weight: running mean and variance
  kDirection,   // shared, never averaged (averaged unit vectors shrink): spectral norm's u
};

class ParamStore;

// A parameter or buffer of a store; cheap to copy, owns nothing.
struct Param {
  ParamStore* store = nullptr;
  int index = -1;

  [[nodiscard]] explicit operator bool() const { return store != nullptr; }
  // The value for use in a forward pass, in ctx.dtype: a leaf when ctx.tape watches the store, else
  // a constant.
  [[nodiscard]] Var operator()(const Context& ctx) const;
  // The same unrounded: Note [Master weights].
  [[nodiscard]] Var master(const Context& ctx) const;
  [[nodiscard]] const Shape& shape() const;
};
struct Buffer {
  ParamStore* store = nullptr;
  int index = -1;

  [[nodiscard]] Tensor operator()() const;
};

// How the ranks of a training divide the work on a store: the same on all of them.
struct StoreDivision {
  // A bucket is closed when it has so many bytes of gradient; the first of the array may have
  // fewer.
  int64_t bucket_bytes = std::numeric_limits<int64_t>::max();
  bool is_sharded = false;  // over the ranks of the context, where it has several
};

// Note [Master weights]: where activations are bf16, everything that adds up over many steps stays
// f32: weights, their gradients, the optimiser's state, moving averages and statistics (bf16 would
// lose an update smaller than 1/256 of the weight). Forward passes read a bf16 copy of the weights,
// `packed`, formed anew whenever they change; a weight is thus a Var with a bf16 value and an f32
// gradient. What computes with weights before they meet an activation, spectral norm and folding,
// reads the masters and rounds its result once. The moving averages have no bf16 copy: pictures and
// features are computed in f32.
//
// A weight that was declared normalised is read as w / sigma by forward passes, and `grad` holds
// dL/d(w / sigma) of it: Note [Gradients of normalised weights].
//
// Note [Sharded optimiser]: where a store is sharded over N ranks, each holds only its part, one
// N-th, of Adam's moments and of the moving averages: of every bucket of the gradient (Note
// [Gradient buckets]) its N-th, the parts of one rank one behind the other. An update sums each
// bucket to its parts, while the backward pass goes on; each rank changes its parts of the weights;
// then all ranks gather the weights, bucket by bucket. Both together send what summing the gradient
// on all ranks does. Weights, gradients and buffers stay whole everywhere. What needs a sharded
// array whole, checkpoints and pictures, borrows `grad` for it, which nobody reads between two
// steps. ZeRO stage 1: Rajbhandari et al. 2020, section 5.1.
class ParamStore {
 public:
  struct Entry {
    std::string name;
    Shape shape;  // in memory
    ParamLayout layout = ParamLayout::kPlain;
    Init init = Init::kZeros;
    int64_t offset = 0;       // elements into the flat arrays, once they are allocated
    bool frozen = false;      // freeze()
    bool normalized = false;  // normalize()
  };
  struct BufferEntry {
    std::string name;
    Shape shape;
    BufferKind kind = BufferKind::kStatistics;
    double initial = 0;
    int64_t offset = 0;
  };

  // Neighbouring entries, as elements [begin, end) of a flat array.
  struct Bucket {
    int64_t begin = 0, end = 0;
  };

  // `is_averaged`: training keeps moving averages of its weights and statistics.
  explicit ParamStore(std::string name, bool is_averaged = false)
      : name_(std::move(name)), is_averaged_(is_averaged) {}
  ParamStore(const ParamStore&) = delete;
  ParamStore& operator=(const ParamStore&) = delete;

  // Declaring; all before allocate(). Throws Error{kInternal} for a name declared twice.
  Param add(std::string name, const Shape& shape, Init init,
            ParamLayout layout = ParamLayout::kPlain);
  Buffer add_buffer(std::string name, const Shape& shape, BufferKind kind, double initial);
  // No pass forms a gradient of it: the parameter keeps its value.
  void freeze(const Param& param) { entries_.at(param.index).frozen = true; }
  // Forward passes read the weight as w / sigma, with the direction `u` of its rows. Weights are
  // declared in the order in which they were added. Returns its number among them.
  int normalize(const Param& weight, const Buffer& u);

  // Makes the flat arrays in master_dtype(ctx.dtype). `training` adds gradient, Adam moments and,
  // where it is averaged, moving averages.
  void allocate(const Context& ctx, bool training, const StoreDivision& division = {});
  // Initial values by name and seed: the same whatever the order of declaration or the number of
  // ranks.
  void initialize(uint64_t seed);

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] bool is_averaged() const { return is_averaged_; }
  [[nodiscard]] std::span<const Entry> entries() const { return entries_; }
  [[nodiscard]] std::span<const BufferEntry> buffer_entries() const { return buffer_entries_; }
  // Number of parameters, padding not counted.
  [[nodiscard]] int64_t parameter_count() const;
  // Number of parameters whose name starts with `prefix`.
  [[nodiscard]] int64_t parameter_count(std::string_view prefix) const;

  // Flat arrays; entries are padded to 64 bytes with zeros, buckets of a sharded store to 64 bytes
  // of each rank. Empty tensors where not allocated. Of adam_m, adam_v and ema, this rank's part.
  Tensor value, grad, adam_m, adam_v, ema;
  Tensor packed;  // `value` in bf16, where the context that allocated it has bf16 activations
  Tensor statistics, ema_statistics;  // buffers of kind kStatistics
  Tensor directions;  // buffers of kind kDirection: live and averaged model share them

  // The part of a flat array that belongs to an entry, in its memory shape.
  [[nodiscard]] Tensor of(const Tensor& flat, const Entry& entry) const;
  // A buffer of the live model, or of the averaged one.
  [[nodiscard]] Tensor of(const BufferEntry& entry, bool averaged) const;

  // A parameter for a forward pass: in ctx.dtype, or the master. Throws Error{kInternal} for a bf16
  // copy where there is none: of moving averages, or of a store allocated for another dtype.
  Var var(const Context& ctx, int index, DType dtype);
  // `current`, which stands for a parameter in a forward pass, with the gradient's place: a leaf
  // when ctx.tape watches the store, else a constant. Throws Error{kInternal} for a moving average
  // that is watched, or a store without gradients.
  Var leaf(const Context& ctx, int index, const Tensor& current);
  // Where spectral norm leaves v and sigma of normalised weight `i` for the optimiser, if the pass
  // that it belongs to forms gradients (ctx.tape watches the store); else empty tensors.
  [[nodiscard]] std::pair<Tensor, Tensor> spectral_results(const Context& ctx, int i) const;
  // The normalised weights as piece `i` of the flat arrays meets them, as the last pass that formed
  // gradients left them.
  [[nodiscard]] NormalizedWeights normalized_weights(int64_t piece) const;
  // Forms `packed` anew; to be called when `value` has changed. Nothing to do where it is empty.
  void pack();
  [[nodiscard]] Tensor buffer(int index) const;
  // Starts the moving averages, if it keeps any, anew from the live weights and statistics.
  void reset_ema();

  // From the end of the arrays.
  [[nodiscard]] std::span<const Bucket> buckets() const { return buckets_; }
  // Note [Sharded optimiser].
  [[nodiscard]] bool is_sharded() const { return shards_ != nullptr; }
  // What this rank updates: of a sharded store its part of each bucket, else all in one piece.
  [[nodiscard]] int64_t pieces() const { return is_sharded() ? std::ssize(buckets_) : 1; }
  // Piece `i` of a flat array, whole or this rank's part; of an empty tensor, an empty one.
  [[nodiscard]] Tensor piece(const Tensor& flat, int64_t i) const;
  // Called by all ranks, when each has changed its pieces of `value`: all get all. Forms `packed`.
  void gather_values();
  // Called by all ranks: a flat array whole, until scatter() puts this rank's part of it back.
  [[nodiscard]] Tensor gather(const Tensor& flat);
  void scatter(const Tensor& whole, const Tensor& flat);
  // Called by all ranks: from here to there, forward passes read the moving averages, where it
  // keeps any, instead of the live weights and statistics.
  void begin_averages() {
    if (ema) averages_ = gather(ema);
  }
  void end_averages() {
    if (ema) scatter(std::exchange(averages_, Tensor()), ema);
  }
  [[nodiscard]] const Entry& entry(int index) const { return entries_[index]; }

  // Backward passes add to the gradients already there (micro-batches) instead of overwriting them.
  bool accumulate_gradients = false;
  // Set before a forward pass, it is called by that pass's backward pass with the number of an
  // entry, when the entry's gradient is complete on this rank.
  std::function<void(int64_t entry)> on_gradient_ready;

 private:
  // Cuts buckets that divide by `parts`, and gives each entry its place.
  void lay_out(int64_t bucket_elems, int64_t parts);
  struct Normalized {
    int entry = 0, u = 0;  // numbers of the parameter and of the buffer
    int64_t offset = 0;    // of v in row_directions_
  };
  // v of the weight.
  [[nodiscard]] Tensor row_direction(const Normalized& weight) const;
  [[nodiscard]] bool is_watched(const Context& ctx) const {
    return ctx.tape != nullptr && ctx.tape->watches(this);
  }
  // Where piece `i` begins in a whole array.
  [[nodiscard]] int64_t piece_begin(int64_t i) const;
  // From each rank's pieces, all of a whole array.
  void gather_pieces(const Tensor& whole);

  std::string name_;
  bool is_averaged_ = false;
  Context ctx_;  // of allocate()
  Communicator* shards_ = nullptr;
  Tensor averages_;  // whole, where forward passes read them
  std::vector<Entry> entries_;
  std::vector<BufferEntry> buffer_entries_;
  std::vector<Normalized> normalized_;
  std::vector<Bucket> buckets_;
  Tensor row_directions_, sigmas_;  // v and sigma of the normalised weights
  int64_t row_directions_elems_ = 0;
  int64_t elems_ = 0;
  int64_t statistics_elems_ = 0;
  int64_t directions_elems_ = 0;
};

// OIHW <-> KRSC, element by element; `shape` is the memory shape (K, R, S, C).
void krsc_to_oihw(const Shape& shape, const void* krsc, void* oihw, size_t element_bytes);
void oihw_to_krsc(const Shape& shape, const void* oihw, void* krsc, size_t element_bytes);
// (K, C, R, S) for a convolution, the memory shape otherwise.
Shape file_shape(const ParamStore::Entry& entry);

}  // namespace bigbigan
