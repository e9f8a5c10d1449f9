// Convolutions on CUDA by cuDNN's graphs.
//
// Note [Engines]: a problem gets the first engine of cuDNN's heuristics that is deterministic,
// works in the precision asked for, and neither transforms (FFT, Winograd) nor rounds on the way;
// the same one as long as the process lives, and by heuristics, not by timing: the same one again
// on the same device, library and limit. One whose workspace stays below a limit is preferred
// (BIGBIGAN_CONV_WORKSPACE_MIB, 512): the first for f32 ask for up to 3 GB. Bias and ReLU belong to
// the graph where cuDNN has such an engine, else to conv2d_finish, as does adding to a gradient.
#define NV_CUDNN_FRONTEND_USE_DYNAMIC_LOADING
#include <cudnn_frontend.h>

#include <array>
#include <cstdlib>
#include <limits>
#include <map>
#include <memory>
#include <mutex>

#include "kernels/common/cuda_status.h"
#include "kernels/common/vendor_library.h"
#include "kernels/conv/conv2d.h"
#include "kernels/conv/conv2d_cudnn.h"
#include "kernels/conv/conv2d_shapes.h"
#include "kernels/conv/finish.h"

namespace cudnn_frontend {
void* cudnn_dlhandle = nullptr;  // where the frontend looks for cuDNN's functions
}

namespace bigbigan {
namespace {

namespace frontend = cudnn_frontend;
using GraphTensor = std::shared_ptr<frontend::graph::Tensor_attributes>;

constexpr int64_t kAlignment = 16;  // of every operand, as engines expect

// Names of operands within a graph.
enum Operand : int64_t { kX = 1, kWeight, kY, kBias };

struct Problem {
  ConvPass pass = ConvPass::kFprop;
  ConvGeometry g;
  DType dtype = DType::kF32;
  ConvExtras extras;

