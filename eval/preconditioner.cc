#include "eval/preconditioner.h"

#include <Eigen/Cholesky>
#include <algorithm>

#include "kernels/linear/gemm.h"

namespace bigbigan {
namespace {

constexpr int64_t kMostRows = 16384;  // enough for a covariance of a few thousand features

using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

// Evenly spaced rows.
Matrix sample_of(const Matrix& x) {
  Matrix sample(std::min(x.rows, kMostRows), x.columns);
  for (int64_t i = 0; i < sample.rows; ++i)
    std::copy_n(x.row(i * x.rows / sample.rows), x.columns, sample.row(i));
  return sample;
}

}  // namespace

struct Preconditioner::Factor {
  int64_t dims = 0;
  Eigen::MatrixXd lower;

  [[nodiscard]] Eigen::Map<RowMajor> matrix(std::span<double> values) const {
    return {values.data(), static_cast<int64_t>(values.size()) / dims, dims};
  }
};

Preconditioner::Preconditioner(const CpuExec& ex, const Matrix& x, double ridge) {
  const int64_t d = x.columns;
  const Matrix sample = sample_of(x);
  std::vector<float> product(d * d);
  gemm(ex, {.a = sample.view(),
            .transpose_a = true,
            .b = sample.view(),
            .c = {product.data(), {d, d}, DType::kF32}});
  Eigen::MatrixXd covariance = Eigen::Map<Eigen::MatrixXf>(product.data(), d, d).cast<double>() /
                               static_cast<double>(sample.rows);
  covariance.diagonal().array() += ridge;
  const Eigen::LLT<Eigen::MatrixXd> cholesky(covariance);
  auto factor = std::make_unique<Factor>();
  factor->dims = d;
  // Rounding could make it indefinite only for a ridge far below the ones in use; plain coordinates
  // then serve.
  factor->lower = cholesky.info() == Eigen::Success ? Eigen::MatrixXd(cholesky.matrixL())
                                                    : Eigen::MatrixXd::Identity(d, d);
  factor_ = std::move(factor);
}

Preconditioner::~Preconditioner() = default;

void Preconditioner::to_coordinates(std::span<double> weight) const {
  auto w = factor_->matrix(weight);
  w = (w * factor_->lower.triangularView<Eigen::Lower>()).eval();
}

void Preconditioner::to_weights(std::span<double> coordinates) const {
  auto v = factor_->matrix(coordinates);
  factor_->lower.triangularView<Eigen::Lower>().solveInPlace<Eigen::OnTheRight>(v);
}

void Preconditioner::to_coordinate_gradient(std::span<double> weight_gradient) const {
  auto g = factor_->matrix(weight_gradient);
  factor_->lower.transpose().triangularView<Eigen::Upper>().solveInPlace<Eigen::OnTheRight>(g);
}

}  // namespace bigbigan
