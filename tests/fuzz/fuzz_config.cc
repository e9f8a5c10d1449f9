// The input is a TOML file, and one argument key=value. What is accepted must be within bounds and
// read back from what is written.
#include <cstdint>
#include <cstdlib>

#include "kernels/common/error.h"
#include "tests/engine_util/settings.h"

namespace {

using namespace bigbigan;

template <class Apply>
void try_out(const Apply& apply) {
  Settings settings;
  const auto fields = settings.fields();
  try {
    apply(fields);
  } catch (const Error& error) {
    if (error.code() != ExitCode::kConfig) std::abort();
    if (settings.is_valid()) return;  // what came before the problem may be set
  }
  if (!settings.is_valid()) std::abort();
  Settings back;
  apply_toml(back.fields(), to_toml(fields), "written");
  if (!differences(fields, back.fields()).empty()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const UnknownKeys unknown : {UnknownKeys::kRefuse, UnknownKeys::kIgnore}) {
    try_out([&](const auto& fields) { apply_toml(fields, text, "input", unknown); });
  }
  try_out([&](const auto& fields) { apply_override(fields, text); });
  return 0;
}
