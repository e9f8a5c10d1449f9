// cuDNN's frontend accepts the graph of every convolution of the model of preset `base`: each
// weight with images from 1x1 to 128x128, as a convolution of stride 1 and 2, and folded to 4x4.
#include <catch2/catch.hpp>

#include "kernels/conv/conv_plans_cudnn.h"
#include "models/bigbigan/bigbigan.h"

using namespace bigbigan;

namespace {

std::vector<ConvGeometry> base_geometries() {
  constexpr int64_t kBatch = 256;
  BigBiGAN model{ModelConfig{}};
  std::vector<ConvGeometry> all;
  const auto add = [&](int64_t image, const Shape& w, int64_t stride, int64_t pad) {
    all.push_back(conv_geometry({kBatch, image, image, w[3]}, w, stride, pad));
  };
  for (const ParamStore* store : model.stores()) {
    for (const auto& entry : store->entries()) {
      const Shape& w = entry.shape;
      if (w.rank() != 4) continue;
      for (int64_t image = 4; image <= 128; image *= 2) {
        add(image, w, 1, w[1] / 2);
        add(image, w, 2, w[1] / 2);
        if (w[1] == 3) add(image, {w[0], 4, 4, w[3]}, 2, 1);
      }
    }
  }
  return all;
}

// An H100, by the names that cuDNN 9.19 gives to what it knows of a device.
constexpr const char* kH100 = R"({"deviceName": "NVIDIA H100 80GB HBM3", "deviceVer": 900,
  "driverVer": 13000, "cudaDeviceId": 0, "pciDeviceId": 0, "isTccDriver": 0, "supportCoopLaunch": 1,
  "multiProcessorCount": 132, "totalGlobalMem": 85000000000, "l2CacheSize": 52428800,
  "smClockRateKHz": 1980000, "memClockRateKHz": 2619000, "warpSize": 32, "regsPerBlock": 65536,
  "maxRegistersPerSM": 65536, "maxCtasPerSM": 32, "maxThreadsPerSM": 2048,
  "maxThreadsPerBlock": 1024, "maxGridSize": [2147483647, 65535, 65535],
  "maxBlockSize": [1024, 1024, 64], "maxSharedMemoryPerBlock": 49152,
  "maxSharedMemoryPerBlockOptin": 232448, "reservedSharedMemoryPerBlock": 1024})";

// Convolutions of preset base at a batch of 256, one of each kind.
const std::vector<ConvGeometry> kOfBase = {
    conv_geometry({256, 128, 128, 96}, {96, 3, 3, 96}, 1, 1),    // G and D, full resolution
    conv_geometry({256, 8, 8, 1536}, {1536, 3, 3, 1536}, 1, 1),  // deep
    conv_geometry({256, 64, 64, 96}, {192, 1, 1, 96}, 1, 0),     // shortcut
    conv_geometry({256, 64, 64, 8}, {96, 1, 1, 8}, 1, 0),        // shortcut of pixels, with zeros
    conv_geometry({256, 128, 128, 96}, {192, 4, 4, 96}, 2, 1),   // folded up- and downsampling
    conv_geometry({256, 128, 128, 96}, {3, 3, 3, 96}, 1, 1),     // to RGB
    conv_geometry({256, 128, 128, 3}, {96, 3, 3, 3}, 1, 1),      // from RGB
    conv_geometry({256, 256, 256, 3}, {64, 7, 7, 3}, 2, 3),      // E's stem
    conv_geometry({256, 56, 56, 128}, {128, 3, 3, 128}, 2, 1),   // E, strided
    conv_geometry({256, 64, 64, 192}, {24, 1, 1, 192}, 1, 0),    // attention
};

}  // namespace

TEST_CASE("conv graphs: every pass of preset base is a valid cuDNN graph") {
  using cudnn::validate_graph;
  const std::vector<ConvGeometry> all = base_geometries();
  REQUIRE(all.size() > 100);
  for (const ConvGeometry& g : all) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      validate_graph(ConvPass::kFprop, g, dtype, {}, false);
      validate_graph(ConvPass::kFprop, g, dtype, {.bias = true}, true);
      validate_graph(ConvPass::kFprop, g, dtype, {.bias = true, .relu = true}, true);
      validate_graph(ConvPass::kDgrad, g, dtype, {}, false);
      validate_graph(ConvPass::kDgrad, g, dtype, {.bias = true}, true);
      validate_graph(ConvPass::kWgrad, g, dtype, {}, false);
    }
  }
}

TEST_CASE("conv graphs: a weight that cuDNN cannot index is refused") {
  const ConvGeometry g = conv_geometry({1, 4, 4, 1 << 14}, {1 << 16, 3, 3, 1 << 14}, 1, 1);
  CHECK_THROWS_WITH(cudnn::validate_graph(ConvPass::kFprop, g, DType::kBF16, {}, false),
                    Catch::Contains("INT32_MAX"));
}

// The engine that cuDNN would take on an H100, found without one. A bias on a gradient is not asked
// for here: it needs an engine compiled on the spot by a driver, or conv2d_finish.
TEST_CASE("conv engines: each pass of preset base has a deterministic one") {
  const auto require_engine = [](ConvPass pass, const ConvGeometry& g, DType dtype,
                                 const ConvExtras& extras) {
    const cudnn::Engine e = cudnn::find_engine(pass, g, dtype, extras, extras.bias, kH100);
    INFO("pass " << int(pass) << " of x " << to_string(g.x()) << ", weight "
                 << to_string(g.weight()) << ", " << name_of(dtype) << ": " << e.problem);
    CHECK(e.problem.empty());
    CHECK(!e.name.empty());
    // By its name it is found again: what a resumed run does.
    const cudnn::Engine again =
        cudnn::find_engine(pass, g, dtype, extras, extras.bias, kH100, e.name);
    INFO(again.problem);
    CHECK(again.problem.empty());
    CHECK(again.name == e.name);
    CHECK(again.workspace_bytes == e.workspace_bytes);
  };
  for (const ConvGeometry& g : kOfBase) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      require_engine(ConvPass::kFprop, g, dtype, {});
      require_engine(ConvPass::kFprop, g, dtype, {.bias = true});
      require_engine(ConvPass::kFprop, g, dtype, {.bias = true, .relu = true});
      require_engine(ConvPass::kDgrad, g, dtype, {});
      require_engine(ConvPass::kWgrad, g, dtype, {});
    }
  }
}
