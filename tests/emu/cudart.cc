// Devices, memory, errors and launches of the emulated runtime. Defined against NVIDIA's
// prototypes: a wrong signature does not compile, and a call that is not here does not link.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <utility>

#include "runtime.h"
#include "scheduler.h"
#include "settings.h"

namespace emu {
namespace {

constexpr int kProcessors = 4;  // a number that no real card has
constexpr int kSharedBytes = 48 * 1024, kSharedOptinBytes = 227 * 1024;
constexpr int kThreadsPerProcessor = 2048, kBlocksPerProcessor = 32;
constexpr size_t kAlignment = 256;

struct Allocation {
  size_t bytes = 0;
  bool on_device = true;
  int device = 0;
};

constexpr int kOldestCapability = 80;  // that the kernels are compiled for

thread_local int device_now = 0;
thread_local cudaError_t last_error = cudaSuccess;

// By the complement of the address, which LeakSanitizer does not follow; the
// order is therefore descending.
std::map<uintptr_t, Allocation>& allocations() {
  static auto& all = *new std::map<uintptr_t, Allocation>;
  return all;
}
uintptr_t key_of(const void* address) { return ~reinterpret_cast<uintptr_t>(address); }

std::map<const void*, size_t>& dynamic_shared_limits() {
  static auto& limits = *new std::map<const void*, size_t>;
  return limits;
}

// The allocation that holds `address`, or null. Needs tables() locked.
const Allocation* allocation_of(const void* address, size_t* bytes_from_here = nullptr) {
  const auto found = allocations().lower_bound(key_of(address));
  if (found == allocations().end()) return nullptr;
  const size_t offset = found->first - key_of(address);
  if (offset >= found->second.bytes) return nullptr;
  if (bytes_from_here != nullptr) *bytes_from_here = found->second.bytes - offset;
  return &found->second;
}

size_t bytes_in_use(int device) {
  size_t bytes = 0;
  for (const auto& [key, allocation] : allocations()) {
    if (allocation.on_device && allocation.device == device) bytes += allocation.bytes;
  }
  return bytes;
}

// Of exactly this size, so that AddressSanitizer's red zone begins behind the
// last byte; filled with NaN.
cudaError_t allocate(void** pointer, size_t bytes, bool on_device) {
  *pointer = nullptr;
  if (settings().devices == 0) return cudaErrorNoDevice;
  if (fault() != cudaSuccess) return fault();
  if (forbidden_by_capture()) return cudaErrorStreamCaptureUnsupported;
  if (bytes == 0) return cudaSuccess;
  const std::lock_guard lock(tables());
  if (on_device && bytes_in_use(device_now) + bytes > settings().memory_bytes) {
    return cudaErrorMemoryAllocation;
  }
  if (posix_memalign(pointer, kAlignment, bytes) != 0) return cudaErrorMemoryAllocation;
  std::memset(*pointer, 0xff, bytes);
  allocations()[key_of(*pointer)] = {bytes, on_device, device_now};
  return cudaSuccess;
}

cudaError_t release(void* pointer, bool on_device) {
  if (pointer == nullptr) return cudaSuccess;
  if (forbidden_by_capture()) return cudaErrorStreamCaptureUnsupported;
  int device = 0;
  {
    const std::lock_guard lock(tables());
    const auto found = allocations().find(key_of(pointer));
    if (found == allocations().end() || found->second.on_device != on_device) {
      return cudaErrorInvalidValue;
    }
    device = found->second.device;
  }
  drain_device(device, false);  // CUDA waits here too
  const std::lock_guard lock(tables());
  allocations().erase(key_of(pointer));
  std::free(pointer);
  return fault();
}

enum class Place { kPageable, kPinned, kDevice, kOutOfBounds };

Place place_of(const void* address, size_t bytes) {
  const std::lock_guard lock(tables());
  size_t available = 0;
  const Allocation* allocation = allocation_of(address, &available);
  if (allocation == nullptr) return Place::kPageable;
  if (bytes > available) return Place::kOutOfBounds;
  return allocation->on_device ? Place::kDevice : Place::kPinned;
}

bool kind_fits(cudaMemcpyKind kind, Place to, Place from) {
  const bool to_device = to == Place::kDevice, from_device = from == Place::kDevice;
  switch (kind) {
    case cudaMemcpyHostToHost:
      return !to_device && !from_device;
    case cudaMemcpyHostToDevice:
      return to_device && !from_device;
    case cudaMemcpyDeviceToHost:
      return !to_device && from_device;
    case cudaMemcpyDeviceToDevice:
      return to_device && from_device;
    case cudaMemcpyDefault:
      return true;
  }
  return false;
}

cudaError_t copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                 cudaStream_t stream) {
  if (bytes == 0) return cudaSuccess;
  const Place target = place_of(to, bytes), source = place_of(from, bytes);
  if (target == Place::kOutOfBounds || source == Place::kOutOfBounds ||
      !kind_fits(kind, target, source)) {
    return cudaErrorInvalidValue;
  }
  const bool pageable = target == Place::kPageable || source == Place::kPageable;
  if (pageable && resolve(stream).capture != nullptr) return cudaErrorStreamCaptureUnsupported;
  if (source != Place::kPageable) {
    const cudaError_t status =
        enqueue(stream, [=] { std::memcpy(to, from, bytes); }, {cudaGraphNodeTypeMemcpy, bytes});
    // A pageable target is complete when the call returns; a pinned one only after a wait.
    if (target != Place::kPageable || status != cudaSuccess) return status;
    drain(resolve(stream));
    return fault_at_wait();
  }
  // A pageable source may change as soon as the call returns.
  const auto* first = static_cast<const char*>(from);
  const auto staged = std::make_shared<std::vector<char>>(first, first + bytes);
  const cudaError_t status =
      enqueue(stream, [=] { std::memcpy(to, staged->data(), staged->size()); });
  if (target == Place::kPageable && status == cudaSuccess) drain(resolve(stream));
  return status;
}

cudaError_t fill(void* address, int value, size_t bytes, cudaStream_t stream) {
  if (bytes == 0) return cudaSuccess;
  const Place place = place_of(address, bytes);
  if (place != Place::kDevice && place != Place::kPinned) return cudaErrorInvalidValue;
  return enqueue(stream, [=] { std::memset(address, value, bytes); },
                 {cudaGraphNodeTypeMemset, bytes});
}

size_t dynamic_shared_limit(const void* kernel) {
  const std::lock_guard lock(tables());
  const auto found = dynamic_shared_limits().find(kernel);
  return found == dynamic_shared_limits().end() ? kSharedBytes : found->second;
}

bool no_such_device(int device) { return device < 0 || device >= settings().devices; }

}  // namespace

