// Images with labels, in a fixed order.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/io/npy.h"
#include "engine/io/vfs.h"

namespace bigbigan {

struct ImageShape {
  int64_t height = 0, width = 0, channels = 0;
  [[nodiscard]] int64_t bytes() const { return height * width * channels; }
  [[nodiscard]] bool operator==(const ImageShape&) const = default;
};

class Dataset {
 public:
  virtual ~Dataset() = default;
  [[nodiscard]] virtual int64_t size() const = 0;
  [[nodiscard]] virtual ImageShape image() const = 0;
  // Pixels of one image, u8 HWC, into image().bytes() bytes.
  virtual void read(int64_t index, std::span<uint8_t> pixels) const = 0;
  // -1 where there is no label.
  [[nodiscard]] virtual int32_t label(int64_t index) const = 0;
};

// Images in memory.
class MemoryDataset final : public Dataset {
 public:
  MemoryDataset(ImageShape image, std::vector<uint8_t> pixels, std::vector<int32_t> labels);
  [[nodiscard]] int64_t size() const override { return static_cast<int64_t>(labels_.size()); }
  [[nodiscard]] ImageShape image() const override { return image_; }
  void read(int64_t index, std::span<uint8_t> pixels) const override;
  [[nodiscard]] int32_t label(int64_t index) const override { return labels_[index]; }

 private:
  ImageShape image_;
  std::vector<uint8_t> pixels_;
  std::vector<int32_t> labels_;
};

// Some images of another data set, in the order of `indices`.
class Subset final : public Dataset {
 public:
  Subset(std::shared_ptr<const Dataset> base, std::vector<int64_t> indices)
      : base_(std::move(base)), indices_(std::move(indices)) {}
  [[nodiscard]] int64_t size() const override { return static_cast<int64_t>(indices_.size()); }
  [[nodiscard]] ImageShape image() const override { return base_->image(); }
  void read(int64_t index, std::span<uint8_t> pixels) const override {
    base_->read(indices_[index], pixels);
  }
  [[nodiscard]] int32_t label(int64_t index) const override {
    return base_->label(indices_[index]);
  }

 private:
  std::shared_ptr<const Dataset> base_;
  std::vector<int64_t> indices_;
};

enum class Split : uint8_t { kTrain, kTest };

// Opens `path` for networks of `resolution`: a folder with IDX files (train-images-idx3-ubyte,
// train-labels-idx1-ubyte, t10k-..., plain or .gz), or an .npy file of images, u8 (N, H, W, C) or
// (N, H, W), without labels and without splits. Smaller images are centred on zeros (28 to 32: two
// pixels on each side). Errors: kNoInput naming the files looked for; kBadData for damaged, empty
// or larger images, or labels that do not match.
std::shared_ptr<const Dataset> open_dataset(Vfs& vfs, const Vfs::Path& path, Split split,
                                            int64_t resolution);

// 16 hexadecimal digits that change with any pixel, label, or the order.
std::string fingerprint(const Dataset& data);

// Indices of `size` images without and with `val_images` held out, each ascending; which ones is a
// pure function of (size, seed).
struct HeldOut {
  std::vector<int64_t> train, val;
};
HeldOut hold_out(int64_t size, int64_t val_images, uint64_t seed);

}  // namespace bigbigan
