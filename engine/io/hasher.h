// XXH3-128, over pieces. Detects accidents, not tampering.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "engine/io/vfs.h"

namespace bigbigan {

class Hasher {
 public:
  Hasher();
  ~Hasher();
  Hasher(const Hasher&) = delete;
  Hasher& operator=(const Hasher&) = delete;
  void add(std::span<const std::byte> bytes);
  // Of all that was added: 32 hexadecimal digits.
  [[nodiscard]] std::string hex() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Of a file's content. Throws Error{kNoInput}.
std::string hash_of_file(Vfs& vfs, const Vfs::Path& path);

}  // namespace bigbigan