  [[nodiscard]] bool has_epilogue() const { return extras.bias || extras.relu; }
  [[nodiscard]] Shape result() const {
    if (pass == ConvPass::kFprop) return g.y();
    return pass == ConvPass::kDgrad ? g.x() : g.weight();
  }
  [[nodiscard]] DType result_dtype() const {
    return pass == ConvPass::kWgrad ? master_dtype(dtype) : dtype;
  }
  [[nodiscard]] std::string name() const {
    constexpr const char* kPasses[] = {"fprop", "dgrad", "wgrad"};
    return fmt::format("conv2d {} of x {} and weight {}, stride {}, pad {}, {}",
                       kPasses[static_cast<int>(pass)], g.x(), g.weight(), g.stride, g.pad,
                       name_of(dtype));
  }
};

// --- graphs ---

// cuDNN names channels second, whatever lies innermost in memory: ours do.
frontend::graph::Tensor_attributes& lay_out(frontend::graph::Tensor_attributes& tensor,
                                            const Shape& shape) {
  const int64_t n = shape[0], h = shape[1], w = shape[2], c = shape[3];
  return tensor.set_dim({n, c, h, w}).set_stride({h * w * c, 1, w * c, c});
}

GraphTensor input(frontend::graph::Graph& graph, Operand operand, const Shape& shape) {
  frontend::graph::Tensor_attributes tensor;
  return graph.tensor(lay_out(tensor, shape).set_uid(operand).set_alignment(kAlignment));
}

template <class Attributes>
Attributes convolution_of(const ConvGeometry& g) {
  Attributes attributes;
  attributes.set_padding({g.pad, g.pad}).set_stride({g.stride, g.stride}).set_dilation({1, 1});
  return attributes;
}

// f(a) or f(a, b), where `a` is the result of another step.
GraphTensor pointwise(frontend::graph::Graph& graph, frontend::PointwiseMode_t mode,
                      const GraphTensor& a, const GraphTensor& b, const Shape& shape) {
  lay_out(*a, shape);
  const auto attributes = frontend::graph::Pointwise_attributes().set_mode(mode);
  return b ? graph.pointwise(a, b, attributes) : graph.pointwise(a, attributes);
}

frontend::DataType_t library_type(DType dtype) {
  return dtype == DType::kBF16 ? frontend::DataType_t::BFLOAT16 : frontend::DataType_t::FLOAT;
}

std::shared_ptr<frontend::graph::Graph> graph_of(const Problem& p, bool fused) {
  const auto graph = std::make_shared<frontend::graph::Graph>();
  graph->set_io_data_type(library_type(p.dtype))
      .set_intermediate_data_type(frontend::DataType_t::FLOAT)
      .set_compute_data_type(frontend::DataType_t::FLOAT)
      // Plans live as long as the process, so that captured graphs need not keep them alive.
      .set_cuda_graph_retention(frontend::CudaGraphRetention_t::NONE);
  GraphTensor made;
  Operand output = kY;
  switch (p.pass) {
    case ConvPass::kFprop:
      made = graph->conv_fprop(input(*graph, kX, p.g.x()), input(*graph, kWeight, p.g.weight()),
                               convolution_of<frontend::graph::Conv_fprop_attributes>(p.g));
      break;
    case ConvPass::kDgrad:
      output = kX;
      made = graph->conv_dgrad(input(*graph, kY, p.g.y()), input(*graph, kWeight, p.g.weight()),
                               convolution_of<frontend::graph::Conv_dgrad_attributes>(p.g));
      break;
    case ConvPass::kWgrad:
      output = kWeight;
      made = graph->conv_wgrad(input(*graph, kY, p.g.y()), input(*graph, kX, p.g.x()),
                               convolution_of<frontend::graph::Conv_wgrad_attributes>(p.g));
      break;
  }
  const Shape shape = p.result();
  if (fused && p.extras.bias) {
    const GraphTensor bias = input(*graph, kBias, {1, 1, 1, shape[3]});
    made = pointwise(*graph, frontend::PointwiseMode_t::ADD, made, bias, shape);
  }
  if (fused && p.extras.relu) {
    made = pointwise(*graph, frontend::PointwiseMode_t::RELU_FWD, made, nullptr, shape);
  }
  lay_out(*made, shape).set_uid(output).set_alignment(kAlignment).set_output(true);
  made->set_data_type(library_type(p.result_dtype()));
  return graph;
}

// --- the library ---

const VendorLibrary& cudnn_library() {
  static const VendorLibrary library{"cuDNN " + std::to_string(CUDNN_MAJOR),
                                     "libcudnn.so." + std::to_string(CUDNN_MAJOR),
                                     "cuDNN " + std::to_string(CUDNN_MAJOR) + " for CUDA " +
                                         std::to_string(CUDART_VERSION / 1000)};
  return library;
}

// Opens what the frontend looks into: cuDNN, and a CUDA runtime of its own.
void open_cudnn() {
  static std::once_flag once;
  std::call_once(once, [] {
    const std::string major = std::to_string(CUDART_VERSION / 1000);
    const VendorLibrary runtime{"cuDNN's CUDA runtime", "libcudart.so." + major,
                                "the runtime of CUDA " + major + " (cuda-cudart-" + major + "-*)"};
    open_library(runtime);
    setenv("CUDNN_FRONTEND_CUDART_LIB_NAME", runtime.file.c_str(), 0);
    void* const handle = open_library(cudnn_library());
    decltype(&cudnnGetVersion) version = nullptr;
    find_function(handle, cudnn_library(), "cudnnGetVersion", version);
    check_major_version(cudnn_library(), static_cast<int>(version() / 10000), CUDNN_MAJOR);
    frontend::cudnn_dlhandle = handle;
  });
}

void check_cudnn(cudnnStatus_t status, const char* what) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  fail(ExitCode::kSystem, "{}: {}", what, frontend::detail::get_error_string(status));
}

// Note [Engines]
std::vector<frontend::NumericalNote_t> unwanted_notes(DType dtype) {
  using Note = frontend::NumericalNote_t;
  std::vector<Note> notes = {Note::NONDETERMINISTIC,
                             Note::DOWN_CONVERT_INPUTS,
                             Note::FFT,
                             Note::REDUCED_PRECISION_REDUCTION,
                             Note::WINOGRAD,
                             Note::WINOGRAD_TILE_4x4,
                             Note::WINOGRAD_TILE_6x6,
                             Note::WINOGRAD_TILE_13x13};
  if (dtype == DType::kF32) notes.push_back(Note::TENSOR_CORE);  // of f32: TF32
  return notes;
}

// The frontend appends what each engine objects to, in many lines.
std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

// Note [Engines]
std::array<int64_t, 2> workspace_limits() {
  static const int64_t mib = environment_number("BIGBIGAN_CONV_WORKSPACE_MIB", 512, 1 << 20);
  return {mib << 20, std::numeric_limits<int64_t>::max()};
}

// Finds an engine for the graph that needs no more workspace; empty, or why there is none.
std::string compile(frontend::graph::Graph& graph, DType dtype, cudnnHandle_t handle,
                    int64_t most_bytes) {
  using frontend::HeurMode_t;
  try {
    auto status = graph.validate();
    if (status.is_good()) status = graph.build_operation_graph(handle);
    if (status.is_good()) {
      status = graph.create_execution_plans({HeurMode_t::A, HeurMode_t::FALLBACK});
    }
    graph.deselect_numeric_notes(unwanted_notes(dtype));
    graph.deselect_workspace_greater_than(most_bytes);
    if (status.is_good()) status = graph.check_support();
    if (status.is_good()) {
      status = graph.build_plans(frontend::BuildPlanPolicy_t::HEURISTICS_CHOICE);
    }
    return status.is_good() ? std::string() : first_line(status.get_message());
  } catch (const std::exception& error) {
    return first_line(error.what());
  }
}

struct Plan {
  std::shared_ptr<frontend::graph::Graph> graph;
  bool is_fused = false;  // bias and ReLU are done by the graph
  int64_t workspace_bytes = 0;
};

Plan plan_of(const Problem& p, cudnnHandle_t handle) {
  std::string reasons;
  for (const int64_t most_bytes : workspace_limits()) {
    reasons.clear();
    for (const bool fused : {true, false}) {
      if (fused && (!p.has_epilogue() || p.extras.accumulate)) continue;
      Plan plan{graph_of(p, fused), fused, 0};
      const std::string reason = compile(*plan.graph, p.dtype, handle, most_bytes);
      if (reason.empty()) {
        plan.workspace_bytes = plan.graph->get_workspace_size();
        return plan;
      }
      reasons += (reasons.empty() ? "" : "; without bias and ReLU: ") + reason;
    }
  }
  fail(ExitCode::kSystem,
       "{}: cuDNN has no deterministic engine: {} (CUDNN_LOGLEVEL_DBG=2 tells more)", p.name(),
       reasons);
}

// The handles and plans of the process.
class Convolutions {
 public:
  static Convolutions& instance() {
    static Convolutions convolutions;
    return convolutions;
  }

