#include <cmath>

#include "kernels/common/dispatch.h"
#include "kernels/loss/softmax_cross_entropy_shapes.h"

namespace bigbigan {
namespace {

template <class T>
class Rows {
 public:
  explicit Rows(const CrossEntropyArgs& a)
      : logits_(a.logits.as<T>()),
        labels_(a.labels.as<int64_t>()),
        gradient_(a.d_logits ? a.d_logits.as<T>() : nullptr),
        classes_(a.logits.shape[1]),
        scale_(a.scale),
        accumulate_(a.accumulate) {}

  // Adds row `i` to `terms`, and writes its gradient.
  void add(int64_t i, double* terms) const {
    const T* x = logits_ + i * classes_;
    const int64_t label = labels_[i];
    if (label < 0 || label >= classes_) {
      ++terms[kCrossEntropyInvalid];
      for (int64_t c = 0; c < classes_; ++c) add_gradient(i, c, 0);
      return;
    }
    int64_t top = 0;
    for (int64_t c = 1; c < classes_; ++c) {
      if (double(x[c]) > double(x[top])) top = c;
    }
    double sum = 0;
    for (int64_t c = 0; c < classes_; ++c) sum += std::exp(double(x[c]) - double(x[top]));
    terms[kCrossEntropyLoss] += scale_ * (std::log(sum) + double(x[top]) - double(x[label]));
    if (top == label) ++terms[kCrossEntropyCorrect];
    for (int64_t c = 0; c < classes_; ++c) {
      const double softmax = std::exp(double(x[c]) - double(x[top])) / sum;
      add_gradient(i, c, scale_ * (softmax - (c == label ? 1 : 0)));
    }
  }

 private:
  void add_gradient(int64_t row, int64_t c, double value) const {
    if (gradient_ == nullptr) return;
    T& out = gradient_[row * classes_ + c];
    out = static_cast<T>((accumulate_ ? double(out) : 0.0) + value);
  }

  const T* logits_;
  const int64_t* labels_;
  T* gradient_;
  int64_t classes_;
  double scale_;
  bool accumulate_;
};

}  // namespace

void softmax_cross_entropy(const CpuExec& ex, const CrossEntropyArgs& a) {
  const Observed observed(ex);
  check_cross_entropy(a);
  const int64_t rows = a.logits.shape[0], parts = cross_entropy_parts(rows);
  double* partial = a.terms ? a.scratch.as<double>() + 1 : nullptr;
  dispatch_float("softmax_cross_entropy", a.logits.dtype, [&]<class T>(TypeTag<T>) {
    const Rows<T> all(a);
    ex.for_chunks(parts, [&](int64_t part) {
      double terms[kCrossEntropyTermCount] = {};
      for (int64_t i = rows * part / parts; i < rows * (part + 1) / parts; ++i) all.add(i, terms);
      if (partial != nullptr) std::ranges::copy(terms, partial + part * kCrossEntropyTermCount);
    });
  });
  if (!a.terms) return;
  for (int term = 0; term < kCrossEntropyTermCount; ++term) {
    double sum = 0;
    for (int64_t part = 0; part < parts; ++part)
      sum += partial[part * kCrossEntropyTermCount + term];
    a.terms.as<double>()[term] = sum;
  }
}

}  // namespace bigbigan
