// The library that is opened on an emulated device: NCCL's stand-in (nccl.cc).
#include "kernels/common/vendor_library.h"

#include <nccl.h>

#include <map>
#include <string_view>

#include "scheduler.h"

namespace bigbigan {

void* open_library(const VendorLibrary& library) {
  if (library.file != "libnccl.so.2") emu::fail(library.file + " is not modelled");
  static char handle;
  return &handle;
}

void* function_of(void*, const VendorLibrary&, const char* name) {
#define EMU_FUNCTION(function) \
  { #function, reinterpret_cast < void*>(&(function)) }
  static const auto& functions = *new std::map<std::string_view, void*>{
      EMU_FUNCTION(ncclGetVersion),         EMU_FUNCTION(ncclGetErrorString),
      EMU_FUNCTION(ncclGetLastError),       EMU_FUNCTION(ncclGetUniqueId),
      EMU_FUNCTION(ncclCommInitRankConfig), EMU_FUNCTION(ncclCommGetAsyncError),
      EMU_FUNCTION(ncclCommFinalize),       EMU_FUNCTION(ncclCommDestroy),
      EMU_FUNCTION(ncclCommAbort),          EMU_FUNCTION(ncclAllReduce),
      EMU_FUNCTION(ncclReduceScatter),      EMU_FUNCTION(ncclAllGather),
      EMU_FUNCTION(ncclBroadcast),
  };
#undef EMU_FUNCTION
  const auto found = functions.find(name);
  if (found == functions.end()) emu::fail(std::string(name) + " is not modelled");
  return found->second;
}

}  // namespace bigbigan
