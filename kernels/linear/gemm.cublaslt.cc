// Matrix products on CUDA by cuBLASLt.
//
// Deterministic: heuristics may choose no algorithm that splits K, so that one block sums each
// element of c in a fixed order, and none gets a workspace. An algorithm is bytes, which serve any
// process with the same library (Note [Recorded plans]).
//
// Note [Epilogues] are cuBLASLt's where it has an algorithm with them, else gemm_finish's.
#include <cublasLt.h>

#include <charconv>
#include <iterator>
#include <map>
#include <mutex>

#include "kernels/common/cuda_status.h"
#include "kernels/common/library_plans.h"
#include "kernels/common/vendor_library.h"
#include "kernels/linear/epilogue.h"

namespace bigbigan {
namespace {

// cuBLASLt's functions, from the library opened at run time.
struct Library {
  VendorLibrary library{"cuBLASLt " + std::to_string(CUBLAS_VER_MAJOR),
                        "libcublasLt.so." + std::to_string(CUBLAS_VER_MAJOR),
                        "cuBLAS of CUDA " + std::to_string(CUBLAS_VER_MAJOR) + " (libcublas-" +
                            std::to_string(CUBLAS_VER_MAJOR) + "-*)"};
  decltype(&cublasLtCreate) create{};
  decltype(&cublasLtGetVersion) get_version{};
  decltype(&cublasLtGetStatusString) status_text{};
  decltype(&cublasLtMatmulDescInit_internal) init_product{};
  decltype(&cublasLtMatmulDescSetAttribute) set_of_product{};
  decltype(&cublasLtMatrixLayoutInit_internal) init_layout{};
  decltype(&cublasLtMatrixLayoutSetAttribute) set_of_layout{};
  decltype(&cublasLtMatmulPreferenceInit_internal) init_preference{};
  decltype(&cublasLtMatmulPreferenceSetAttribute) set_of_preference{};
  decltype(&cublasLtMatmulAlgoGetHeuristic) choose{};
  decltype(&cublasLtMatmul) multiply{};

  Library() {
    void* handle = open_library(library);
    find_function(handle, library, "cublasLtCreate", create);
    find_function(handle, library, "cublasLtGetVersion", get_version);
    find_function(handle, library, "cublasLtGetStatusString", status_text);
    find_function(handle, library, "cublasLtMatmulDescInit_internal", init_product);
    find_function(handle, library, "cublasLtMatmulDescSetAttribute", set_of_product);
    find_function(handle, library, "cublasLtMatrixLayoutInit_internal", init_layout);
    find_function(handle, library, "cublasLtMatrixLayoutSetAttribute", set_of_layout);
    find_function(handle, library, "cublasLtMatmulPreferenceInit_internal", init_preference);
    find_function(handle, library, "cublasLtMatmulPreferenceSetAttribute", set_of_preference);
    find_function(handle, library, "cublasLtMatmulAlgoGetHeuristic", choose);
    find_function(handle, library, "cublasLtMatmul", multiply);
    check_major_version(library, static_cast<int>(get_version() / 10000), CUBLAS_VER_MAJOR);
  }

  void check(cublasStatus_t status, const char* what) const {
    if (status == CUBLAS_STATUS_SUCCESS) return;
    fail(ExitCode::kSystem, "gemm: {}: {}", what, status_text(status));
  }
};

// One product as cuBLASLt sees it. It stores by columns, so that our row-major a is its a^T:
// c^T = op(b)^T op(a)^T is computed, with b as the first operand.
struct Problem {
  GemmSizes sizes;
  bool transpose_a = false, transpose_b = false;
  DType dtype = DType::kF32;    // of a and b
  DType c_dtype = DType::kF32;  // f32 also for bf16 operands
  int alignment = 0;            // bytes, of all operands
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;

