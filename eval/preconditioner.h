// Coordinates in which softmax regression is well conditioned.
//
// Note [Preconditioning]: features of a network are strongly correlated (condition numbers of 1e5
// are common), and L-BFGS then needs thousands of iterations. At W = 0 the Hessian of the loss is
// (C + classes l2 I) / classes for each class, C being the covariance of the features. With C +
// ridge I = L L^T and V = W L the same loss has a Hessian near I / classes in V, and some tens of
// iterations suffice. The minimum is the same one: only the path to it changes, so C may be
// estimated from some of the rows.
#pragma once

#include <memory>
#include <span>

#include "eval/features.h"

namespace bigbigan {

class Preconditioner {
 public:
  // `x` is standardised.
  Preconditioner(const CpuExec& ex, const Matrix& x, double ridge);
  ~Preconditioner();
  Preconditioner(const Preconditioner&) = delete;
  Preconditioner& operator=(const Preconditioner&) = delete;

  // All (classes, dims), in place: V := W L, W := V L^-1, and the gradient by V from that by W, G
  // L^-T.
  void to_coordinates(std::span<double> weight) const;
  void to_weights(std::span<double> coordinates) const;
  void to_coordinate_gradient(std::span<double> weight_gradient) const;

 private:
  struct Factor;
  std::unique_ptr<const Factor> factor_;
};

}  // namespace bigbigan
