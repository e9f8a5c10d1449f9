#include "engine/core/backend_cuda/cuda_device.h"
#include "engine/core/backend_cuda/cuda_graph.h"
#include "engine/core/backend_cuda/cuda_timeline.h"
#include "engine/core/device.h"

namespace bigbigan {
namespace {

class CudaAccelerator final : public Accelerator {
 public:
  explicit CudaAccelerator(int index) : device_(index), pool_(device_.memory()) {}
  [[nodiscard]] AnyExec exec() const override { return device_.exec(); }
  Allocator& allocator() override { return pool_; }
  [[nodiscard]] std::unique_ptr<Allocator> private_pool() override {
    return std::make_unique<PoolAllocator>(device_.memory(), 0, PoolAllocator::Pooling::kForGood,
                                           pool_.account());
  }
  std::unique_ptr<Recording> record(const std::function<void()>& launches) override {
    return std::make_unique<CudaGraph>(device_.exec().stream, launches);
  }
  [[nodiscard]] std::unique_ptr<Timeline> timeline() override {
    return std::make_unique<CudaTimeline>(device_.exec().stream);
  }
  [[nodiscard]] DeviceProperties properties() const override { return device_.properties(); }
  [[nodiscard]] std::string plans() const override { return device_.plans(); }
  [[nodiscard]] bool take_over_plans(std::string_view text) override {
    return device_.take_over_plans(text);
  }

 private:
  CudaDevice device_;
  PoolAllocator pool_;
};

}  // namespace

std::unique_ptr<Accelerator> open_cuda(int index) {
  return std::make_unique<CudaAccelerator>(index);
}

std::vector<std::string> gpu_names() { return cuda_device_names(); }

bool has_cuda_backend() { return true; }

}  // namespace bigbigan
