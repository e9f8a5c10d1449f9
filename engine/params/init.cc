#include "engine/params/init.h"

#include <Eigen/QR>

#include "kernels/random/philox.h"

namespace bigbigan {
namespace {

// FNV-1a: a stable number for a name.
uint64_t hash_of(std::string_view name) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

}  // namespace

std::vector<double> orthogonal(uint64_t seed, std::string_view name, int64_t rows,
                               int64_t columns) {
  if (rows == 0 || columns == 0) return {};
  const int64_t tall = std::max(rows, columns), narrow = std::min(rows, columns);
  Eigen::MatrixXf normal(tall, narrow);  // f32: a 1536 x 13824 matrix fits memory, digits suffice
  auto sample = static_cast<int64_t>(hash_of(name));
  const RandomArgs key{
      .seed = seed, .stream = RandomStream::kInitial, .first_sample = {&sample, {1}, DType::kI64}};
  random_normal(CpuExec{}, key, {normal.data(), {1, tall * narrow}, DType::kF32});
  const Eigen::HouseholderQR<Eigen::MatrixXf> qr(normal);
  Eigen::MatrixXf q = qr.householderQ() * Eigen::MatrixXf::Identity(tall, narrow);
  for (int64_t c = 0; c < narrow; ++c) {
    if (qr.matrixQR()(c, c) < 0) q.col(c) = -q.col(c);
  }
  std::vector<double> values(rows * columns);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      values[r * columns + c] = double(rows >= columns ? q(r, c) : q(c, r));
    }
  }
  return values;
}

}  // namespace bigbigan
