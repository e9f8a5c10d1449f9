// What a checkpoint holds of the model, and the room it takes.
#include "train/state.h"

#include "models/bigbigan/load.h"
#include "tests/engine_io/scratch.h"
#include "tests/train/training_world.h"

using namespace bigbigan;

TEST_CASE("checkpoint: averages are those of G and E, in memory as in files") {
  const auto trained = train_alone(training_config(), DType::kF32, 2);
  BigBiGAN& model = trained->small.model;
  CHECK(model.g_store.ema);
  CHECK(model.e_store.ema);
  CHECK_FALSE(model.d_store.ema);
  CHECK_FALSE(model.d_store.ema_statistics);
  const ScratchFolder folder;
  PosixVfs vfs;
  save_training(vfs, folder.path(), model, {.step = 2}, true);
  SafetensorsFile file(vfs, checkpoint_path(folder.path(), 2) / kEmaFile);
  size_t averaged = 0;
  for (const ParamStore* store : {&model.g_store, &model.e_store}) {
    averaged += store->entries().size() + store->buffer_entries().size();
  }
  CHECK(file.names().size() == averaged);
  for (const std::string& name : file.names()) CHECK(!name.starts_with("discriminator."));
}

TEST_CASE("checkpoint: the room that is asked for is what the weights take") {
  SmallModel small(small_config(), DType::kF32);
  const ScratchFolder folder;
  PosixVfs vfs;
  save_training(vfs, folder.path(), small.model, {.step = 1}, true);
  int64_t bytes = 0;
  for (const char* name : {kModelFile, kEmaFile, kOptimFile}) {
    SafetensorsFile file(vfs, checkpoint_path(folder.path(), 1) / name);
    for (const std::string& tensor : file.names()) {
      if (tensor.ends_with(".u")) continue;                           // small
      bytes += (file.info(tensor).shape.elems() * 4 + 63) / 64 * 64;  // as they lie in memory
    }
  }
  CHECK(checkpoint_bytes(small.model) == bytes);
}
