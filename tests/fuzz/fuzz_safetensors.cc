// The input is a safetensors file: length of the header, header, data. A length beyond the end is
// taken as all that is there, so that a damaged length still reaches the parser.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "engine/io/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 8) return 0;
  uint64_t length = 0;
  std::memcpy(&length, data, 8);
  length = std::min<uint64_t>(length, size - 8);
  const std::string_view json(reinterpret_cast<const char*>(data) + 8, length);
  const auto data_bytes = static_cast<int64_t>(size - 8 - length);
  try {
    const auto header = bigbigan::parse_safetensors_header(json, data_bytes, "input");
    int64_t covered = 0;
    for (const auto& [name, info] : header.tensors) {
      if (info.offset < 0 || info.bytes < 0 || info.offset + info.bytes > data_bytes) std::abort();
      covered += info.bytes;
    }
    if (covered != data_bytes) std::abort();
  } catch (const bigbigan::Error& error) {
    if (error.code() != bigbigan::ExitCode::kBadData) std::abort();
  }
  return 0;
}
