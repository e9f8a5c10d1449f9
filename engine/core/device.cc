#include "engine/core/device.h"

#include <fmt/format.h>

#include <charconv>

#include "kernels/common/error.h"

namespace bigbigan {
namespace {

// The i of "cuda:i", 0 for "cuda", -1 for another name.
int cuda_index(std::string_view name) {
  if (name == "cuda") return 0;
  if (!name.starts_with("cuda:")) return -1;
  name.remove_prefix(5);
  int index = -1;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), index);
  return error == std::errc() && end == name.data() + name.size() ? index : -1;
}

std::unique_ptr<Accelerator> first_gpu_if_any() {
  if (!has_cuda_backend()) return nullptr;
  try {
    return open_cuda(0);
  } catch (const Error& error) {
    fmt::print(stderr, "running on the CPU: {}\n", error.what());
    return nullptr;
  }
}

}  // namespace

void check_device_name(const std::string& name) {
  if (name == "cpu" || name == "auto" || cuda_index(name) >= 0) return;
  fail(ExitCode::kUsage, "--device {}: expected auto, cpu or cuda[:i]", name);
}

Device::Device(const std::string& name, int threads) : pool_(threads) {
  check_device_name(name);
  if (name == "auto") accelerator_ = first_gpu_if_any();
  if (const int index = cuda_index(name); index >= 0) accelerator_ = open_cuda(index);
}

std::unique_ptr<Timeline> Device::timeline() {
  return accelerator_ ? accelerator_->timeline() : std::make_unique<HostTimeline>();
}

DeviceProperties Device::properties() const {
  return accelerator_ ? accelerator_->properties() : DeviceProperties();
}

}  // namespace bigbigan
