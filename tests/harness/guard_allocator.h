// Memory in which a write outside a block, and a read of what nobody has written, show.
#pragma once

#include "engine/core/allocator.h"

namespace bigbigan {

// Fills new blocks of another allocator with NaN bits (0xff) and surrounds each with guard bands
// that are checked on release; a write outside a block aborts the process with the block's size and
// tag.
class GuardAllocator final : public Allocator {
 public:
  explicit GuardAllocator(Allocator& base) : base_(base) {}
  void* allocate(int64_t bytes, MemoryTag tag) override;
  void release(void* pointer, int64_t bytes, MemoryTag tag) noexcept override;
  [[nodiscard]] MemoryLedger ledger() const override { return base_.ledger(); }
  [[nodiscard]] Memory& memory() override { return base_.memory(); }
  // Guard bands found damaged so far when `abort_on_damage` is off (the harness's own test).
  [[nodiscard]] int damaged() const { return damaged_; }
  bool abort_on_damage = true;

 private:
  Allocator& base_;
  int damaged_ = 0;
};

}  // namespace bigbigan
