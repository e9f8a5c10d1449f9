// The input is an IDX file, plain or gzip.
#include <cstdint>
#include <cstdlib>

#include "engine/data/idx.h"
#include "kernels/common/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto array = bigbigan::parse_idx(std::as_bytes(std::span(data, size)), "input");
    int64_t elems = 1;
    for (const int64_t dim : array.shape) elems *= dim;
    if (array.shape.empty() || elems != static_cast<int64_t>(array.data.size())) std::abort();
  } catch (const bigbigan::Error& error) {
    if (error.code() != bigbigan::ExitCode::kBadData) std::abort();
  }
  return 0;
}
