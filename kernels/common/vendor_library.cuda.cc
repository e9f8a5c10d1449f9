#include "kernels/common/vendor_library.h"

#include <dlfcn.h>

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

}  // namespace bigbigan
