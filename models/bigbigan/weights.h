// A model's weights, moving averages and optimiser state as named file tensors, and back.
// Names and shapes: docs/parameters.md. Convolution weights are OIHW in files.
#pragma once

#include "engine/io/safetensors.h"
#include "models/bigbigan/bigbigan.h"

namespace bigbigan {

enum class WeightSet : uint8_t {
  kLive,  // weights and buffers
  kEma,   // moving averages of both; u as in the live model
  kAdam,  // first and second moments: "<name>.m", "<name>.v"
};

// Copies of the tensors of `set`, owned by `storage` for as long as the entries are used.
struct ExportedWeights {
  std::vector<NamedTensor> tensors;
  std::vector<std::vector<std::byte>> storage;
};
// Called by all ranks where the model is sharded (Note [Sharded optimiser]); on those where it is
// not wanted, nothing is copied.
ExportedWeights export_weights(BigBiGAN& model, WeightSet set, bool is_wanted = true);

// Fills `set` from a file, converting f32 <-> f64. Throws Error{kConfig} listing names that are
// missing or of another shape (the file belongs to another configuration); names the model does not
// have are listed too unless `allow_extra`. Stores that are not allocated for `set` are an internal
// error.
void import_weights(BigBiGAN& model, WeightSet set, SafetensorsFile& file,
                    bool allow_extra = false);

// Puts the moving averages of a file in the place of the live weights of G and E, for a model that
// does not train.
void import_averages(BigBiGAN& model, SafetensorsFile& file);

}  // namespace bigbigan
