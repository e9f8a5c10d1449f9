// Thread-ranks, each with an emulated device of its own, joined by the stand-in for NCCL.
#pragma once

#include <memory>

#include "engine/comm/device_communicator.h"
#include "engine/core/context.h"
#include "engine/core/device.h"
#include "engine/core/tensor.h"

namespace bigbigan {

struct GpuRank {
  explicit GpuRank(Communicator& host, double seconds = 60)
      : host(host),
        device(open_cuda(host.rank())),
        comm(make_nccl_communicator(host, device->exec(), seconds)),
        ctx{.exec = device->exec(), .allocator = &device->allocator(), .comm = comm.get()} {}

  Communicator& host;
  std::unique_ptr<Accelerator> device;
  std::unique_ptr<DeviceCommunicator> comm;
  Context ctx;
};

// Body(rank) on `ranks` of them. Assertions of Catch are for one thread: bodies throw, or leave
// results behind.
inline void run_gpu_ranks(int ranks, const std::function<void(GpuRank&)>& body) {
  run_thread_ranks(ranks, [&](Communicator& host) {
    GpuRank rank(host);
    host.barrier();  // all have joined, whatever one of them does next
    body(rank);
  });
}

}  // namespace bigbigan
