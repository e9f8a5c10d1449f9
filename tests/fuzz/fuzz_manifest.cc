// The input is a MANIFEST, and the entries of one whose last line is right.
#include <fmt/format.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstdint>
#include <cstdlib>

#include "engine/io/checkpoint.h"
#include "kernels/common/error.h"

namespace {

void try_out(const std::string& text) {
  using namespace bigbigan;
  try {
    for (const ManifestEntry& entry : parse_manifest(text, "input")) {
      const bool is_inside = !entry.name.empty() && entry.name.find('/') == std::string::npos &&
                             entry.name != "." && entry.name != "..";
      if (!is_inside || entry.bytes < 0 || entry.hash.size() != 32) std::abort();
    }
  } catch (const Error& error) {
    if (error.code() != ExitCode::kBadData) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string input(reinterpret_cast<const char*>(data), size);
  try_out(input);
  const std::string text = "bigbigan-ckpt 1\n" + input;
  const XXH128_hash_t hash = XXH3_128bits(text.data(), text.size());
  try_out(text + fmt::format("end {:016x}{:016x}\n", hash.high64, hash.low64));
  return 0;
}
