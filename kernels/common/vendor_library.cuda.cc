#include "kernels/common/vendor_library.h"

#include <dlfcn.h>

#include <charconv>
#include <cstdlib>
#include <string_view>

#include "kernels/common/error.h"

namespace bigbigan {

void* open_library(const VendorLibrary& library) {
  void* handle = dlopen(library.file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* reason = dlerror();
    fail(ExitCode::kSystem,
         "{}: cannot load {} ({}); install {}, or add its folder to LD_LIBRARY_PATH", library.name,
         library.file, reason != nullptr ? reason : "no reason given", library.package);
  }
  return handle;
}

void* function_of(void* handle, const VendorLibrary& library, const char* name) {
  void* function = dlsym(handle, name);
  if (function == nullptr) {
    fail(ExitCode::kSystem,
         "{}: {} has no function {}; install {}, or put its folder first in LD_LIBRARY_PATH",
         library.name, library.file, name, library.package);
  }
  return function;
}

void check_major_version(const VendorLibrary& library, int found, int expected) {
  if (found == expected) return;
  fail(ExitCode::kSystem,
       "{}: {} is of major version {}, this program needs {}; install {}, or put its folder first "
       "in LD_LIBRARY_PATH",
       library.name, library.file, found, expected, library.package);
}

int64_t environment_number(const char* name, int64_t otherwise, int64_t most) {
  const char* const text = std::getenv(name);
  if (text == nullptr) return otherwise;
  const std::string_view all = text;
  int64_t value = -1;
  const auto [end, error] = std::from_chars(all.data(), all.data() + all.size(), value);
  if (error != std::errc() || end != all.data() + all.size() || value < 0 || value > most) {
    fail(ExitCode::kUsage, "{}={}: expected a number from 0 to {}", name, text, most);
  }
  return value;
}

}  // namespace bigbigan