bool on_device(const void* address, size_t bytes) {
  return place_of(address, bytes) == Place::kDevice;
}

std::mutex& tables() {
  static auto& mutex = *new std::mutex;
  return mutex;
}

int current_device() { return device_now; }

cudaError_t answer(cudaError_t status) {
  if (status != cudaSuccess) last_error = status;
  return status;
}

void launch(const void* kernel, dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
            Op body) {
  if (settings().devices == 0) {
    answer(cudaErrorNoDevice);
  } else if (settings().capability < kOldestCapability) {
    answer(cudaErrorNoKernelImageForDevice);
  } else if (resolve(stream).device != device_now) {
    answer(cudaErrorInvalidResourceHandle);
  } else if (shared_bytes > dynamic_shared_limit(kernel)) {
    answer(cudaErrorInvalidValue);
  } else {
    answer(enqueue(stream, [=] {
      if (!fault_at_launch()) run_grid(kernel, grid, block, shared_bytes, body);
    }));
  }
}

}  // namespace emu

using namespace emu;

extern "C" {

cudaError_t cudaPeekAtLastError() { return last_error; }
cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }

cudaError_t cudaDriverGetVersion(int* version) {
  *version = settings().driver == 0 ? CUDART_VERSION : settings().driver;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int* count) {
  if (settings().driver != 0 && settings().driver / 1000 < CUDART_VERSION / 1000) {
    return answer(cudaErrorInsufficientDriver);
  }
  *count = settings().devices;
  return answer(*count == 0 ? cudaErrorNoDevice : cudaSuccess);
}

