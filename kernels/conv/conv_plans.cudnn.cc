// Convolutions on CUDA by cuDNN's graphs.
//
// Note [Engines]: a problem gets the first engine of cuDNN's heuristics that is deterministic,
// works in the precision asked for, and neither transforms (FFT, Winograd) nor rounds on the way;
// by heuristics, not by timing. One whose workspace stays below a limit is preferred
// (BIGBIGAN_CONV_WORKSPACE_MIB, 512): the first for f32 ask for up to 3 GB. Bias and ReLU belong to
// the graph where cuDNN has such an engine. An engine that was chosen before (Note [Recorded
// plans]) is taken whatever heuristics and limit say now.
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
#include "kernels/conv/conv_plans.h"
#include "kernels/conv/conv_plans_cudnn.h"

namespace cudnn_frontend {
void* cudnn_dlhandle = nullptr;  // where the frontend looks for cuDNN's functions
}

namespace bigbigan {
namespace {

namespace frontend = cudnn_frontend;
using GraphTensor = std::shared_ptr<frontend::graph::Tensor_attributes>;

constexpr int64_t kAlignment = 16;  // of every operand, as engines expect

// Operands within a graph.
enum Operand : int64_t { kX = 1, kWeight, kY, kBias };

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

std::shared_ptr<frontend::graph::Graph> graph_of(const ConvProblem& p, bool fused) {
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

// Builds the plan of that name, wherever heuristics have put it.
frontend::error_t build_named_plan(frontend::graph::Graph& graph, const std::string& name) {
  for (int64_t i = 0; i < graph.get_execution_plan_count(); ++i) {
    std::string found;
    auto status = graph.get_plan_name_at_index(i, found);
    if (status.is_bad() || found == name)
      return status.is_bad() ? status : graph.build_plan_at_index(i);
  }
  return {frontend::error_code_t::HEURISTIC_QUERY_FAILED, "it is not among cuDNN's plans"};
}

// Finds an engine for the graph: the one of that name, or where it is empty the first that needs no
// more workspace. Empty, or why there is none.
std::string compile(frontend::graph::Graph& graph, DType dtype, cudnnHandle_t handle,
                    const std::string& name, int64_t most_bytes) {
  using frontend::HeurMode_t;
  try {
    auto status = graph.validate();
    if (status.is_good()) status = graph.build_operation_graph(handle);
    if (status.is_good()) {
      status = graph.create_execution_plans({HeurMode_t::A, HeurMode_t::FALLBACK});
    }
    if (!name.empty()) {
      if (status.is_good()) status = build_named_plan(graph, name);
      return status.is_good() ? std::string() : first_line(status.get_message());
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
  std::string name;
  bool is_fused = false;  // bias and ReLU are done by the graph
  int64_t workspace_bytes = 0;
  std::string problem;  // why there is none
};

// A graph with the plan of that name, or one that fits the limit.
Plan find_plan(const ConvProblem& p, bool fused, cudnnHandle_t handle, const std::string& name,
               int64_t most_bytes,
               const std::shared_ptr<frontend::DeviceProperties>& device = nullptr) {
  Plan plan{.graph = graph_of(p, fused), .is_fused = fused};
  if (device) {
    plan.graph->set_device_properties(device);
    // Any, or it asks this machine's device; convolutions do not care.
    plan.graph->set_sm_version(1);
  }
  plan.problem = compile(*plan.graph, p.dtype, handle, name, most_bytes);
  if (!plan.problem.empty()) return plan;
  auto status = plan.graph->get_plan_name(plan.name);
  check(status.is_good(), "cuDNN plan: {}", status.get_message());
  check(name.empty() || plan.name == name, "cuDNN plan {}: found as {}", name, plan.name);
  plan.workspace_bytes = plan.graph->get_workspace_size();
  return plan;
}

// The first that there is: in little workspace before in much, and fused before not.
Plan plan_by_heuristics(const ConvProblem& p, cudnnHandle_t handle) {
  std::string reasons;
  for (const int64_t most_bytes : workspace_limits()) {
    reasons.clear();
    for (const bool fused : {true, false}) {
      if (fused && (!p.has_epilogue() || p.extras.accumulate)) continue;
      Plan plan = find_plan(p, fused, handle, "", most_bytes);
      if (plan.problem.empty()) return plan;
      reasons += (reasons.empty() ? "" : "; without bias and ReLU: ") + plan.problem;
    }
  }
  fail(ExitCode::kSystem,
       "{}: cuDNN has no deterministic engine: {} (CUDNN_LOGLEVEL_DBG=2 tells more)", p.name(),
       reasons);
}

constexpr std::string_view kFused = "fused ";

Plan recorded_plan(const ConvProblem& p, cudnnHandle_t handle, const std::string& choice) {
  const bool fused = choice.starts_with(kFused);
  Plan plan = find_plan(p, fused, handle, choice.substr(fused ? kFused.size() : 0),
                        workspace_limits().back());
  if (!plan.problem.empty()) {
    fail(ExitCode::kSystem, "{}: cuDNN has no longer the plan {} of the checkpoint: {}", p.name(),
         choice, plan.problem);
  }
  return plan;
}

// The handles of the process, by device; released with it.
class Handles {
 public:
  static Handles& instance() {
    static Handles handles;
    return handles;
  }

  // body(handle) with the current device's; one at a time: the handle's stream is that of one call.
  template <class Body>
  auto with(const Body& body) {
    const std::lock_guard lock(mutex_);
    int device = 0;
    check_cuda(cudaGetDevice(&device), "conv2d");
    cudnnHandle_t& handle = handles_[device];
    if (handle == nullptr) check_cudnn(frontend::detail::create_handle(&handle), "cuDNN handle");
    return body(handle);
  }

 private:
  Handles() { open_cudnn(); }

  std::mutex mutex_;
  std::map<int, cudnnHandle_t> handles_;
};

// Which operands a pass reads, in the order of ConvOperands, and writes.
struct Roles {
  Operand first, second, result;
};
Roles roles_of(ConvPass pass) {
  switch (pass) {
    case ConvPass::kFprop:
      return {kX, kWeight, kY};
    case ConvPass::kDgrad:
      return {kY, kWeight, kX};
    default:
      return {kX, kY, kWeight};
  }
}

void execute(const CudaExec& ex, const Plan& plan, const Roles& roles, const ConvOperands& operands,
             void* workspace) {
  const auto address = [](ConstView view) { return const_cast<void*>(view.data); };
  std::unordered_map<int64_t, void*> addresses = {{roles.first, address(operands.first)},
                                                  {roles.second, address(operands.second)},
                                                  {roles.result, operands.result.data}};
  if (operands.bias && plan.is_fused) addresses[kBias] = address(operands.bias);
  Handles::instance().with([&](cudnnHandle_t handle) {
    check_cudnn(frontend::detail::set_stream(handle, ex.stream), "cuDNN stream");
    auto status = plan.graph->execute(handle, addresses, workspace);
    if (status.is_bad()) fail(ExitCode::kSystem, "conv2d: cuDNN: {}", status.get_message());
  });
}

}  // namespace

ConvPlan make_conv_plan(const ConvProblem& p, const std::string& choice) {
  Plan plan = Handles::instance().with([&](cudnnHandle_t handle) {
    return choice.empty() ? plan_by_heuristics(p, handle) : recorded_plan(p, handle, choice);
  });
  return {.choice = (plan.is_fused ? std::string(kFused) : "") + plan.name,
          .is_fused = plan.is_fused,
          .workspace_bytes = plan.workspace_bytes,
          .execute = [plan, roles = roles_of(p.pass)](
                         const CudaExec& ex, const ConvOperands& operands, void* workspace) {
            execute(ex, plan, roles, operands, workspace);
          }};
}

std::string conv2d_library() {
  open_cudnn();
  const size_t version = frontend::detail::get_backend_version();
  return fmt::format("cuDNN {}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

namespace cudnn {

void validate_graph(ConvPass pass, const ConvGeometry& g, DType dtype, const ConvExtras& extras,
                    bool fused) {
  open_cudnn();
  const ConvProblem p{pass, g, dtype, extras};
  auto status = graph_of(p, fused)->validate();
  check(status.is_good(), "{}: {}", p.name(), status.get_message());
}

Engine find_engine(ConvPass pass, const ConvGeometry& g, DType dtype, const ConvExtras& extras,
                   bool fused, std::string_view device, const std::string& name) {
  open_cudnn();
  const auto properties = std::make_shared<frontend::DeviceProperties>();
  auto status = properties->deserialize({device.begin(), device.end()});
  check(status.is_good(), "cuDNN device properties: {}", status.get_message());
  Plan plan;
  for (const int64_t most_bytes : workspace_limits()) {
    plan = find_plan({pass, g, dtype, extras}, fused, nullptr, name, most_bytes, properties);
    if (plan.problem.empty()) break;
  }
  return {plan.name, plan.problem, plan.workspace_bytes};
}

}  // namespace cudnn
}  // namespace bigbigan
