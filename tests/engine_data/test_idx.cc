#include <catch2/catch.hpp>

#include "engine/data/idx.h"
#include "tests/engine_data/images.h"

using namespace bigbigan;

namespace {

IdxArray parse(const std::string& bytes) { return parse_idx(std::as_bytes(std::span(bytes)), "f"); }

void require_refused(const std::string& bytes, const std::string& part) {
  require_error([&] { parse(bytes); }, ExitCode::kBadData, {"f: ", part});
}

std::string text_of(const IdxArray& array) { return {array.data.begin(), array.data.end()}; }

}  // namespace

TEST_CASE("idx: arrays of rank 1 to 4, empty ones too") {
  for (const std::vector<uint32_t>& shape :
       {std::vector<uint32_t>{5}, {2, 3}, {2, 3, 4}, {2, 3, 4, 5}, {0}, {3, 0, 7}, {300, 1, 1}}) {
    size_t elems = 1;
    for (const uint32_t dim : shape) elems *= dim;
    const IdxArray array = parse(idx_file(shape, pixels_of(elems)));
    REQUIRE(array.shape == std::vector<int64_t>(shape.begin(), shape.end()));
    REQUIRE(text_of(array) == pixels_of(elems));
  }
}

TEST_CASE("idx: a file must be as long as its header says") {
  const std::string whole = idx_file({2, 3, 4}, pixels_of(24));
  for (size_t n = 0; n < whole.size(); ++n) {
    INFO(n);
    require_refused(whole.substr(0, n), "truncated");
  }
  require_refused(whole + "x", "25 bytes of data, expected 24: the file is too long");
}

TEST_CASE("idx: foreign files are told by their first bytes") {
  require_refused("\x89PNG\r\n\x1a\n....", "starts with 89 50 4e 47");
  require_refused(std::string("\0\0\x0d\x01\0\0\0\0", 8), "not an IDX file of bytes");
  require_refused(std::string("\0\0\x08\0\0\0\0\0", 8), "rank of 1 to 4");
  require_refused(std::string("\0\0\x08\x05", 4) + std::string(40, '\0'), "rank of 1 to 4");
  require_refused(std::string("\0\1\x08\x01\0\0\0\0", 8), "starts with 00 01");
}

TEST_CASE("idx: sizes cannot overflow") {
  const uint32_t most = 0xffffffff;
  require_refused(idx_file({most, most, most}, "x"), "overflow");
  require_refused(idx_file({most, 0x7fffffff}, "x"), "expected 9223372030412324865");
  require_refused(idx_file({0x80000000, 0x80000000, 4}, ""), "overflow");
}

TEST_CASE("idx: plain and gzip files are told by content") {
  ScratchFolder scratch;
  PosixVfs vfs;
  const std::string bytes = idx_file({3000, 1000}, pixels_of(3000000));
  write_raw(scratch / "a.gz", bytes);
  write_gzip(scratch / "b", bytes);
  REQUIRE(text_of(read_idx(vfs, scratch / "a.gz")) == pixels_of(3000000));
  REQUIRE(text_of(read_idx(vfs, scratch / "b")) == pixels_of(3000000));
}

TEST_CASE("idx: damaged gzip data is refused") {
  ScratchFolder scratch;
  PosixVfs vfs;
  write_gzip(scratch / "good", idx_file({50, 50}, pixels_of(2500)));
  const std::string good = read_raw(scratch / "good");
  const auto refused = [&](const std::string& bytes) {
    write_raw(scratch / "bad", bytes);
    require_error([&] { read_idx(vfs, scratch / "bad"); }, ExitCode::kBadData,
                  {(scratch / "bad").string()});
  };
  for (size_t n = 0; n < good.size(); n += 7) refused(good.substr(0, n));
  refused(good.substr(0, good.size() - 1));
  std::string flipped = good;
  flipped[good.size() - 6] ^= 1;  // the checksum
  refused(flipped);
  refused(good.substr(0, 10) + std::string(100, '\xff'));
  refused(good + "x");
  write_gzip(scratch / "bad", "not an IDX file");
  require_error([&] { read_idx(vfs, scratch / "bad"); }, ExitCode::kBadData, {"not an IDX file"});
}

TEST_CASE("idx: a file that is not there, or not a file") {
  ScratchFolder scratch;
  PosixVfs vfs;
  require_error([&] { read_idx(vfs, scratch / "none"); }, ExitCode::kNoInput, {"none"});
  require_error([&] { read_idx(vfs, scratch.path()); }, ExitCode::kNoInput, {"regular file"});
}