cudaError_t cudaGetDevice(int* device) {
  if (settings().devices == 0) return answer(cudaErrorNoDevice);
  *device = device_now;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  if (settings().devices == 0) return answer(cudaErrorNoDevice);
  if (no_such_device(device)) return answer(cudaErrorInvalidDevice);
  device_now = device;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (settings().devices == 0) return answer(cudaErrorNoDevice);
  if (no_such_device(device)) return answer(cudaErrorInvalidDevice);
  *properties = {};
  std::strcpy(properties->name, "emulated device");
  properties->uuid.bytes[0] = static_cast<char>(device);
  properties->major = settings().capability / 10;
  properties->minor = settings().capability % 10;
  properties->warpSize = 32;
  properties->multiProcessorCount = kProcessors;
  properties->totalGlobalMem = settings().memory_bytes;
  properties->sharedMemPerBlock = kSharedBytes;
  properties->sharedMemPerBlockOptin = kSharedOptinBytes;
  properties->maxThreadsPerBlock = 1024;
  properties->maxThreadsPerMultiProcessor = kThreadsPerProcessor;
  properties->regsPerBlock = 65536;
  properties->l2CacheSize = 1 << 20;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  cudaDeviceProp properties;
  const cudaError_t status = cudaGetDeviceProperties(&properties, device);
  if (status != cudaSuccess) return status;
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      *value = properties.multiProcessorCount;
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = properties.major;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = properties.minor;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = kSharedOptinBytes;
      break;
    case cudaDevAttrL2CacheSize:
      *value = properties.l2CacheSize;
      break;
    default:
      fail("cudaDeviceGetAttribute(" + std::to_string(attribute) + ") is not modelled");
  }
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  return answer(allocate(pointer, bytes, true));
}
cudaError_t cudaFree(void* pointer) { return answer(release(pointer, true)); }
cudaError_t cudaMallocHost(void** pointer, size_t bytes) {
  return answer(allocate(pointer, bytes, false));
}
cudaError_t cudaFreeHost(void* pointer) { return answer(release(pointer, false)); }

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  if (settings().devices == 0) return answer(cudaErrorNoDevice);
  const std::lock_guard lock(tables());
  *total = settings().memory_bytes;
  *free = *total - bytes_in_use(device_now);
  return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
  const std::lock_guard lock(tables());
  *attributes = {};
  const Allocation* allocation = allocation_of(pointer);
  if (allocation == nullptr) {
    attributes->type = cudaMemoryTypeUnregistered;
    attributes->device = -1;
    return cudaSuccess;
  }
  attributes->type = allocation->on_device ? cudaMemoryTypeDevice : cudaMemoryTypeHost;
  attributes->device = allocation->device;
  attributes->devicePointer = const_cast<void*>(pointer);
  if (!allocation->on_device) attributes->hostPointer = const_cast<void*>(pointer);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  return answer(copy(to, from, bytes, kind, stream));
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  if (forbidden_by_capture()) return answer(cudaErrorStreamCaptureUnsupported);
  return answer(copy(to, from, bytes, kind, nullptr));
}

cudaError_t cudaMemsetAsync(void* address, int value, size_t bytes, cudaStream_t stream) {
  return answer(fill(address, value, bytes, stream));
}

cudaError_t cudaMemset(void* address, int value, size_t bytes) {
  if (forbidden_by_capture()) return answer(cudaErrorStreamCaptureUnsupported);
  return answer(fill(address, value, bytes, nullptr));
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) {
    fail("cudaFuncSetAttribute(" + std::to_string(attribute) + ") is not modelled");
  }
  if (value < 0 || value > kSharedOptinBytes) return answer(cudaErrorInvalidValue);
  const std::lock_guard lock(tables());
  dynamic_shared_limits()[kernel] = static_cast<size_t>(value);
  return cudaSuccess;
}

// Registers are not modelled: threads, blocks and dynamic shared memory are the limits.
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void*, int threads,
                                                          size_t shared_bytes) {
  if (threads <= 0 || threads > 1024) return answer(cudaErrorInvalidValue);
  *blocks = std::min(kThreadsPerProcessor / threads, kBlocksPerProcessor);
  if (shared_bytes > 0) {
    *blocks = std::min(*blocks, static_cast<int>(kSharedOptinBytes / shared_bytes));
  }
  return cudaSuccess;
}

}  // extern "C"