  [[nodiscard]] std::string name() const {
    return fmt::format(
        "gemm of m {} n {} k {} batch {}, {}{}{} to {}, epilogue {}, addresses at {}", sizes.m,
        sizes.n, sizes.k, sizes.batch, name_of(dtype), transpose_a ? ", a^T" : "",
        transpose_b ? ", b^T" : "", name_of(c_dtype), static_cast<int>(epilogue), alignment);
  }
};

// Descriptors and the algorithm; plain bytes, nothing to release.
struct Plan {
  std::string choice;    // the algorithm's bytes
  bool is_fused = true;  // else the epilogue is left to gemm_finish
  cublasLtMatmulDescOpaque_t product;
  cublasLtMatrixLayoutOpaque_t a, b, c;
  cublasLtMatmulAlgo_t algorithm;
};

constexpr std::string_view kApart = "epilogue apart, ";

std::string text_of(const Plan& plan) {
  std::string text(plan.is_fused ? "" : kApart);
  for (const uint64_t word : plan.algorithm.data) text += fmt::format("{:016x}", word);
  return text;
}

// The inverse of text_of.
void take_choice(std::string_view text, Plan& plan) {
  constexpr size_t kDigits = 16;
  plan.is_fused = !text.starts_with(kApart);
  if (!plan.is_fused) text.remove_prefix(kApart.size());
  uint64_t(&words)[8] = plan.algorithm.data;
  check(text.size() == kDigits * std::size(words), "gemm: no algorithm: {}", text);
  for (size_t i = 0; i < std::size(words); ++i) {
    const char* const digits = text.data() + i * kDigits;
    const auto [end, error] = std::from_chars(digits, digits + kDigits, words[i], 16);
    check(error == std::errc() && end == digits + kDigits, "gemm: no algorithm: {}", text);
  }
}

cublasLtEpilogue_t epilogue_of(const GemmArgs& g) {
  if (g.a_sums) return CUBLASLT_EPILOGUE_BGRADB;  // our a is its second operand
  if (g.only_where) return CUBLASLT_EPILOGUE_DRELU;
  if (!g.relu) return g.bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
  if (g.bias) return g.positive ? CUBLASLT_EPILOGUE_RELU_AUX_BIAS : CUBLASLT_EPILOGUE_RELU_BIAS;
  return g.positive ? CUBLASLT_EPILOGUE_RELU_AUX : CUBLASLT_EPILOGUE_RELU;
}

class Products {
 public:
  // The library, opened at first use, and the handles of the process.
  static Products& instance() {
    static Products products;
    return products;
  }

  void multiply(const CudaExec& ex, const Problem& p, const GemmArgs& g) {
    const cublasLtHandle_t handle = this->handle();
    Plan plan = ex.plans->plan_for<Plan>(
        p.name(), [&](const std::string& choice) { return plan_of(handle, p, g, choice); });
    if (plan.is_fused) set_epilogue(plan, p, g);
    const float one = 1, beta = g.accumulate || g.addend ? 1 : 0;
    library_.check(library_.multiply(handle, &plan.product, &one, g.b.data, &plan.b, g.a.data,
                                     &plan.a, &beta, g.addend ? g.addend.data : g.c.data, &plan.c,
                                     g.c.data, &plan.c, &plan.algorithm, nullptr, 0, ex.stream),
                   "product");
    if (!plan.is_fused) gemm_finish(ex, g);
  }

  [[nodiscard]] size_t version() const { return library_.get_version(); }

 private:
  // Of the current device.
  cublasLtHandle_t handle() {
    int device = 0;
    check_cuda(cudaGetDevice(&device), "gemm");
    const std::lock_guard lock(mutex_);
    cublasLtHandle_t& handle = handles_[device];
    if (handle == nullptr) library_.check(library_.create(&handle), "handle");
    return handle;
  }

  [[nodiscard]] cublasLtMatrixLayoutOpaque_t layout(const Problem& p, DType dtype, int64_t rows,
                                                    int64_t columns) const {
    cublasLtMatrixLayoutOpaque_t made;
    const cudaDataType type = dtype == DType::kBF16 ? CUDA_R_16BF : CUDA_R_32F;
    library_.check(library_.init_layout(&made, sizeof(made), type, rows, columns, rows), "layout");
    const auto batch = static_cast<int32_t>(p.sizes.batch);
    const int64_t stride = rows * columns;
    library_.check(
        library_.set_of_layout(&made, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &batch, sizeof(batch)),
        "batch");
    library_.check(library_.set_of_layout(&made, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                                          &stride, sizeof(stride)),
                   "batch");
    return made;
  }

