// Whole training steps on CUDA beside the CPU: losses, gradients, weights, averages.
#include <catch2/catch.hpp>
#include <cmath>

#include "engine/comm/device_communicator.h"
#include "engine/core/backend_cuda/cuda_device.h"
#include "kernels/common/cuda_status.h"
#include "kernels/random/philox.h"
#include "tests/models/small_model.h"
#include "train/captured_step.h"

using namespace bigbigan;

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int kSteps = 2, kAveragesFrom = 3;  // at seconds each
#else
constexpr int kSteps = 20, kAveragesFrom = 5;
#endif

Config step_config(const std::string& precision = "f32") {
  Config c;
  c.train.precision = precision;
  c.model = attention_config();
  c.train.batch = 3;
  c.train.d_steps = 1;
  c.train.ema_start = kAveragesFrom;
  return c;
}

// One run on one backend.
struct Run {
  // Batches come from memory of their own where `batch_allocator` is given.
  Run(const Config& config, const AnyExec& exec, Allocator& allocator,
      Allocator* batch_allocator = nullptr, Communicator* comm = nullptr)
      : config(config),
        ctx{.exec = exec, .allocator = &allocator, .comm = comm, .dtype = config.train.dtype()},
        batch_ctx{.exec = exec,
                  .allocator = batch_allocator != nullptr ? batch_allocator : &allocator},
        model(config.model) {
    model.allocate(ctx, true, config.ranks.division());
    model.initialize(1);
    step.emplace(this->config, model, ctx);
  }

  StepReport train_step(int64_t number) {
    step->run(next_batches(), number);
    return step->report();
  }

  std::vector<ImageBatch> next_batches() {
    std::vector<ImageBatch> batches;
    while (std::ssize(batches) < config.train.micro_batches_per_step()) {
      batches.push_back(next_micro_batch());
    }
    return batches;
  }

  Config config;
  Context ctx, batch_ctx;
  BigBiGAN model;
  std::optional<TrainingStep> step;

 private:
  ImageBatch next_micro_batch() {
    const int64_t images = config.train.images_at_a_time(1);
    const Shape shape{images, 32, 32, config.model.image_channels};
    std::vector<uint8_t> pixels(shape.elems());
    for (size_t i = 0; i < pixels.size(); ++i) {
      pixels[i] = static_cast<uint8_t>(
          philox(9, RandomStream::kSample, consumed * pixels.size() + i, 0).word[0]);
    }
    const int64_t first = consumed * images;
    ++consumed;
    return image_batch(batch_ctx, Tensor::from_host(batch_ctx, shape, DType::kU8, pixels.data()),
                       Tensor(), first, config.train.batch);
  }

  int64_t consumed = 0;
};

// Largest |a - b| relative to the largest |b|.
double distance(const Tensor& a, const Tensor& b) {
  const std::vector<double> x = read(a), y = read(b);
  double worst = 0, scale = 0;
  for (size_t i = 0; i < y.size(); ++i) {
    worst = std::max(worst, std::abs(x[i] - y[i]));
    scale = std::max(scale, std::abs(y[i]));
  }
  return worst == 0 ? 0 : worst / scale;
}

}  // namespace

TEST_CASE("CUDA step: gradients of the first step, and twenty steps beside the CPU") {
  const CudaDevice device;
  PoolAllocator pool(device.memory());
  HostAllocator host;
  Run cpu(step_config(), CpuExec{}, host), cuda(step_config(), device.exec(), pool);
  for (int s = 1; s <= kSteps; ++s) {
    const StepReport expected = cpu.train_step(s), found = cuda.train_step(s);
    INFO("step " << s);
    REQUIRE(!found.skipped);
    // Both round to f32 in another order; Adam's first steps turn the sign of a gradient into a
    // step, so that weights with gradients of nothing but rounding walk apart by the learning rate.
    const double limit = s == 1 ? 1e-5 : 1e-2;
    for (int i = 0; i < kLossTermCount; ++i) {
      CHECK(found.d[i] == Approx(expected.d[i]).epsilon(limit).margin(limit));
      CHECK(found.eg[i] == Approx(expected.eg[i]).epsilon(limit).margin(limit));
    }
    if (s == 1) {
      for (size_t k = 0; k < cpu.model.stores().size(); ++k) {
        INFO(cpu.model.stores()[k]->name());
        CHECK(distance(cuda.model.stores()[k]->grad, cpu.model.stores()[k]->grad) < 1e-3);
        CHECK(distance(cuda.model.stores()[k]->statistics, cpu.model.stores()[k]->statistics) <
              1e-5);
      }
    }
  }
  for (size_t k = 0; k < cpu.model.stores().size(); ++k) {
    const ParamStore &a = *cuda.model.stores()[k], &b = *cpu.model.stores()[k];
    INFO(b.name());
    CHECK(distance(a.value, b.value) < 1e-2);
    if (b.ema) CHECK(distance(a.ema, b.ema) < 1e-2);
  }
  CHECK(cuda.step->report().d_updates == kSteps);
}

