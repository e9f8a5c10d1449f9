#include <catch2/catch.hpp>
#include <set>

#include "engine/data/dataset.h"
#include "tests/engine_data/images.h"

using namespace bigbigan;

namespace {

std::shared_ptr<const Dataset> open(const std::filesystem::path& path, int64_t resolution = 32,
                                    Split split = Split::kTrain) {
  PosixVfs vfs;
  return open_dataset(vfs, path, split, resolution);
}

std::vector<uint8_t> image_of(const Dataset& data, int64_t index) {
  std::vector<uint8_t> pixels(data.image().bytes());
  data.read(index, pixels);
  return pixels;
}

void write_images(const std::filesystem::path& path, const std::vector<int64_t>& shape) {
  int64_t elems = 1;
  for (const int64_t dim : shape) elems *= dim;
  const std::string pixels = pixels_of(elems);
  PosixVfs vfs;
  write_npy(vfs, path, DType::kU8, shape, std::as_bytes(std::span(pixels)));
}

}  // namespace

TEST_CASE("dataset: IDX images are centred, with labels") {
  ScratchFolder scratch;
  write_idx_folder(scratch / "digits", 20);
  const auto data = open(scratch / "digits");
  REQUIRE(data->size() == 20);
  REQUIRE(data->image() == ImageShape{32, 32, 1});
  REQUIRE(data->label(13) == 3);
  const std::string raw = pixels_of(20 * 784);
  const auto image = image_of(*data, 13);
  for (int64_t y = 0; y < 32; ++y) {
    for (int64_t x = 0; x < 32; ++x) {
      const bool inside = y >= 2 && y < 30 && x >= 2 && x < 30;
      const auto expected =
          inside ? static_cast<uint8_t>(raw[13 * 784 + (y - 2) * 28 + x - 2]) : uint8_t{0};
      REQUIRE(image[y * 32 + x] == expected);
    }
  }
}

TEST_CASE("dataset: splits are read from their own files") {
  ScratchFolder scratch;
  write_idx_folder(scratch / "fashion", 20);
  require_error([&] { open(scratch / "fashion", 32, Split::kTest); }, ExitCode::kNoInput,
                {"t10k-images-idx3-ubyte", "dataset-fashion-mnist"});
  write_idx_folder(scratch / "fashion", 10, "t10k");
  REQUIRE(open(scratch / "fashion", 32, Split::kTest)->size() == 10);
}

TEST_CASE("dataset: images and labels must match") {
  ScratchFolder scratch;
  write_idx_folder(scratch / "d", 20);
  const auto labels = scratch / "d" / "train-labels-idx1-ubyte";
  write_raw(labels, idx_file({19}, labels_of(19)));
  require_error([&] { open(scratch / "d"); }, ExitCode::kBadData,
                {labels.string(), "19 labels", "20 images"});
  write_raw(labels, idx_file({20, 1}, labels_of(20)));
  require_error([&] { open(scratch / "d"); }, ExitCode::kBadData, {labels.string()});
  std::filesystem::remove(labels);
  require_error([&] { open(scratch / "d"); }, ExitCode::kNoInput, {"train-labels-idx1-ubyte"});
}

TEST_CASE("dataset: a folder, file or array that is not one of images") {
  ScratchFolder scratch;
  require_error([&] { open(scratch / "none"); }, ExitCode::kNoInput, {"none: not found"});
  require_error([&] { open(scratch.path()); }, ExitCode::kNoInput, {"train-images-idx3-ubyte"});
  write_idx_folder(scratch / "d", 2);
  const auto images = scratch / "d" / "train-images-idx3-ubyte";
  for (const auto& [contents, part] :
       {std::pair(std::string(), "empty or truncated"),
        std::pair(std::string(100, 'x'), "not an IDX"),
        std::pair(idx_file({2, 28, 28}, pixels_of(1000)), "truncated"),
        std::pair(idx_file({0, 28, 28}, ""), "no images"),
        std::pair(idx_file({2, 0, 28}, ""), "images of 0x28 pixels"),
        std::pair(idx_file({2, 28, 28, 2}, pixels_of(2 * 28 * 28 * 2)), "expected images"),
        std::pair(idx_file({2, 33, 28}, pixels_of(2 * 33 * 28)), "expected at most 32x32"),
        std::pair(idx_file({2}, pixels_of(2)), "expected images")}) {
    write_raw(images, contents);
    require_error([&] { open(scratch / "d"); }, ExitCode::kBadData, {images.string(), part});
  }
}

