// What every operation gets as its first argument: where it runs, where memory comes from, and what
// is being recorded. Explicit: the engine has no globals and no thread-locals.
#pragma once

#include <utility>

#include "any_exec.h"
#include "engine/core/allocator.h"
#include "kernels/common/dtype.h"

namespace bigbigan {

class Communicator;
class Tape;

struct Context {
  AnyExec exec;
  Allocator* allocator = nullptr;
  // Ranks that share a batch: batch norm statistics are taken over all of them. Null: this rank
  // alone.
  Communicator* comm = nullptr;
  // Where operations record themselves; null means inference or a forward-only pass.
  Tape* tape = nullptr;
  // Storage of activations: f32, bf16 (Note [Master weights]), or f64 for checks.
  DType dtype = DType::kF32;
  // Batch norm normalises with the statistics of the batch; otherwise with the stored ones.
  bool batch_statistics = false;
  // Batch norm folds its batch statistics into the stored ones.
  bool update_statistics = false;
  // Spectral norm runs a power iteration and moves u; otherwise u stays.
  bool power_iteration = false;

  // Leaves every launch out: what is left are the requests for memory, in their order. The
  // allocator's memory is a PlanMemory.
  bool plan_only = false;
  // With plan_only: told of every launcher that is left out. May be null.
  KernelObserver* planned = nullptr;

  // Calls launch(exec) with the exec of this context: CpuExec or CudaExec.
  template <class Launch>
  void run(const Launch& launch) const {
    if (!plan_only) {
      std::visit(launch, exec);
    } else if (planned != nullptr) {
      launch(CpuExec{.observer = planned, .plan_only = true});
    }
  }
  // Whether tensors lie in host memory, and launches have run when they return.
  [[nodiscard]] bool is_on_host() const { return std::holds_alternative<CpuExec>(exec); }
  // What question(exec) says; nothing is launched.
  template <class Question>
  [[nodiscard]] auto ask(const Question& question) const {
    return std::visit(question, exec);
  }

  // The same context with another tape.
  [[nodiscard]] Context with_tape(Tape* other) const {
    Context copy = *this;
    copy.tape = other;
    return copy;
  }
};

}  // namespace bigbigan
