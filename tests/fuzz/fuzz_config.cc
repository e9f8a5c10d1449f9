// The input is a TOML file, and one argument key=value. What is accepted must be within bounds and
// read back from what is written.
#include <cmath>
#include <cstdint>
#include <cstdlib>

#include "engine/util/config.h"
#include "kernels/common/error.h"

namespace {

using namespace bigbigan;

struct Settings {
  int64_t batch = 64;
  double rate = 0.5;
  bool flip = true;
  std::string path, kind = "basic";
  std::vector<int64_t> channels = {8, 16};

  std::vector<ConfigField> fields() {
    return {{"train.batch", &batch, "images", 1, 1000},
            {"train.rate", &rate, "learning rate", 0, 1},
            {"data.flip", &flip, "mirror"},
            {"data.path", &path, "folder"},
            {"model.kind", &kind, "network", 0, 0, {"basic", "deep"}},
            {"model.channels", &channels, "widths", 1, 100}};
  }
  [[nodiscard]] bool is_valid() const {
    bool valid = batch >= 1 && batch <= 1000 && rate >= 0 && rate <= 1;
    for (const int64_t c : channels) valid = valid && c >= 1 && c <= 100;
    return valid && (kind == "basic" || kind == "deep");
  }
};

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
