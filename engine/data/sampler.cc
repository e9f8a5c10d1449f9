#include "engine/data/sampler.h"

#include "kernels/common/error.h"
#include "kernels/random/philox.h"

namespace bigbigan {

Sampler::Sampler(int64_t size, uint64_t seed) : size_(size), seed_(seed), half_bits_(1) {
  check(size > 0, "sampler: no images");
  while ((int64_t{1} << (2 * half_bits_)) < size) ++half_bits_;
}

// A Feistel network permutes numbers of 2 half_bits bits; numbers outside [0, size) are sent
// through again until they fall inside (cycle walking), which keeps it a permutation.
int64_t Sampler::index(int64_t position) const {
  constexpr uint32_t kRounds = 6;
  check(position >= 0, "sampler: position {}", position);
  const auto epoch = static_cast<uint64_t>(position / size_);
  const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
  auto value = static_cast<uint64_t>(position % size_);
  do {
    uint64_t left = value >> half_bits_, right = value & mask;
    for (uint32_t round = 0; round < kRounds; ++round) {
      const uint64_t mixed =
          philox(seed_, RandomStream::kOrder, epoch << 32 | right, round).word[0];
      const uint64_t next = left ^ (mixed & mask);
      left = right;
      right = next;
    }
    value = left << half_bits_ | right;
  } while (value >= static_cast<uint64_t>(size_));
  return static_cast<int64_t>(value);
}

bool Sampler::flip(int64_t position) const {
  return (philox(seed_, RandomStream::kAugment, static_cast<uint64_t>(position), 0).word[0] & 1) !=
         0;
}

}  // namespace bigbigan
