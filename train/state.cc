#include "train/state.h"

#include <cmath>

#include "engine/io/flat_json.h"
#include "kernels/common/dispatch.h"
#include "models/bigbigan/load.h"

namespace bigbigan {
namespace {

constexpr int64_t kMaxStateBytes = 1 << 20;

void check_finite(const ExportedWeights& weights) {
  for (const NamedTensor& t : weights.tensors) {
    dispatch_real("checkpoint", t.dtype, [&]<class T>(TypeTag<T>) {
      const auto* values = static_cast<const T*>(t.data);
      for (int64_t i = 0; i < Shape(t.shape).elems(); ++i) {
        if (std::isfinite(values[i])) continue;
        fail(ExitCode::kNumerical,
             "{} holds a value that is not finite: no checkpoint is written; the last one is good",
             t.name);
      }
    });
  }
}

FlatJson to_flat_json(const TrainState& s) {
  return {{"format", std::string("bigbigan-state 1")},
          {"step", s.step},
          {"consumed_samples", s.consumed_samples},
          {"d_updates", s.d_updates},
          {"eg_updates", s.eg_updates},
          {"skipped_steps", s.skipped_steps},
          {"bad_in_row", s.bad_in_row},
          {"elapsed_seconds", s.elapsed_seconds},
          {"ranks", s.ranks},
          {"data_fingerprint", s.data_fingerprint},
          {"config", s.config},
          {"plain_blocks", s.plain_blocks},
          {"plans", s.plans}};
}

TrainState from_flat_json(const FlatJson& json, const std::string& source) {
  const auto integer = [&](const char* key) {
    const auto value = json_get<int64_t>(json, key, source);
    if (value < 0)
      fail(ExitCode::kBadData, "{}: {} is {}, expected at least 0", source, key, value);
    return value;
  };
  const auto text = [&](const char* key) { return json_get<std::string>(json, key, source); };
  if (text("format") != "bigbigan-state 1")
    fail(ExitCode::kBadData, "{}: of another format version", source);
  return {.step = integer("step"),
          .consumed_samples = integer("consumed_samples"),
          .d_updates = integer("d_updates"),
          .eg_updates = integer("eg_updates"),
          .skipped_steps = integer("skipped_steps"),
          .bad_in_row = integer("bad_in_row"),
          .elapsed_seconds = json_get<double>(json, "elapsed_seconds", source),
          .ranks = integer("ranks"),
          .data_fingerprint = text("data_fingerprint"),
          .config = text("config"),
          .plain_blocks = text("plain_blocks"),
          .plans = text("plans")};
}

}  // namespace

void save_training(Vfs& vfs, const Vfs::Path& run, BigBiGAN& model, const TrainState& state,
                   bool is_writer) {
  const std::map<std::string, std::string> metadata = {
      {"format", "bigbigan"}, {"step", std::to_string(state.step)}, {"config", state.config}};
  const auto weights_file = [&](const char* name, WeightSet set) {
    auto weights = std::make_shared<ExportedWeights>(export_weights(model, set, is_writer));
    check_finite(*weights);
    return CheckpointFile{name, [weights, metadata](WritableFile& file) {
                            write_safetensors(file, weights->tensors, metadata);
                          }};
  };
  const std::vector<CheckpointFile> files = {weights_file(kModelFile, WeightSet::kLive),
                                             weights_file(kEmaFile, WeightSet::kEma),
                                             weights_file(kOptimFile, WeightSet::kAdam),
                                             {kStateFile, [&](WritableFile& file) {
                                                const std::string text =
                                                    to_json(to_flat_json(state)) + "\n";
                                                file.write(std::as_bytes(std::span(text)));
                                              }}};
  if (is_writer) save_checkpoint(vfs, run, state.step, files);
}

int64_t checkpoint_bytes(BigBiGAN& model) {
  constexpr int64_t kMoments = 2;  // Adam's
  int64_t bytes = 0;
  for (const ParamStore* store : model.stores()) {
    const int64_t copies = store->is_averaged() ? 2 : 1;  // live, averaged
    bytes += (copies + kMoments) * store->value.view().bytes() +
             copies * store->statistics.view().bytes();
  }
  return bytes;
}

TrainState load_state(Vfs& vfs, const Vfs::Path& checkpoint) {
  const Vfs::Path path = checkpoint / kStateFile;
  const std::string text = read_text(vfs, path, kMaxStateBytes);
  return from_flat_json(parse_flat_json(text, path.string()), path.string());
}

void load_training(Vfs& vfs, const Vfs::Path& checkpoint, BigBiGAN& model) {
  for (const auto& [name, set] :
       {std::pair(kModelFile, WeightSet::kLive), std::pair(kEmaFile, WeightSet::kEma),
        std::pair(kOptimFile, WeightSet::kAdam)}) {
    SafetensorsFile file(vfs, checkpoint / name);
    import_weights(model, set, file);
  }
}

std::string take_over_plans(Accelerator* device, const TrainState& state) {
  if (device == nullptr || state.plans.empty() || device->take_over_plans(state.plans)) return "";
  const auto first_line = [](const std::string& text) { return text.substr(0, text.find('\n')); };
  return fmt::format("trained on {} before, on {} now: last bits may differ",
                     first_line(state.plans), first_line(device->plans()));
}

}  // namespace bigbigan