TEST_CASE("CUDA step in bf16: gradients of the first step, and steps beside the CPU") {
  const CudaDevice device;
  PoolAllocator pool(device.memory());
  HostAllocator host;
  const Config config = step_config("bf16");
  Run cpu(config, CpuExec{}, host), cuda(config, device.exec(), pool);
  Run f32(step_config(), CpuExec{}, host);
  for (int s = 1; s <= kSteps; ++s) {
    const StepReport expected = cpu.train_step(s), found = cuda.train_step(s);
    const StepReport unrounded = f32.train_step(s);
    INFO("step " << s);
    REQUIRE(!found.skipped);
    // Roundings of 1/256 in a few scores of order 1; later the runs walk apart by what Adam makes
    // of them, up to tenths of a score.
    const double limit = s == 1 ? 0.03 : 0.15;
    for (const int term : {kLossTotal, kLossX, kLossZ, kLossXZ}) {
      CHECK(found.d[term] == Approx(expected.d[term]).epsilon(limit).margin(limit));
      CHECK(found.eg[term] == Approx(expected.eg[term]).epsilon(limit).margin(limit));
      CHECK(expected.d[term] == Approx(unrounded.d[term]).epsilon(limit).margin(limit));
      CHECK(expected.eg[term] == Approx(unrounded.eg[term]).epsilon(limit).margin(limit));
    }
    if (s > 1) continue;
    for (size_t k = 0; k < cpu.model.stores().size(); ++k) {
      INFO(cpu.model.stores()[k]->name());
      CHECK(distance(cuda.model.stores()[k]->grad, cpu.model.stores()[k]->grad) < 0.05);
    }
  }
  for (size_t k = 0; k < cpu.model.stores().size(); ++k) {
    const ParamStore &a = *cuda.model.stores()[k], &b = *cpu.model.stores()[k];
    INFO(b.name());
    CHECK(distance(a.value, b.value) < 1e-2);
    std::vector<double> rounded = read(a.value);
    for (double& v : rounded) v = static_cast<double>(bf16(static_cast<float>(v)));
    CHECK(read(a.packed) == rounded);
  }
}

TEST_CASE("CUDA step: the same bits again") {
  const std::string precision = GENERATE("f32", "bf16");
  const CudaDevice device;
  const auto weights = [&] {
    PoolAllocator pool(device.memory());
    Run run(step_config(precision), device.exec(), pool);
    for (int s = 1; s <= 2; ++s) run.train_step(s);
    return std::pair(read(run.model.g_store.value), read(run.model.d_store.value));
  };
  REQUIRE(weights() == weights());
}

TEST_CASE("CUDA step: a gradient that is not finite changes nothing") {
  const CudaDevice device;
  PoolAllocator pool(device.memory());
  Run run(step_config(), device.exec(), pool);
  run.train_step(1);
  const std::vector<double> before = read(run.model.g_store.value);
  run.step->poison_next_gradient();
  REQUIRE(run.train_step(2).skipped);
  REQUIRE(read(run.model.g_store.value) == before);
}

