#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>

#include "engine/data/batches.h"
#include "tests/engine_io/scratch.h"

using namespace bigbigan;

namespace {

// One pixel each: the index. Reading a marked image throws, until it is mended.
class FragileDataset final : public Dataset {
 public:
  explicit FragileDataset(int64_t size) : size_(size) {}
  [[nodiscard]] int64_t size() const override { return size_; }
  [[nodiscard]] ImageShape image() const override { return {1, 1, 1}; }
  void read(int64_t index, std::span<uint8_t> pixels) const override {
    ++reads;
    if (index == bad) fail(ExitCode::kBadData, "image {}: damaged", index);
    pixels[0] = static_cast<uint8_t>(index);
  }
  [[nodiscard]] int32_t label(int64_t) const override { return -1; }

  mutable std::atomic<int64_t> reads{0};
  std::atomic<int64_t> bad{-1};

 private:
  int64_t size_;
};

std::vector<uint8_t> expected(const Sampler& sampler, int64_t first, int64_t count) {
  std::vector<uint8_t> pixels;
  for (int64_t i = first; i < first + count; ++i) {
    pixels.push_back(static_cast<uint8_t>(sampler.index(i)));
  }
  return pixels;
}

}  // namespace

TEST_CASE("batches: images by position, whatever was loaded ahead") {
  const auto data = std::make_shared<FragileDataset>(100);
  const Sampler sampler(100, 3);
  BatchLoader loader(data, sampler, true);
  // In order, over the end of the epoch, then jumps and another size.
  for (const auto& [first, count] : {std::pair(0, 8), std::pair(8, 8), std::pair(96, 8),
                                     std::pair(104, 8), std::pair(104, 4), std::pair(3, 5)}) {
    const LoadedBatch batch = loader.next(first, count, 8);
    REQUIRE(batch.pixels == expected(sampler, first, count));
    for (int64_t i = 0; i < count; ++i) REQUIRE((batch.flip[i] == 1) == sampler.flip(first + i));
  }
}

TEST_CASE("batches: the shares of all ranks are each image of an epoch once") {
  constexpr int64_t kImages = 10, kBatch = 12,
                    kBatches = 5;  // six epochs, in batches that end none
  const auto data = std::make_shared<FragileDataset>(kImages);
  const Sampler sampler(kImages, 3);
  for (const int64_t ranks : {1, 2, 3, 4}) {
    const int64_t share = kBatch / ranks;
    std::vector<BatchLoader> loaders;
    for (int64_t r = 0; r < ranks; ++r) loaders.emplace_back(data, sampler, false);
    std::vector<uint8_t> all;
    for (int64_t first = 0; first < kBatches * kBatch; first += kBatch) {
      for (int64_t r = 0; r < ranks; ++r) {
        const LoadedBatch part = loaders[r].next(first + r * share, share, kBatch);
        all.insert(all.end(), part.pixels.begin(), part.pixels.end());
      }
    }
    REQUIRE(all.size() == kBatches * kBatch);
    for (auto epoch = all.begin(); epoch != all.end(); epoch += kImages) {
      std::sort(epoch, epoch + kImages);
      for (int64_t i = 0; i < kImages; ++i) CHECK(epoch[i] == i);
    }
  }
}

TEST_CASE("batches: without flips no image is mirrored") {
  BatchLoader loader(std::make_shared<FragileDataset>(10), Sampler(10, 3), false);
  REQUIRE(loader.next(0, 64, 64).flip == std::vector<uint8_t>(64, 0));
}

TEST_CASE("batches: the next batch is read once, ahead") {
  const auto data = std::make_shared<FragileDataset>(100);
  {
    BatchLoader loader(data, Sampler(100, 3), false);
    for (int64_t i = 0; i < 5; ++i) loader.next(i * 10, 10, 10);
  }  // waits for the last one
  REQUIRE(data->reads == 60);
}

TEST_CASE("batches: an error of loading ahead comes with the batch it belongs to") {
  const auto data = std::make_shared<FragileDataset>(100);
  const Sampler sampler(100, 3);
  data->bad = sampler.index(15);
  BatchLoader loader(data, sampler, false);
  REQUIRE(loader.next(0, 10, 10).pixels == expected(sampler, 0, 10));
  require_error([&] { loader.next(10, 10, 10); }, ExitCode::kBadData,
                {"image " + std::to_string(sampler.index(15))});
  data->bad = -1;
  REQUIRE(loader.next(10, 10, 10).pixels == expected(sampler, 10, 10));
  REQUIRE(loader.next(20, 10, 10).pixels == expected(sampler, 20, 10));
}

TEST_CASE("batches: an error ahead that nobody asks for hurts nobody") {
  const auto data = std::make_shared<FragileDataset>(100);
  const Sampler sampler(100, 3);
  data->bad = sampler.index(15);
  {
    BatchLoader loader(data, sampler, false);
    loader.next(0, 10, 10);
    REQUIRE(loader.next(20, 10, 10).pixels == expected(sampler, 20, 10));
    loader.next(0, 10, 10);
  }
  REQUIRE(data->reads > 0);
}
