// The smallest training run: G, E and D of a few channels, on 24 images.
#pragma once

#include <array>
#include <vector>

#include "engine/io/npy.h"
#include "tests/engine_io/scratch.h"
#include "train/config.h"

namespace bigbigan {

// Reads images.npy of `folder`.
inline Config tiny_run(const ScratchFolder& folder) {
  Config c;
  c.model.resolution = 32;
  c.model.image_channels = 1;
  c.model.z_dim = 4;
  c.model.g_channels = c.model.d_channels = {4, 4, 4, 4};
  c.model.mlp_width = 4;
  c.model.mlp_blocks = 1;
  c.model.encoder = "basic";
  c.model.encoder_channels = {4, 4};
  c.model.encoder_head_width = 4;
  c.data.path = (folder / "images.npy").string();
  c.data.val_images = 4;
  c.sample.images = 4;
  return c;
}

inline void write_images(const ScratchFolder& folder) {
  std::vector<uint8_t> pixels(24 * 32 * 32);
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>(i * i / 7);
  PosixVfs vfs;
  write_npy(vfs, folder / "images.npy", DType::kU8, std::array<int64_t, 3>{24, 32, 32},
            std::as_bytes(std::span(pixels)));
}

}  // namespace bigbigan
