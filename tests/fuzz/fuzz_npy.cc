// The input is an .npy file.
#include <cstdint>
#include <cstdlib>

#include "engine/io/npy.h"
#include "kernels/common/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto array = bigbigan::parse_npy(std::as_bytes(std::span(data, size)), "input");
    const auto bytes = array.elems() * static_cast<int64_t>(bigbigan::size_of(array.dtype));
    if (bytes != static_cast<int64_t>(array.data.size())) std::abort();
    if (static_cast<int64_t>(array.to_doubles().size()) != array.elems()) std::abort();
  } catch (const bigbigan::Error& error) {
    if (error.code() != bigbigan::ExitCode::kBadData) std::abort();
  }
  return 0;
}
