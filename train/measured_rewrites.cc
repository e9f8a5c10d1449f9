#include "train/measured_rewrites.h"

#include <algorithm>
#include <sstream>

#include "engine/util/program.h"
#include "kernels/common/error.h"

namespace bigbigan {
namespace {

constexpr int kReplays = 9;

}  // namespace

BlockSeconds seconds_on(Accelerator& device, const Context& ctx, int64_t n) {
  return [&device, ctx, n](const RewritableBlock& block) {
    const auto pool = device.private_pool();
    Context mine = ctx;
    mine.allocator = pool.get();
    mine.comm = nullptr;  // one rank measures
    const auto pass = block.pass(mine, n);
    pass();  // Note [Captured step]
    const auto recording = device.record(pass);
    const auto timeline = device.timeline();
    std::vector<double> seconds;
    for (int i = 0; i < kReplays; ++i) {
      const size_t start = timeline->mark();
      recording->replay();
      seconds.push_back(timeline->seconds(start, timeline->mark()));
    }
    std::nth_element(seconds.begin(), seconds.begin() + kReplays / 2, seconds.end());
    return seconds[kReplays / 2];
  };
}

std::string choose_rewrites(BigBiGAN& model, const BlockSeconds& seconds) {
  std::string plain;
  for (const RewritableBlock& block : model.rewritable_blocks()) {
    block.choose(false);
    const double without = seconds(block);
    block.choose(true);
    if (seconds(block) <= without) continue;
    block.choose(false);
    plain += (plain.empty() ? "" : " ") + block.name;
  }
  return plain;
}

std::string measure_rewrites(const Config& config, Device& device, const Ranks& ranks,
                             const Context& ctx, BigBiGAN& model) {
  if (device.accelerator() == nullptr || !config.train.measure_rewrites || !config.model.rewrites) {
    return "";
  }
  std::string plain;
  if (ranks.is_root()) {
    Context of_step = ctx;
    of_step.dtype = config.train.dtype();
    const int64_t n = ranks.share(config.train).count;
    plain = choose_rewrites(model, seconds_on(*device.accelerator(), of_step, n));
    note("faster without their exact rewrite: " + (plain.empty() ? "no blocks" : plain));
  }
  plain = ranks.from_root(plain);
  use_plain_blocks(model, plain);
  return plain;
}

void use_plain_blocks(BigBiGAN& model, const std::string& names) {
  const std::vector<RewritableBlock> blocks = model.rewritable_blocks();
  std::istringstream list(names);
  for (std::string name; list >> name;) {
    const auto block = std::find_if(blocks.begin(), blocks.end(),
                                    [&](const RewritableBlock& b) { return b.name == name; });
    if (block == blocks.end()) fail(ExitCode::kBadData, "no block {} with a rewrite", name);
    block->choose(false);
  }
}

}  // namespace bigbigan
