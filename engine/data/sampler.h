// Note [Sample order]: the images of a run are numbered by position, 0, 1, 2, ..., over all
// sub-steps, epochs and ranks. Position p is image perm(p mod size) of epoch p / size, where perm
// is a permutation keyed by (seed, epoch). The state of the data pipeline is therefore one integer,
// any number of ranks sees the same global order, and prefetching cannot change it.
#pragma once

#include <cstdint>

namespace bigbigan {

class Sampler {
 public:
  // `size` images; throws Error{kInternal} for none.
  Sampler(int64_t size, uint64_t seed);

  // Image at a position.
  [[nodiscard]] int64_t index(int64_t position) const;
  // Whether the image at a position is mirrored: a fair coin.
  [[nodiscard]] bool flip(int64_t position) const;

 private:
  int64_t size_;
  uint64_t seed_;
  int half_bits_;  // the permutation works on numbers of twice as many bits
};

}  // namespace bigbigan
