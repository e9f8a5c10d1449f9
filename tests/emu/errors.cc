// What CUDA's errors are called, and the fault that a test asks for.
#include <cuda_runtime_api.h>

#include <atomic>

#include "runtime.h"
#include "settings.h"

namespace emu {
namespace {

std::atomic<bool> is_faulty = false;
std::atomic<uint64_t> kernels_begun = 0, waits = 0;

struct ErrorText {
  const char *name, *text;
};
ErrorText text_of(cudaError_t status) {
#define EMU_ERROR(code, text) \
  case code:                  \
    return { #code, text }
  switch (status) {
    EMU_ERROR(cudaSuccess, "no error");
    EMU_ERROR(cudaErrorInvalidValue, "invalid argument");
    EMU_ERROR(cudaErrorMemoryAllocation, "out of memory");
    EMU_ERROR(cudaErrorInvalidConfiguration, "invalid configuration argument");
    EMU_ERROR(cudaErrorIllegalAddress, "an illegal memory access was encountered");
    EMU_ERROR(cudaErrorNoKernelImageForDevice,
              "no kernel image is available for execution on the device");
    EMU_ERROR(cudaErrorInsufficientDriver,
              "CUDA driver version is insufficient for CUDA runtime version");
    EMU_ERROR(cudaErrorNoDevice, "no CUDA-capable device is detected");
    EMU_ERROR(cudaErrorInvalidDevice, "invalid device ordinal");
    EMU_ERROR(cudaErrorInvalidResourceHandle, "invalid resource handle");
    EMU_ERROR(cudaErrorIllegalState, "the operation cannot be performed in the present state");
    EMU_ERROR(cudaErrorNotReady, "device not ready");
    EMU_ERROR(cudaErrorStreamCaptureUnsupported,
              "operation not permitted when stream is capturing");
    EMU_ERROR(cudaErrorStreamCaptureInvalidated,
              "operation failed due to a previous error during capture");
    EMU_ERROR(cudaErrorStreamCaptureMerge,
              "operation would result in a merge of separate capture sequences");
    EMU_ERROR(cudaErrorStreamCaptureUnmatched,
              "capture was not ended in the same stream as it began");
    EMU_ERROR(cudaErrorStreamCaptureUnjoined, "capturing stream has unjoined work");
    EMU_ERROR(cudaErrorStreamCaptureIsolation,
              "dependency created on uncaptured work in another stream");
    EMU_ERROR(cudaErrorStreamCaptureImplicit,
              "operation would make the legacy stream depend on a capturing blocking stream");
    EMU_ERROR(cudaErrorCapturedEvent,
              "operation not permitted on an event last recorded in a capturing stream");
    EMU_ERROR(cudaErrorStreamCaptureWrongThread,
              "attempt to terminate a thread-local capture sequence from another thread");
    default:
      return {"unrecognized error code", "unrecognized error code"};
  }
#undef EMU_ERROR
}

}  // namespace

cudaError_t fault() { return is_faulty ? cudaErrorIllegalAddress : cudaSuccess; }

bool fault_at_launch() {
  if (++kernels_begun == settings().fault_launch) is_faulty = true;
  return is_faulty;
}

cudaError_t fault_at_wait() {
  if (++waits == settings().fault_wait) is_faulty = true;
  return fault();
}

}  // namespace emu

using namespace emu;

extern "C" {

const char* cudaGetErrorName(cudaError_t status) { return text_of(status).name; }
const char* cudaGetErrorString(cudaError_t status) { return text_of(status).text; }

}  // extern "C"
