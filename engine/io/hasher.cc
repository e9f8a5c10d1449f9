#include "engine/io/hasher.h"

#include <fmt/format.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <vector>

namespace bigbigan {

struct alignas(64) Hasher::State {
  XXH3_state_t xxh;
};

Hasher::Hasher() : state_(std::make_unique<State>()) { XXH3_128bits_reset(&state_->xxh); }

Hasher::~Hasher() = default;

void Hasher::add(std::span<const std::byte> bytes) {
  XXH3_128bits_update(&state_->xxh, bytes.data(), bytes.size());
}

std::string Hasher::hex() const {
  const XXH128_hash_t hash = XXH3_128bits_digest(&state_->xxh);
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

std::string hash_of_file(Vfs& vfs, const Vfs::Path& path) {
  constexpr int64_t kPieceBytes = 1 << 20;
  const auto file = vfs.open(path);
  Hasher hasher;
  std::vector<std::byte> piece;
  for (int64_t at = 0; at < file->size(); at += kPieceBytes) {
    piece.resize(std::min(kPieceBytes, file->size() - at));
    file->read_at(at, piece);
    hasher.add(piece);
  }
  return hasher.hex();
}

}  // namespace bigbigan
