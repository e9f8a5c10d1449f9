#include "engine/io/tensorboard.h"

#include <fmt/format.h>

#include <array>
#include <cstring>

#include "tensorboard.pb.h"

namespace bigbigan {
namespace {

constexpr std::array<uint32_t, 256> crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = value & 1 ? value >> 1 ^ 0x82f63b78u : value >> 1;
    table[i] = value;
  }
  return table;
}

// TensorBoard stores checksums masked, so that a checksum of a checksum is harmless.
uint32_t masked_crc(std::span<const std::byte> bytes) {
  const uint32_t crc = crc32c(bytes);
  return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

template <class T>
void append(std::string& out, T value) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  out.append(bytes, sizeof(T));
}

}  // namespace

uint32_t crc32c(std::span<const std::byte> bytes) {
  static constexpr auto kTable = crc_table();
  uint32_t crc = ~0u;
  for (const std::byte b : bytes)
    crc = kTable[(crc ^ std::to_integer<uint32_t>(b)) & 0xff] ^ crc >> 8;
  return ~crc;
}

TensorboardWriter::TensorboardWriter(Vfs& vfs, const Vfs::Path& directory, double wall_time) {
  const std::string base =
      fmt::format("events.out.tfevents.{}.bigbigan", static_cast<int64_t>(wall_time));
  Vfs::Path path = directory / base;
  for (int n = 1; vfs.exists(path); ++n) path = directory / fmt::format("{}.{}", base, n);
  file_ = vfs.create(path);
  tensorboard_proto::Event event;
  event.set_wall_time(wall_time);
  event.set_file_version("brain.Event:2");
  record(event.SerializeAsString());
}

void TensorboardWriter::record(const std::string& payload) {
  std::string out;
  append(out, static_cast<uint64_t>(payload.size()));
  append(out, masked_crc(std::as_bytes(std::span(out))));
  out += payload;
  append(out, masked_crc(std::as_bytes(std::span(payload))));
  file_->write(std::as_bytes(std::span(out)));
}

void TensorboardWriter::scalar(const std::string& tag, int64_t step, double value,
                               double wall_time) {
  tensorboard_proto::Event event;
  event.set_wall_time(wall_time);
  event.set_step(step);
  auto* entry = event.mutable_summary()->add_value();
  entry->set_tag(tag);
  entry->set_simple_value(static_cast<float>(value));
  record(event.SerializeAsString());
}

void TensorboardWriter::image(const std::string& tag, int64_t step, const Image& image,
                              double wall_time) {
  const std::vector<std::byte> png = encode_png(image);
  tensorboard_proto::Event event;
  event.set_wall_time(wall_time);
  event.set_step(step);
  auto* entry = event.mutable_summary()->add_value();
  entry->set_tag(tag);
  auto* target = entry->mutable_image();
  target->set_height(static_cast<int32_t>(image.height));
  target->set_width(static_cast<int32_t>(image.width));
  target->set_colorspace(static_cast<int32_t>(image.channels));
  target->set_encoded_image_string(png.data(), png.size());
  record(event.SerializeAsString());
}

}  // namespace bigbigan
