#include "eval/images.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "engine/data/dataset.h"
#include "engine/io/npy.h"
#include "engine/ops/image.h"
#include "kernels/common/dispatch.h"

namespace bigbigan {
namespace {

class DatasetImages final : public ImageSource {
 public:
  // `indices`: of the images in use.
  DatasetImages(std::shared_ptr<const Dataset> data, std::vector<int64_t> indices,
                std::string prefix)
      : data_(std::move(data)), indices_(std::move(indices)), prefix_(std::move(prefix)) {}

  [[nodiscard]] int64_t size() const override { return static_cast<int64_t>(indices_.size()); }
  [[nodiscard]] Tensor batch(const Context& ctx, int64_t begin, int64_t end) const override {
    const ImageShape image = data_->image();
    std::vector<uint8_t> bytes((end - begin) * image.bytes());
    for (int64_t i = begin; i < end; ++i) {
      data_->read(indices_[i],
                  std::span(bytes).subspan((i - begin) * image.bytes(), image.bytes()));
    }
    const Shape shape{end - begin, image.height, image.width, image.channels};
    return normalize_image(
        ctx, Tensor::from_host(ctx, shape, DType::kU8, bytes.data(), MemoryTag::kData), Tensor());
  }
  [[nodiscard]] int64_t label(int64_t index) const override {
    return data_->label(indices_[index]);
  }
  [[nodiscard]] std::string path(int64_t index) const override {
    return fmt::format("{}:{}", prefix_, indices_[index]);
  }
  [[nodiscard]] int64_t resolution() const override { return data_->image().height; }
  [[nodiscard]] int64_t channels() const override { return data_->image().channels; }

 private:
  std::shared_ptr<const Dataset> data_;
  std::vector<int64_t> indices_;
  std::string prefix_;
};

class ArrayImages final : public ImageSource {
 public:
  ArrayImages(NpyArray array, std::string path)
      : array_(std::move(array)), path_(std::move(path)) {}

  [[nodiscard]] int64_t size() const override { return array_.shape[0]; }
  [[nodiscard]] Tensor batch(const Context& ctx, int64_t begin, int64_t end) const override {
    const auto& s = array_.shape;
    const Shape shape{end - begin, s[1], s[2], s[3]};
    Tensor out;
    const int64_t row = s[1] * s[2] * s[3];
    dispatch_real("images", array_.dtype, [&]<class From>(TypeTag<From>) {
      dispatch_real("images", ctx.dtype, [&]<class To>(TypeTag<To>) {
        const auto* from = reinterpret_cast<const From*>(array_.data.data()) + begin * row;
        const std::vector<To> values(from, from + shape.elems());
        out = Tensor::from_host(ctx, shape, ctx.dtype, values.data(), MemoryTag::kData);
      });
    });
    return out;
  }
  [[nodiscard]] int64_t label(int64_t) const override { return -1; }
  [[nodiscard]] std::string path(int64_t index) const override {
    return fmt::format("{}:{}", path_, index);
  }
  [[nodiscard]] int64_t resolution() const override { return array_.shape[1]; }
  [[nodiscard]] int64_t channels() const override { return array_.shape[3]; }

 private:
  NpyArray array_;
  std::string path_;
};

void check_range(const NpyArray& array, const std::string& path) {
  const int64_t row = array.elems() / array.shape[0];
  dispatch_real("images", array.dtype, [&]<class T>(TypeTag<T>) {
    const auto* values = reinterpret_cast<const T*>(array.data.data());
    for (int64_t i = 0; i < array.elems(); ++i) {
      if (values[i] >= T(-1) && values[i] <= T(1)) continue;  // false for NaN
      fail(ExitCode::kBadData,
           "{}: image {} holds {}, expected values in [-1, 1] (of pixels 0..255: x / 127.5 - 1)",
           path, i / row, values[i]);
    }
  });
}

std::unique_ptr<ImageSource> array_images(NpyArray array, const ImageRequest& r) {
  const std::vector<int64_t> expected = {r.resolution, r.resolution, r.channels};
  const bool fits = array.shape.size() == 4 &&
                    std::equal(expected.begin(), expected.end(), array.shape.begin() + 1);
  if (!fits || (array.dtype != DType::kF32 && array.dtype != DType::kF64)) {
    fail(ExitCode::kBadData, "{}: {} of shape ({}), expected u8, f32 or f64 images (N, {})", r.path,
         name_of(array.dtype), fmt::join(array.shape, ", "), fmt::join(expected, ", "));
  }
  if (array.shape[0] == 0) fail(ExitCode::kBadData, "{}: no images", r.path);
  check_range(array, r.path);
  return std::make_unique<ArrayImages>(std::move(array), r.path);
}

std::vector<int64_t> chosen_indices(int64_t size, const ImageRequest& r, bool has_splits) {
  if (has_splits && (r.split == ImageSplit::kVal || r.split == ImageSplit::kTrainNotVal)) {
    if (r.val_images >= size || (r.split == ImageSplit::kVal && r.val_images == 0)) {
      fail(ExitCode::kBadData,
           "{}: the run holds out {} of {} training images (data.val_images): nothing is left for "
           "this split",
           r.path, r.val_images, size);
    }
    HeldOut held = hold_out(size, r.val_images, 0);
    return r.split == ImageSplit::kVal ? held.val : held.train;
  }
  std::vector<int64_t> all(size);
  for (int64_t i = 0; i < size; ++i) all[i] = i;
  return all;
}

}  // namespace

std::unique_ptr<ImageSource> open_images(Vfs& vfs, const ImageRequest& r) {
  const bool is_array = Vfs::Path(r.path).extension() == ".npy";
  if (is_array && vfs.exists(r.path)) {
    NpyArray array = read_npy(vfs, r.path);
    if (array.dtype != DType::kU8) return array_images(std::move(array), r);
  }
  const Split file_split = r.split == ImageSplit::kTest ? Split::kTest : Split::kTrain;
  auto data = open_dataset(vfs, r.path, file_split, r.resolution);
  if (data->image().channels != r.channels) {
    fail(ExitCode::kBadData, "{}: images of {} channels, the model expects {}", r.path,
         data->image().channels, r.channels);
  }
  auto indices = chosen_indices(data->size(), r, !is_array);
  const std::string prefix =
      is_array ? r.path : r.path + (file_split == Split::kTest ? "/test" : "/train");
  return std::make_unique<DatasetImages>(std::move(data), std::move(indices), prefix);
}

}  // namespace bigbigan