  [[nodiscard]] cublasLtMatmulPreferenceOpaque_t preference(const Problem& p) const {
    cublasLtMatmulPreferenceOpaque_t made;
    library_.check(library_.init_preference(&made, sizeof(made)), "preference");
    const uint64_t workspace_bytes = 0;
    const uint32_t no_split = CUBLASLT_REDUCTION_SCHEME_NONE;
    const auto alignment = static_cast<uint32_t>(p.alignment);
    const auto set = [&](cublasLtMatmulPreferenceAttributes_t what, const auto& value) {
      library_.check(library_.set_of_preference(&made, what, &value, sizeof(value)), "preference");
    };
    set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace_bytes);
    set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, no_split);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment);
    return made;
  }

  void set(Plan& plan, cublasLtMatmulDescAttributes_t what, const auto& value) const {
    library_.check(library_.set_of_product(&plan.product, what, &value, sizeof(value)),
                   "descriptor");
  }

  void set_epilogue(Plan& plan, const Problem& p, const GemmArgs& g) const {
    set(plan, CUBLASLT_MATMUL_DESC_EPILOGUE, p.epilogue);
    const void* const vector = g.a_sums ? g.a_sums.data : g.bias.data;
    if (vector != nullptr) set(plan, CUBLASLT_MATMUL_DESC_BIAS_POINTER, vector);
    const void* const mask = g.only_where ? g.only_where.data : g.positive.data;
    if (mask == nullptr) return;
    set(plan, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, mask);
    const int64_t bits_per_row = 8 * gemm_mask_shape(p.sizes.m, p.sizes.n)[1];
    set(plan, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, bits_per_row);
  }

  [[nodiscard]] Plan plan_of(cublasLtHandle_t handle, const Problem& p, const GemmArgs& g,
                             const std::string& choice) const {
    const auto [m, n, k, batch] = p.sizes;
    Plan plan;
    // CUBLAS_COMPUTE_32F is f32 throughout: TF32 would be CUBLAS_COMPUTE_32F_FAST_TF32.
    library_.check(
        library_.init_product(&plan.product, sizeof(plan.product), CUBLAS_COMPUTE_32F, CUDA_R_32F),
        "descriptor");
    set(plan, CUBLASLT_MATMUL_DESC_TRANSA, p.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(plan, CUBLASLT_MATMUL_DESC_TRANSB, p.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
    plan.b = p.transpose_b ? layout(p, p.dtype, k, n) : layout(p, p.dtype, n, k);
    plan.a = p.transpose_a ? layout(p, p.dtype, m, k) : layout(p, p.dtype, k, m);
    plan.c = layout(p, p.c_dtype, n, m);
    if (choice.empty()) {
      choose(handle, p, g, plan);
    } else {
      take_choice(choice, plan);
    }
    plan.choice = text_of(plan);
    return plan;
  }

  // By heuristics: with the epilogue, or else without it.
  void choose(cublasLtHandle_t handle, const Problem& p, const GemmArgs& g, Plan& plan) const {
    cublasLtMatmulPreferenceOpaque_t wanted = preference(p);
    cublasStatus_t status = CUBLAS_STATUS_SUCCESS;
    for (const bool is_fused : {true, false}) {
      Plan tried = plan;
      tried.is_fused = is_fused;
      if (is_fused) set_epilogue(tried, p, g);
      cublasLtMatmulHeuristicResult_t best = {};
      int count = 0;
      status = library_.choose(handle, &tried.product, &tried.b, &tried.a, &tried.c, &tried.c,
                               &wanted, 1, &best, &count);
      if (status != CUBLAS_STATUS_SUCCESS || count == 0) continue;
      plan.is_fused = is_fused;
      plan.algorithm = best.algo;
      return;
    }
    fail(ExitCode::kSystem, "{}: cuBLASLt has no algorithm without split K: {}", p.name(),
         library_.status_text(status));
  }

  Library library_;
  std::mutex mutex_;
  std::map<int, cublasLtHandle_t> handles_;  // by device; released with the process
};

// The largest of 256, 16 and the size of an element that divides the addresses of the matrices.
int alignment_of(const GemmArgs& g) {
  const auto bits = reinterpret_cast<uintptr_t>(g.a.data) | reinterpret_cast<uintptr_t>(g.b.data) |
                    reinterpret_cast<uintptr_t>(g.c.data) |
                    reinterpret_cast<uintptr_t>(g.addend.data);
  if (bits % 256 == 0) return 256;
  return bits % 16 == 0 ? 16 : static_cast<int>(size_of(g.a.dtype));
}

// An empty sum, which the library refuses.
void multiply_nothing(const CudaExec& ex, const GemmArgs& g) {
  if (g.addend) {
    check_cuda(
        cudaMemcpyAsync(g.c.data, g.addend.data, g.c.bytes(), cudaMemcpyDeviceToDevice, ex.stream),
        "gemm");
  } else if (!g.accumulate) {
    check_cuda(cudaMemsetAsync(g.c.data, 0, g.c.bytes(), ex.stream), "gemm");
  }
  gemm_finish(ex, g);
}

void multiply(const CudaExec& ex, const GemmArgs& g, const GemmSizes& s) {
  check(g.a.dtype == DType::kF32 || g.a.dtype == DType::kBF16, "gemm: no CUDA kernel for {}",
        name_of(g.a.dtype));
  check(g.b.dtype == g.a.dtype && (g.c.dtype == g.a.dtype || g.c.dtype == DType::kF32),
        "gemm: {} times {} to {}", name_of(g.a.dtype), name_of(g.b.dtype), name_of(g.c.dtype));
  if (s.m == 0 || s.n == 0 || s.batch == 0) return;
  if (s.k == 0) return multiply_nothing(ex, g);
  Products::instance().multiply(ex,
                                {.sizes = s,
                                 .transpose_a = g.transpose_a,
                                 .transpose_b = g.transpose_b,
                                 .dtype = g.a.dtype,
                                 .c_dtype = g.c.dtype,
                                 .alignment = alignment_of(g),
                                 .epilogue = epilogue_of(g)},
                                g);
}

}  // namespace

std::string gemm_library() {
  const size_t version = Products::instance().version();
  return fmt::format("cuBLASLt {}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

void gemm(const CudaExec& ex, const GemmArgs& g) {
  const GemmSizes s = gemm_sizes(g);
  const Observed observed(ex, {s.m, s.n, s.k, g.transpose_a, g.transpose_b, g.accumulate});
  multiply(ex, g, s);
}

void batched_gemm(const CudaExec& ex, const GemmArgs& g) {
  const Observed observed(ex);
  multiply(ex, g, batched_gemm_sizes(g));
}

}  // namespace bigbigan