  const Plan& plan_for(const Problem& p) {
    const std::lock_guard lock(mutex_);
    const int device = current_device();
    const ConvGeometry& g = p.g;
    const Key key{{device, int64_t(p.pass), int64_t(p.dtype), p.extras.bias, p.extras.relu,
                   p.extras.accumulate},
                  {g.n, g.h, g.w, g.c, g.k, g.r, g.s, g.stride, g.pad}};
    const auto found = plans_.find(key);
    if (found != plans_.end()) return found->second;
    return plans_.emplace(key, plan_of(p, handle_of(device))).first->second;
  }

  void execute(const CudaExec& ex, const Plan& plan, std::unordered_map<int64_t, void*> operands,
               void* workspace) {
    const std::lock_guard lock(mutex_);  // the handle's stream is that of one call
    const cudnnHandle_t handle = handle_of(current_device());
    check_cudnn(frontend::detail::set_stream(handle, ex.stream), "cuDNN stream");
    auto status = plan.graph->execute(handle, operands, workspace);
    if (status.is_bad()) fail(ExitCode::kSystem, "conv2d: cuDNN: {}", status.get_message());
  }

 private:
  using Key = std::pair<std::array<int64_t, 6>, std::array<int64_t, 9>>;

  Convolutions() { open_cudnn(); }

  static int current_device() {
    int device = 0;
    check_cuda(cudaGetDevice(&device), "conv2d");
    return device;
  }

  cudnnHandle_t handle_of(int device) {
    cudnnHandle_t& handle = handles_[device];
    if (handle == nullptr) check_cudnn(frontend::detail::create_handle(&handle), "cuDNN handle");
    return handle;
  }

  std::mutex mutex_;
  std::map<int, cudnnHandle_t> handles_;  // by device; released with the process
  std::map<Key, Plan> plans_;
};

// --- a launch ---

// Bytes of the scratch: the library's workspace, then the result where it is formed apart.
int64_t apart_at(const Plan& plan) { return (plan.workspace_bytes + 255) / 256 * 256; }

int64_t scratch_bytes(const Problem& p, const Plan& plan) {
  if (!p.extras.accumulate) return plan.workspace_bytes;
  return apart_at(plan) + p.result().elems() * static_cast<int64_t>(size_of(p.result_dtype()));
}

// `inputs`: the two operands of the convolution, by their names in the graph.
void run(const CudaExec& ex, const Problem& p,
         std::initializer_list<std::pair<Operand, ConstView>> inputs, Operand output,
         ConstView bias, View result, View scratch) {
  const Plan& plan = Convolutions::instance().plan_for(p);
  check(scratch.bytes() >= scratch_bytes(p, plan), "{}: {} bytes of scratch, needs {}", p.name(),
        scratch.bytes(), scratch_bytes(p, plan));
  View made = result;
  if (p.extras.accumulate) made.data = static_cast<std::byte*>(scratch.data) + apart_at(plan);
  std::unordered_map<int64_t, void*> operands;
  const auto add = [&](Operand operand, ConstView view) {
    check(view.dtype == (operand == output ? p.result_dtype() : p.dtype), "{}: an operand is {}",
          p.name(), name_of(view.dtype));
    check(reinterpret_cast<uintptr_t>(view.data) % kAlignment == 0,
          "{}: an operand is not at a multiple of {} bytes", p.name(), kAlignment);
    operands[operand] = const_cast<void*>(view.data);
  };
  for (const auto& [operand, view] : inputs) add(operand, view);
  add(output, made);
  if (bias && plan.is_fused) add(kBias, bias);
  Convolutions::instance().execute(ex, plan, std::move(operands), scratch.data);
  if (p.extras.accumulate || (p.has_epilogue() && !plan.is_fused)) {
    conv2d_finish(ex, made, bias, p.extras.relu, result, p.extras.accumulate);
  }
}

}  // namespace

