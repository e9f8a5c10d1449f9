// Note [Tables]: one launch does the work of many tensors. Its argument is a table of them, by
// value, so that nothing is copied to the device and a captured graph keeps it. In a pass of the
// work an entry has the blocks first[pass] to that of the next entry.
#pragma once

#include "kernels/common/launch.cuh"

namespace bigbigan {

template <class Entry, int kMaxEntries>
struct Table {
  static constexpr int kMax = kMaxEntries;
  Entry entries[kMaxEntries];
  int count;
};

// The entry that the block belongs to; `block` becomes its number within the entry.
template <class Entry, int kMax>
__device__ inline const Entry& entry_of_block(const Table<Entry, kMax>& table, int pass,
                                              int& block) {
  int low = 0, high = table.count;  // the last one whose first block is not beyond this one
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    (table.entries[middle].first[pass] <= block ? low : high) = middle;
  }
  block -= table.entries[low].first[pass];
  return table.entries[low];
}

}  // namespace bigbigan
