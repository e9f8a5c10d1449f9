#include "engine/data/idx.h"

#include <zlib.h>

#include <memory>

#include "kernels/common/error.h"

namespace bigbigan {
namespace {

constexpr int64_t kMaxCompressedBytes = int64_t{1} << 30;
constexpr size_t kMaxBytes = size_t{2} << 30;  // after decompression

// The contents of a gzip file; zlib checks its length and CRC.
std::vector<std::byte> gunzip(std::span<const std::byte> bytes, const std::string& source) {
  constexpr int kGzip = 16 + MAX_WBITS;
  z_stream stream{};
  check(::inflateInit2(&stream, kGzip) == Z_OK, "{}: no memory for zlib", source);
  const std::unique_ptr<z_stream, int (*)(z_stream*)> guard(&stream, ::inflateEnd);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  std::vector<std::byte> out, block(1 << 16);
  for (int status = Z_OK; status != Z_STREAM_END;) {
    stream.next_out = reinterpret_cast<Bytef*>(block.data());
    stream.avail_out = static_cast<uInt>(block.size());
    status = ::inflate(&stream, Z_NO_FLUSH);
    if (status != Z_OK && status != Z_STREAM_END) {
      fail(ExitCode::kBadData, "{}: damaged gzip data: {}", source,
           stream.msg != nullptr ? stream.msg : "truncated");
    }
    const size_t n = block.size() - stream.avail_out;
    if (out.size() + n > kMaxBytes) {
      fail(ExitCode::kBadData, "{}: more than {} bytes after decompression", source, kMaxBytes);
    }
    out.insert(out.end(), block.begin(), block.begin() + static_cast<std::ptrdiff_t>(n));
  }
  if (stream.avail_in > 0) {
    fail(ExitCode::kBadData, "{}: {} bytes after the end of the gzip data", source,
         stream.avail_in);
  }
  return out;
}

IdxArray parse_plain(std::span<const std::byte> bytes, const std::string& source) {
  const auto at = [&](size_t i) { return std::to_integer<int64_t>(bytes[i]); };
  if (bytes.size() < 8) {
    fail(ExitCode::kBadData, "{}: {} bytes, expected an IDX header: the file is empty or truncated",
         source, bytes.size());
  }
  if (at(0) != 0 || at(1) != 0 || at(2) != 8 || at(3) < 1 || at(3) > 4) {
    fail(ExitCode::kBadData,
         "{}: starts with {:02x} {:02x} {:02x} {:02x}, expected 00 00 08 and a rank of 1 to 4: not "
         "an IDX file of bytes",
         source, at(0), at(1), at(2), at(3));
  }
  const auto rank = static_cast<size_t>(at(3));
  const size_t header = 4 + 4 * rank;
  IdxArray array;
  int64_t elems = 1;
  for (size_t i = 0; i < rank && header <= bytes.size(); ++i) {
    int64_t dim = 0;
    for (size_t k = 0; k < 4; ++k) dim = dim << 8 | at(4 + 4 * i + k);
    array.shape.push_back(dim);
    if (__builtin_mul_overflow(elems, dim, &elems))
      fail(ExitCode::kBadData, "{}: sizes overflow", source);
  }
  const int64_t found = static_cast<int64_t>(bytes.size()) - static_cast<int64_t>(header);
  if (found < 0 || found != elems) {
    fail(ExitCode::kBadData, "{}: {} bytes of data, expected {}: the file is {}", source,
         std::max<int64_t>(found, 0), elems, found < elems ? "truncated" : "too long");
  }
  const auto* data = reinterpret_cast<const uint8_t*>(bytes.data()) + header;
  array.data.assign(data, data + elems);
  return array;
}

}  // namespace

IdxArray parse_idx(std::span<const std::byte> bytes, const std::string& source) {
  const bool is_gzip =
      bytes.size() >= 2 && bytes[0] == std::byte{0x1f} && bytes[1] == std::byte{0x8b};
  return is_gzip ? parse_plain(gunzip(bytes, source), source) : parse_plain(bytes, source);
}

IdxArray read_idx(Vfs& vfs, const Vfs::Path& path) {
  return parse_idx(read_bytes(vfs, path, kMaxCompressedBytes), path.string());
}

}  // namespace bigbigan
