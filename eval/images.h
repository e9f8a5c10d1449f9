// Images from anywhere as network input: a split of a data set, or an array that is used as it is.
#pragma once

#include <memory>
#include <string>

#include "engine/core/tensor.h"
#include "engine/io/vfs.h"

namespace bigbigan {

class ImageSource {
 public:
  virtual ~ImageSource() = default;
  [[nodiscard]] virtual int64_t size() const = 0;
  // Rows [begin, end) as (N, R, R, C) in [-1, 1], ctx.dtype.
  [[nodiscard]] virtual Tensor batch(const Context& ctx, int64_t begin, int64_t end) const = 0;
  // -1 where there is no label.
  [[nodiscard]] virtual int64_t label(int64_t index) const = 0;
  // Where image `index` comes from, for index.tsv.
  [[nodiscard]] virtual std::string path(int64_t index) const = 0;
  [[nodiscard]] virtual int64_t resolution() const = 0;
  [[nodiscard]] virtual int64_t channels() const = 0;
};

// What to read of a data set.
enum class ImageSplit : uint8_t {
  kTrain,        // all training images
  kTrainNotVal,  // training images that are not held out
  kVal,          // the held-out ones (data.val_images)
  kTest,
};

struct ImageRequest {
  std::string path;
  ImageSplit split = ImageSplit::kTest;
  int64_t resolution = 0;  // of the network's input
  int64_t channels = 0;
  int64_t val_images = 0;
};

// A folder with IDX files; an .npy file of u8 images; or an .npy file of f32 or f64 images (N, R,
// R, C) in
// [-1, 1], used as they are. Arrays have no splits: all of their images are given. Throws
// Error{kNoInput}, or Error{kBadData} for images of another size, channels or range, naming the
// first such image.
std::unique_ptr<ImageSource> open_images(Vfs& vfs, const ImageRequest& request);

}  // namespace bigbigan
