// NVIDIA's libraries are opened by the first call that needs one, not by the linker: a program runs
// without them, and without a GPU, as long as nobody asks for CUDA.
#pragma once

#include <cstdint>
#include <string>

namespace bigbigan {

struct VendorLibrary {
  std::string name;     // for messages: "cuDNN 9"
  std::string file;     // "libcudnn.so.9"
  std::string package;  // that installs it
};

// The handle of dlopen, kept for the life of the process. Throws Error{kSystem} in one line that
// names library, package and LD_LIBRARY_PATH.
void* open_library(const VendorLibrary& library);

// Throws Error{kSystem} where the library has no such function.
void* function_of(void* handle, const VendorLibrary& library, const char* name);

// Sets `function` to the library's function of that name.
template <class Function>
void find_function(void* handle, const VendorLibrary& library, const char* name,
                   Function*& function) {
  function = reinterpret_cast<Function*>(function_of(handle, library, name));
}

// Throws Error{kSystem} unless the library that was found is of the major version whose headers
// this program was compiled with.
void check_major_version(const VendorLibrary& library, int found, int expected);

// The environment variable `name`, or `otherwise` where it is not set. Throws Error{kUsage} unless
// it is a number from 0 to `most`.
int64_t environment_number(const char* name, int64_t otherwise, int64_t most);

}  // namespace bigbigan