int64_t conv2d_scratch_bytes(const CudaExec&, ConvPass pass, const ConvGeometry& g, DType dtype,
                             const ConvExtras& extras) {
  const Problem p{pass, g, dtype, extras};
  if (g.n == 0 || p.result().elems() == 0) return 0;
  return scratch_bytes(p, Convolutions::instance().plan_for(p));
}

void conv2d_fprop(const CudaExec& ex, const ConvGeometry& g, ConstView x, ConstView w,
                  ConstView bias, bool relu, View y, View scratch) {
  const Observed observed(ex,
                          {g.n, g.h, g.w, g.c, g.k, g.r, g.s, g.stride, g.pad, bool(bias), relu});
  check_fprop(g, x, w, bias, y);
  if (y.elems() == 0) return;
  run(ex, {ConvPass::kFprop, g, y.dtype, {bool(bias), relu}}, {{kX, x}, {kWeight, w}}, kY, bias, y,
      scratch);
}

void conv2d_dgrad(const CudaExec& ex, const ConvGeometry& g, ConstView d_y, ConstView w,
                  ConstView bias, View d_x, bool accumulate, View scratch) {
  const Observed observed(
      ex, {g.n, g.h, g.w, g.c, g.k, g.r, g.s, g.stride, g.pad, bool(bias), accumulate});
  check_dgrad(g, d_y, w, bias, d_x);
  if (d_x.elems() == 0) return;
  run(ex, {ConvPass::kDgrad, g, d_x.dtype, {.bias = bool(bias), .accumulate = accumulate}},
      {{kY, d_y}, {kWeight, w}}, kX, bias, d_x, scratch);
}

void conv2d_wgrad(const CudaExec& ex, const ConvGeometry& g, ConstView x, ConstView d_y, View d_w,
                  bool accumulate, View scratch) {
  const Observed observed(ex, {g.n, g.h, g.w, g.c, g.k, g.r, g.s, g.stride, g.pad, 0, accumulate});
  check_wgrad(g, x, d_y, d_w);
  if (d_w.elems() == 0) return;
  if (g.n == 0) {  // a sum of nothing
    if (accumulate) return;
    return check_cuda(cudaMemsetAsync(d_w.data, 0, d_w.bytes(), ex.stream), "conv2d");
  }
  run(ex, {ConvPass::kWgrad, g, x.dtype, {.accumulate = accumulate}}, {{kX, x}, {kY, d_y}}, kWeight,
      {}, d_w, scratch);
}

namespace cudnn {

void validate_graph(ConvPass pass, const ConvGeometry& g, DType dtype, const ConvExtras& extras,
                    bool fused) {
  open_cudnn();
  const Problem p{pass, g, dtype, extras};
  auto status = graph_of(p, fused)->validate();
  check(status.is_good(), "{}: {}", p.name(), status.get_message());
}

Engine find_engine(ConvPass pass, const ConvGeometry& g, DType dtype, const ConvExtras& extras,
                   bool fused, std::string_view device) {
  open_cudnn();
  const auto properties = std::make_shared<frontend::DeviceProperties>();
  auto status = properties->deserialize({device.begin(), device.end()});
  check(status.is_good(), "cuDNN device properties: {}", status.get_message());
  Engine found;
  for (const int64_t most_bytes : workspace_limits()) {
    const auto graph = graph_of({pass, g, dtype, extras}, fused);
    graph->set_device_properties(properties);
    graph->set_sm_version(1);  // any, or it asks this machine's device; convolutions do not care
    found.problem = compile(*graph, dtype, nullptr, most_bytes);
    if (!found.problem.empty()) continue;
    status = graph->get_plan_name(found.name);
    check(status.is_good(), "cuDNN plan: {}", status.get_message());
    found.workspace_bytes = graph->get_workspace_size();
    break;
  }
  return found;
}

}  // namespace cudnn
}  // namespace bigbigan
