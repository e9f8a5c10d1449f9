#include <catch2/catch.hpp>
#include <cstring>

#include "engine/io/tensorboard.h"
#include "tests/engine_io/scratch.h"

using namespace bigbigan;

namespace {

uint32_t crc_of(std::string_view text) { return crc32c(std::as_bytes(std::span(text))); }

// Payloads of the records of an event file; checks lengths and masked checksums.
std::vector<std::string> records(const std::string& file) {
  const auto u32 = [&](size_t at) {
    uint32_t value = 0;
    std::memcpy(&value, file.data() + at, 4);
    return value;
  };
  const auto masked = [](std::string_view text) {
    const uint32_t crc = crc_of(text);
    return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
  };
  std::vector<std::string> payloads;
  for (size_t at = 0; at < file.size();) {
    REQUIRE(file.size() - at >= 16);
    uint64_t length = 0;
    std::memcpy(&length, file.data() + at, 8);
    REQUIRE(u32(at + 8) == masked(file.substr(at, 8)));
    REQUIRE(file.size() - at - 16 >= length);
    payloads.push_back(file.substr(at + 12, length));
    REQUIRE(u32(at + 12 + length) == masked(payloads.back()));
    at += 16 + length;
  }
  return payloads;
}

std::string bytes_of(double value) {
  std::string text(8, '\0');
  std::memcpy(text.data(), &value, 8);
  return text;
}

std::string bytes_of(float value) {
  std::string text(4, '\0');
  std::memcpy(text.data(), &value, 4);
  return text;
}

}  // namespace

TEST_CASE("crc32c: the vectors of RFC 3720") {
  REQUIRE(crc_of("") == 0);
  REQUIRE(crc_of("123456789") == 0xe3069283u);
  REQUIRE(crc_of(std::string(32, '\0')) == 0x8a9136aau);
  REQUIRE(crc_of(std::string(32, '\xff')) == 0x62a8ab43u);
  std::string up;
  for (char c = 0; c < 32; ++c) up += c;
  REQUIRE(crc_of(up) == 0x46dd794eu);
}

TEST_CASE("tensorboard: records frame events as the format wants them") {
  ScratchFolder scratch;
  PosixVfs vfs;
  {
    TensorboardWriter writer(vfs, scratch.path(), 12.5);
    writer.scalar("loss", 3, 0.75, 13.0);
  }
  const auto payloads = records(read_raw(scratch / "events.out.tfevents.12.bigbigan"));
  REQUIRE(payloads.size() == 2);
  // Protobuf by hand: field number << 3 | wire type, then the value.
  REQUIRE(payloads[0] == "\x09" + bytes_of(12.5) + "\x1a\x0d" + "brain.Event:2");
  const std::string value = std::string("\x0a\x04") + "loss" + "\x15" + bytes_of(0.75f);
  const std::string summary = std::string("\x0a") + static_cast<char>(value.size()) + value;
  REQUIRE(payloads[1] == "\x09" + bytes_of(13.0) + "\x10\x03" + "\x2a" +
                             static_cast<char>(summary.size()) + summary);
}

TEST_CASE("tensorboard: a picture is a PNG with its sizes") {
  ScratchFolder scratch;
  PosixVfs vfs;
  const Image image{1, 2, 1, {0, 255}};
  TensorboardWriter(vfs, scratch.path(), 1).image("fakes", 5, image, 2);
  const auto payloads = records(read_raw(scratch / "events.out.tfevents.1.bigbigan"));
  REQUIRE(payloads.size() == 2);
  const auto png = encode_png(image);
  const std::string_view encoded(reinterpret_cast<const char*>(png.data()), png.size());
  REQUIRE_THAT(payloads[1], Catch::Contains(std::string("\x08\x01\x10\x02\x18\x01\x22")));
  REQUIRE_THAT(payloads[1], Catch::Contains(std::string(encoded)));
  REQUIRE_THAT(payloads[1], Catch::Contains("fakes"));
}

TEST_CASE("tensorboard: two writers of one second get two files") {
  ScratchFolder scratch;
  PosixVfs vfs;
  const TensorboardWriter first(vfs, scratch.path(), 7), second(vfs, scratch.path(), 7);
  REQUIRE(vfs.list(scratch.path()) == std::vector<std::string>{"events.out.tfevents.7.bigbigan",
                                                               "events.out.tfevents.7.bigbigan.1"});
}
