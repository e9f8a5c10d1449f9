// The input is a flat JSON object. What is accepted must read back from what is written.
#include <cstdint>
#include <cstdlib>

#include "engine/io/flat_json.h"
#include "kernels/common/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace bigbigan;
  FlatJson object;
  try {
    object = parse_flat_json({reinterpret_cast<const char*>(data), size}, "input");
    (void)json_get<int64_t>(object, "step", "input");
  } catch (const Error& error) {
    if (error.code() != ExitCode::kBadData) std::abort();
  }
  if (parse_flat_json(to_json(object), "written") != object) std::abort();
  return 0;
}