TEST_CASE("dataset: npy images, gray or RGB, padded or exact") {
  ScratchFolder scratch;
  for (const std::vector<int64_t>& shape : {std::vector<int64_t>{3, 32, 32},
                                            {3, 32, 32, 1},
                                            {3, 32, 32, 3},
                                            {3, 31, 5, 3},
                                            {1, 1, 1}}) {
    write_images(scratch / "a.npy", shape);
    const auto data = open(scratch / "a.npy");
    const int64_t h = shape[1], w = shape[2], c = shape.size() == 4 ? shape[3] : 1;
    REQUIRE(data->size() == shape[0]);
    REQUIRE(data->image() == ImageShape{32, 32, c});
    REQUIRE(data->label(0) == -1);
    const auto image = image_of(*data, shape[0] - 1);
    const int64_t top = (32 - h) / 2, left = (32 - w) / 2;
    const int64_t last = shape[0] * h * w * c - 1;
    REQUIRE(image[((top + h - 1) * 32 + left + w) * c - 1] ==
            static_cast<uint8_t>(pixels_of(last + 1)[last]));
    std::filesystem::remove(scratch / "a.npy");
  }
}

TEST_CASE("dataset: npy files that are not images are refused") {
  ScratchFolder scratch;
  PosixVfs vfs;
  const std::vector<float> floats(4);
  write_npy(vfs, scratch / "f.npy", DType::kF32, std::vector<int64_t>{1, 2, 2},
            std::as_bytes(std::span(floats)));
  require_error([&] { open(scratch / "f.npy"); }, ExitCode::kBadData, {"f.npy", "u8"});
  for (const std::vector<int64_t>& shape :
       {std::vector<int64_t>{0, 32, 32}, {4}, {1, 3, 32, 32}, {1, 33, 32}, {2, 0, 0}}) {
    write_images(scratch / "s.npy", shape);
    require_error([&] { open(scratch / "s.npy"); }, ExitCode::kBadData, {"s.npy"});
    std::filesystem::remove(scratch / "s.npy");
  }
  write_raw(scratch / "t.npy", "\x93NUMPY");
  require_error([&] { open(scratch / "t.npy"); }, ExitCode::kBadData, {"t.npy"});
}

TEST_CASE("dataset: a subset shows its images in its order") {
  const auto base = std::make_shared<MemoryDataset>(
      ImageShape{1, 1, 1}, std::vector<uint8_t>{10, 11, 12, 13}, std::vector<int32_t>{0, 1, 2, 3});
  const Subset subset(base, {3, 1});
  REQUIRE(subset.size() == 2);
  REQUIRE(image_of(subset, 0) == std::vector<uint8_t>{13});
  REQUIRE(subset.label(1) == 1);
  std::vector<uint8_t> wrong(2);
  REQUIRE(error_of([&] { base->read(0, wrong); })->code() == ExitCode::kInternal);
  REQUIRE(error_of([&] { image_of(*base, 4); })->code() == ExitCode::kInternal);
}

TEST_CASE("dataset: the fingerprint changes with any pixel, label, size or order") {
  const std::vector<uint8_t> pixels = {1, 2, 3, 4};
  const std::vector<int32_t> labels = {0, 1};
  const auto print = [](ImageShape image, std::vector<uint8_t> p, std::vector<int32_t> l) {
    return fingerprint(MemoryDataset(image, std::move(p), std::move(l)));
  };
  std::set<std::string> seen = {print({1, 2, 1}, pixels, labels)};
  REQUIRE(seen.begin()->size() == 16);
  REQUIRE(seen.contains(print({1, 2, 1}, pixels, labels)));
  REQUIRE(seen.insert(print({2, 1, 1}, pixels, labels)).second);
  REQUIRE(seen.insert(print({1, 2, 1}, {1, 2, 3, 5}, labels)).second);
  REQUIRE(seen.insert(print({1, 2, 1}, pixels, {0, 2})).second);
  REQUIRE(seen.insert(print({1, 2, 1}, {3, 4, 1, 2}, {1, 0})).second);
  REQUIRE(seen.insert(print({1, 2, 1}, {1, 2}, {0})).second);
}

TEST_CASE("dataset: held-out images are the same each time and meet no training image") {
  for (const auto& [size, val] : {std::pair(1, 0), std::pair(1, 1), std::pair(100, 30),
                                  std::pair(1000, 1), std::pair(1000, 1000)}) {
    const HeldOut held = hold_out(size, val, 0);
    REQUIRE(static_cast<int64_t>(held.val.size()) == val);
    std::set<int64_t> all(held.train.begin(), held.train.end());
    all.insert(held.val.begin(), held.val.end());
    REQUIRE(static_cast<int64_t>(held.train.size() + held.val.size()) == size);
    REQUIRE(static_cast<int64_t>(all.size()) == size);
    REQUIRE(*all.begin() == 0);
    REQUIRE(*all.rbegin() == size - 1);
    REQUIRE(std::is_sorted(held.val.begin(), held.val.end()));
    REQUIRE(std::is_sorted(held.train.begin(), held.train.end()));
    REQUIRE(hold_out(size, val, 0).val == held.val);
  }
  REQUIRE(hold_out(1000, 100, 0).val != hold_out(1000, 100, 1).val);
  REQUIRE(error_of([] { hold_out(10, 11, 0); })->code() == ExitCode::kInternal);
}
