#include "models/layers/lone_pass.h"

#include "engine/ops/random.h"

namespace bigbigan {
namespace {

Tensor random_values(const Context& ctx, const Shape& shape, DType dtype) {
  Context as = ctx;
  as.dtype = dtype;
  const Tensor first = Tensor::zeros(as, {1}, DType::kI64);
  const Shape rows{shape[0], shape.elems() / shape[0]};
  return random_normal(as, {0, RandomStream::kSample}, first, rows).reshape(shape);
}

// A prepared weight, and where its gradient goes.
struct Leaf {
  int index = 0;
  Tensor value, gradient;
};

}  // namespace

std::function<void()> lone_pass(const Context& ctx, const LonePass& block) {
  Context plain = ctx;
  plain.batch_statistics = true;
  std::vector<Leaf> leaves;
  for (const Weight& weight : block.weights) {
    const Shape& shape = weight.param.shape();
    leaves.push_back({weight.spectral,
                      random_values(ctx, shape, block.spectral.dtype_of(ctx, weight)),
                      Tensor::empty(ctx, shape, master_dtype(ctx.dtype))});
  }
  std::vector<Tensor> inputs;
  inputs.reserve(block.inputs.size());
  for (const Shape& shape : block.inputs) inputs.push_back(random_values(ctx, shape, ctx.dtype));
  const Tensor d_output = random_values(ctx, block.output, ctx.dtype);
  return
      [plain, leaves, inputs, d_output, weights = block.spectral.size(), forward = block.forward] {
        Tape tape;
        PreparedWeights prepared(weights);
        for (const Leaf& leaf : leaves) {
          prepared[leaf.index] = tape.leaf(leaf.value, leaf.gradient, false);
        }
        std::vector<Var> vars;
        for (const Tensor& input : inputs) vars.push_back(tape.input(input));
        const Var output = forward(plain.with_tape(&tape), prepared, vars);
        tape.seed(output, d_output);
        tape.backward(plain);
      };
}

}  // namespace bigbigan