namespace {

// Trains with a recorded step and with one that is launched, and compares all bits.
void check_recorded(const Config& config, int steps) {
  const std::unique_ptr<Accelerator> device = open_cuda(0);
  const std::unique_ptr<Allocator> pool = device->private_pool();
  Run plain(config, device->exec(), device->allocator()),
      captured(config, device->exec(), *pool, &device->allocator());
  CapturedStep step(*captured.step, *device);
  for (int s = 1; s <= steps; ++s) {
    const StepReport expected = plain.train_step(s);
    step.run(captured.next_batches(), s);
    const StepReport found = captured.step->report();
    INFO("step " << s);
    REQUIRE(found.d == expected.d);
    REQUIRE(found.eg == expected.eg);
  }
  for (size_t k = 0; k < plain.model.stores().size(); ++k) {
    const ParamStore &a = *captured.model.stores()[k], &b = *plain.model.stores()[k];
    REQUIRE(read(a.value) == read(b.value));
    if (b.ema) REQUIRE(read(a.ema) == read(b.ema));
  }
  REQUIRE(captured.step->report().d_updates == plain.step->report().d_updates);
}

// What a graph holds, as text that shows where two differ.
std::string contents_of(cudaGraph_t graph) {
  size_t count = 0, edges = 0, bytes = 0;  // bytes: that copies and fills write
  check_cuda(cudaGraphGetNodes(graph, nullptr, &count), "nodes");
  std::vector<cudaGraphNode_t> nodes(count);
  check_cuda(cudaGraphGetNodes(graph, nodes.data(), &count), "nodes");
  check_cuda(cudaGraphGetEdges(graph, nullptr, nullptr, nullptr, &edges), "edges");
  int kernels = 0, copies = 0, fills = 0;
  for (const cudaGraphNode_t node : nodes) {
    cudaGraphNodeType type = cudaGraphNodeTypeEmpty;
    check_cuda(cudaGraphNodeGetType(node, &type), "type");
    if (type == cudaGraphNodeTypeKernel) {
      ++kernels;
    } else if (type == cudaGraphNodeTypeMemcpy) {
      cudaMemcpy3DParms copy{};
      check_cuda(cudaGraphMemcpyNodeGetParams(node, &copy), "copy");
      bytes += copy.extent.width;
      ++copies;
    } else if (type == cudaGraphNodeTypeMemset) {
      cudaMemsetParams fill{};
      check_cuda(cudaGraphMemsetNodeGetParams(node, &fill), "fill");
      bytes += fill.elementSize * fill.width * fill.height;
      ++fills;
    }
  }
  return fmt::format("{} nodes: {} kernels, {} copies, {} fills, both of {} bytes; {} edges", count,
                     kernels, copies, fills, bytes, edges);
}

struct RecordedStep {
  std::string contents;
  std::vector<double> weights;  // of D, after the step before
};

// The second step, of one rank that speaks through NCCL or of none.
RecordedStep record_step(const Config& config, bool with_nccl) {
  const std::unique_ptr<Accelerator> device = open_cuda(0);
  const std::unique_ptr<Allocator> pool = device->private_pool();
  SelfCommunicator alone;
  const auto nccl = with_nccl ? make_nccl_communicator(alone, device->exec(), 60) : nullptr;
  Run run(config, device->exec(), *pool, &device->allocator(), nccl.get());
  run.train_step(1);
  RecordedStep recorded{.weights = read(run.model.d_store.value)};
  const std::vector<ImageBatch> batches = run.next_batches();
  const cudaStream_t stream = std::get<CudaExec>(device->exec()).stream;
  cudaGraph_t graph = nullptr;
  check_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "capture");
  run.step->run(batches, 2);
  check_cuda(cudaStreamEndCapture(stream, &graph), "capture");
  recorded.contents = contents_of(graph);
  cudaGraphDestroy(graph);
  return recorded;
}

// Bytes that the launchers of a step move, which those of the CPU know.
int64_t bytes_of_step(const Config& config, Communicator* comm) {
  struct Moved final : KernelObserver {
    int64_t bytes = 0;
    void begin(std::string_view, const LaunchWork& work) override { bytes += work.bytes; }
    void end() override {}
  } moved;
  HostAllocator host;
  Run(config, CpuExec{.observer = &moved}, host, nullptr, comm).train_step(1);
  return moved.bytes;
}

}  // namespace

TEST_CASE("CUDA step: recorded once and replayed, the same bits as launched one by one") {
  // Both recordings, before and after the averages begin, are replayed.
  check_recorded(step_config(GENERATE("f32", "bf16")), kAveragesFrom + 1);
}

TEST_CASE("CUDA step: recorded by one rank of NCCL, it holds what it holds without ranks") {
  for (const char* precision : {"f32", "bf16"}) {
    Config config = step_config(precision);
    const RecordedStep expected = record_step(config, false);
    const int64_t bytes = bytes_of_step(config, nullptr);
    SelfCommunicator alone;
    config.ranks.bucket_mib = 1.0 / 1024;
    for (const bool sends_less : {false, true}) {
      INFO(precision << (sends_less ? ", gradients as bf16, a sharded optimiser" : ""));
      if (sends_less) config.ranks.gradient_dtype = "bf16";
      config.ranks.shard_optimizer = sends_less;
      const RecordedStep found = record_step(config, true);
      CHECK(found.contents == expected.contents);
      CHECK((found.weights == expected.weights));
      CHECK(bytes_of_step(config, &alone) == bytes);
    }
  }
}

TEST_CASE("CUDA step: micro-batches recorded once and replayed") {
  Config config = step_config();
  config.train.batch = 4;
  config.train.micro_batches = 2;
  config.train.ema_start = 2;
  check_recorded(config, 3);
}

TEST_CASE("CUDA step: reports read one step late are those read at once") {
  const std::unique_ptr<Accelerator> device = open_cuda(0);
  Run at_once(step_config(), device->exec(), device->allocator()),
      late(step_config(), device->exec(), device->allocator());
  const StepReport first = at_once.train_step(1), second = at_once.train_step(2);
  for (int s = 1; s <= 2; ++s) {
    late.step->run(late.next_batches(), s);
    late.step->send_report();
  }
  REQUIRE_THROWS(late.step->send_report());
  for (const StepReport& expected : {first, second}) {
    const StepReport found = late.step->receive_report();
    CHECK(found.d == expected.d);
    CHECK(found.eg == expected.eg);
    CHECK(found.grad_norm_g == expected.grad_norm_g);
    CHECK(found.eg_updates == expected.eg_updates);
  }
  REQUIRE_THROWS(late.step->receive_report());
}
