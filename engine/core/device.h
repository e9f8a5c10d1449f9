// The device that a program computes on, chosen by the name of its --device option.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "any_exec.h"
#include "engine/core/allocator.h"
#include "engine/core/timeline.h"
#include "engine/util/thread_pool.h"

namespace bigbigan {

// Launches that were recorded and can be run again as one.
class Recording {
 public:
  virtual ~Recording() = default;
  virtual void replay() = 0;
};

// What a benchmark's report says of a device.
struct DeviceProperties {
  std::string name = "cpu";
  std::string driver = "-";  // the CUDA version that it supports
  int64_t cache_bytes = 0;   // of the last cache before memory, where it is known
};

// A device beside the CPU. Which of backend_{cpu,cuda}/open_cuda.cc is linked, CMake decides.
class Accelerator {
 public:
  virtual ~Accelerator() = default;
  [[nodiscard]] virtual AnyExec exec() const = 0;
  virtual Allocator& allocator() = 0;
  // A pool over the device's memory that nobody else uses.
  [[nodiscard]] virtual std::unique_ptr<Allocator> private_pool() = 0;
  // Records what `launches` enqueues, without running it. Memory that it asks for must already lie
  // in its pool.
  virtual std::unique_ptr<Recording> record(const std::function<void()>& launches) = 0;
  [[nodiscard]] virtual std::unique_ptr<Timeline> timeline() = 0;
  [[nodiscard]] virtual DeviceProperties properties() const = 0;
  // A line that names device and libraries, then what they chose so far. Note [Recorded plans].
  [[nodiscard]] virtual std::string plans() const = 0;
  // Problems that come up from now on get the plans of that text, where its first line is that of
  // plans(); false where it is another. Throws Error{kBadData} for other text.
  [[nodiscard]] virtual bool take_over_plans(std::string_view text) = 0;
};

// Throws Error{kSystem}, saying why, where there is no such device or this build has no backend for
// it.
std::unique_ptr<Accelerator> open_cuda(int index);
// The GPUs that this process sees, by index: a name of each that no other in the world has. Empty
// where there is no driver, or this build has no backend for them.
std::vector<std::string> gpu_names();
// Whether `auto` looks for a GPU at all: a build without the backend runs on the CPU and need not
// say so.
bool has_cuda_backend();

class Device {
 public:
  // "cpu"; "cuda" or "cuda:i"; or "auto": the first GPU, or the CPU with a line on stderr that says
  // why. `threads` CPU threads. Throws Error{kUsage} for another name, Error{kSystem} as open_cuda.
  Device(const std::string& name, int threads);

  [[nodiscard]] AnyExec exec() const { return accelerator_ ? accelerator_->exec() : cpu_; }
  [[nodiscard]] Allocator& allocator() { return accelerator_ ? accelerator_->allocator() : host_; }
  // Null on the CPU.
  [[nodiscard]] Accelerator* accelerator() { return accelerator_.get(); }
  [[nodiscard]] std::unique_ptr<Timeline> timeline();
  [[nodiscard]] DeviceProperties properties() const;
  // For work that stays on the host.
  [[nodiscard]] const CpuExec& cpu() const { return cpu_; }

 private:
  ThreadPool pool_;
  CpuExec cpu_{&pool_};
  HostAllocator host_;
  std::unique_ptr<Accelerator> accelerator_;
};

// Throws Error{kUsage} unless `name` is a device name.
void check_device_name(const std::string& name);

}  // namespace bigbigan
