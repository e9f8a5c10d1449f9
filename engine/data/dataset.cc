#include "engine/data/dataset.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "engine/data/idx.h"
#include "engine/data/sampler.h"
#include "engine/io/hasher.h"
#include "kernels/common/error.h"

namespace bigbigan {
namespace {

// Images of one file, before they get their final size.
struct RawImages {
  int64_t count = 0;
  ImageShape image;
  std::vector<uint8_t> pixels;
};

RawImages as_images(const std::vector<int64_t>& shape, std::vector<uint8_t> pixels,
                    const std::string& source) {
  const bool gray = shape.size() == 3;
  if (!gray && (shape.size() != 4 || (shape[3] != 1 && shape[3] != 3))) {
    fail(ExitCode::kBadData,
         "{}: an array of rank {}, expected images (N, H, W) or (N, H, W, 1 or 3)", source,
         shape.size());
  }
  if (shape[0] == 0) fail(ExitCode::kBadData, "{}: no images", source);
  if (shape[1] == 0 || shape[2] == 0) {
    fail(ExitCode::kBadData, "{}: images of {}x{} pixels", source, shape[1], shape[2]);
  }
  return {shape[0], {shape[1], shape[2], gray ? 1 : shape[3]}, std::move(pixels)};
}

// Centres the images on `resolution` x `resolution` zeros.
RawImages padded(RawImages raw, int64_t resolution, const std::string& source) {
  const auto [h, w, c] = raw.image;
  if (h > resolution || w > resolution) {
    fail(ExitCode::kBadData,
         "{}: images of {}x{}, expected at most {}x{}: set model.resolution, or resize them",
         source, h, w, resolution, resolution);
  }
  if (h == resolution && w == resolution) return raw;
  RawImages out{raw.count,
                {resolution, resolution, c},
                std::vector<uint8_t>(raw.count * resolution * resolution * c)};
  const int64_t top = (resolution - h) / 2, left = (resolution - w) / 2;
  for (int64_t n = 0; n < raw.count; ++n) {
    for (int64_t row = 0; row < h; ++row) {
      const auto from = raw.pixels.begin() + (n * h + row) * w * c;
      std::copy(from, from + w * c,
                out.pixels.begin() + ((n * resolution + top + row) * resolution + left) * c);
    }
  }
  return out;
}

Vfs::Path find_idx(Vfs& vfs, const Vfs::Path& folder, const std::string& name) {
  for (const std::string& candidate : {name + ".gz", name}) {
    if (vfs.exists(folder / candidate)) return folder / candidate;
  }
  fail(ExitCode::kNoInput,
       "{}: neither {}.gz nor {} is there; expected the IDX files of a data set such as "
       "Fashion-MNIST (Debian package dataset-fashion-mnist)",
       folder.string(), name, name);
}

std::shared_ptr<const Dataset> open_idx(Vfs& vfs, const Vfs::Path& folder, Split split,
                                        int64_t resolution) {
  const std::string prefix = split == Split::kTrain ? "train" : "t10k";
  const Vfs::Path images_path = find_idx(vfs, folder, prefix + "-images-idx3-ubyte");
  const Vfs::Path labels_path = find_idx(vfs, folder, prefix + "-labels-idx1-ubyte");
  IdxArray file = read_idx(vfs, images_path);
  RawImages images = padded(as_images(file.shape, std::move(file.data), images_path.string()),
                            resolution, images_path.string());
  const IdxArray labels = read_idx(vfs, labels_path);
  if (labels.shape.size() != 1 || labels.shape[0] != images.count) {
    fail(ExitCode::kBadData, "{}: {} labels, expected one for each of the {} images",
         labels_path.string(), labels.shape[0], images.count);
  }
  return std::make_shared<MemoryDataset>(
      images.image, std::move(images.pixels),
      std::vector<int32_t>(labels.data.begin(), labels.data.end()));
}

std::shared_ptr<const Dataset> open_npy(Vfs& vfs, const Vfs::Path& path, int64_t resolution) {
  const NpyArray array = read_npy(vfs, path);
  if (array.dtype != DType::kU8) {
    fail(ExitCode::kBadData, "{}: holds {}, expected u8 pixels", path.string(),
         name_of(array.dtype));
  }
  std::vector<uint8_t> pixels(array.data.size());
  if (!pixels.empty()) std::memcpy(pixels.data(), array.data.data(), pixels.size());
  RawImages images =
      padded(as_images(array.shape, std::move(pixels), path.string()), resolution, path.string());
  return std::make_shared<MemoryDataset>(images.image, std::move(images.pixels),
                                         std::vector<int32_t>(images.count, -1));
}

}  // namespace

MemoryDataset::MemoryDataset(ImageShape image, std::vector<uint8_t> pixels,
                             std::vector<int32_t> labels)
    : image_(image), pixels_(std::move(pixels)), labels_(std::move(labels)) {
  check(static_cast<int64_t>(pixels_.size()) == size() * image_.bytes(),
        "dataset: {} pixels for {} images of {}", pixels_.size(), size(), image_.bytes());
}

void MemoryDataset::read(int64_t index, std::span<uint8_t> pixels) const {
  check(0 <= index && index < size() && static_cast<int64_t>(pixels.size()) == image_.bytes(),
        "dataset: image {} of {} into {} bytes", index, size(), pixels.size());
  std::copy_n(pixels_.begin() + index * image_.bytes(), image_.bytes(), pixels.begin());
}

std::shared_ptr<const Dataset> open_dataset(Vfs& vfs, const Vfs::Path& path, Split split,
                                            int64_t resolution) {
  if (!vfs.exists(path)) {
    fail(ExitCode::kNoInput,
         "{}: not found; expected a folder with IDX files or an .npy file of images",
         path.string());
  }
  return path.extension() == ".npy" ? open_npy(vfs, path, resolution)
                                    : open_idx(vfs, path, split, resolution);
}

std::string fingerprint(const Dataset& data) {
  const ImageShape image = data.image();
  std::vector<uint8_t> pixels(image.bytes());
  Hasher hasher;
  const std::array<int64_t, 4> sizes = {data.size(), image.height, image.width, image.channels};
  hasher.add(std::as_bytes(std::span(sizes)));
  for (int64_t i = 0; i < data.size(); ++i) {
    data.read(i, pixels);
    const int32_t label = data.label(i);
    hasher.add(std::as_bytes(std::span(pixels)));
    hasher.add(std::as_bytes(std::span(&label, 1)));
  }
  return hasher.hex().substr(16);  // half of it will do
}

HeldOut hold_out(int64_t size, int64_t val_images, uint64_t seed) {
  check(0 <= val_images && val_images <= size, "hold_out: {} of {} images", val_images, size);
  const Sampler order(size, seed);
  std::vector<bool> held(size);
  for (int64_t i = 0; i < val_images; ++i) held[order.index(i)] = true;
  HeldOut result;
  for (int64_t i = 0; i < size; ++i) (held[i] ? result.val : result.train).push_back(i);
  return result;
}

}  // namespace bigbigan
