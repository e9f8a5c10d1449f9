#include "eval/device_loss.h"

#include <algorithm>
#include <memory>

#include "kernels/linear/gemm.h"
#include "kernels/loss/softmax_cross_entropy.h"

namespace bigbigan {
namespace {

// Enough to fill a GPU; few enough that f32 sums of so many terms keep five digits.
constexpr int64_t kTileRows = 16384;

class DeviceLoss {
 public:
  DeviceLoss(const Context& ctx, const LabelledFeatures& data, int64_t classes)
      : ctx_(ctx),
        rows_(data.x.rows),
        x_(Tensor::from_host(ctx, {rows_, data.x.columns}, DType::kF32, data.x.row(0),
                             MemoryTag::kData)),
        labels_(Tensor::from_host(ctx, {rows_}, DType::kI64, data.labels.data(), MemoryTag::kData)),
        weight_(Tensor::empty(ctx, {classes, data.x.columns}, DType::kF32)),
        bias_(Tensor::empty(ctx, {classes}, DType::kF32)),
        d_weight_(Tensor::empty(ctx, weight_.shape(), DType::kF32)),
        d_bias_(Tensor::empty(ctx, bias_.shape(), DType::kF32)),
        terms_(Tensor::empty(ctx, {kCrossEntropyTermCount}, DType::kF64)) {
    const int64_t tile = std::min(kTileRows, rows_);
    scores_ = Tensor::empty(ctx, {tile, classes}, DType::kF32);
    d_scores_ = Tensor::empty(ctx, {tile, classes}, DType::kF32);
    scratch_ = Tensor::zeros(ctx, {cross_entropy_scratch_elems(tile)}, DType::kF64);
  }

  double operator()(const LinearClassifier& at, LinearClassifier& gradient) const {
    const double scale = 1.0 / static_cast<double>(rows_);
    weight_.write(std::vector<float>(at.weight.begin(), at.weight.end()).data());
    bias_.write(std::vector<float>(at.bias.begin(), at.bias.end()).data());
    gradient = LinearClassifier(at.classes, at.dims);
    double loss = 0;
    for (int64_t begin = 0; begin < rows_; begin += kTileRows) {
      compute(begin, std::min(rows_, begin + kTileRows));
      loss += scale * terms_.to_vector<double>()[kCrossEntropyLoss];
      add(scale, d_weight_, gradient.weight);
      add(scale, d_bias_, gradient.bias);
    }
    return loss;
  }

 private:
  // Of rows [begin, end): the sum of losses in terms_, and its gradients.
  void compute(int64_t begin, int64_t end) const {
    const Tensor x = x_.slice(begin, end), labels = labels_.slice(begin, end);
    const Tensor scores = scores_.slice(0, end - begin), d_scores = d_scores_.slice(0, end - begin);
    ctx_.run([&](const auto& ex) {
      gemm(ex, {.a = x, .b = weight_, .transpose_b = true, .c = scores, .bias = bias_});
      softmax_cross_entropy(ex, {.logits = scores,
                                 .labels = labels,
                                 .terms = terms_,
                                 .d_logits = d_scores,
                                 .scratch = scratch_});
      gemm(ex, {.a = d_scores, .transpose_a = true, .b = x, .c = d_weight_, .a_sums = d_bias_});
    });
  }
  static void add(double scale, const Tensor& part, std::vector<double>& sum) {
    const std::vector<float> values = part.to_vector<float>();
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += scale * values[i];
  }

  const Context& ctx_;
  int64_t rows_;
  Tensor x_, labels_, weight_, bias_, d_weight_, d_bias_, terms_, scores_, d_scores_, scratch_;
};

}  // namespace

DataLoss device_loss(const Context& ctx, const LabelledFeatures& data, int64_t classes) {
  const auto loss = std::make_shared<DeviceLoss>(ctx, data, classes);
  return [loss](const LinearClassifier& at, LinearClassifier& gradient) {
    return (*loss)(at, gradient);
  };
}

}  // namespace bigbigan
