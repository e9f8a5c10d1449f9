#include "kernels/linear/gemm.h"

#include <dnnl.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/common/dispatch.h"
#include "kernels/common/one_thread.h"
#include "kernels/common/widened.h"

namespace bigbigan {
namespace {

using Sizes = GemmSizes;

// Rows and columns of a view whose leading axes fold into the rows.
std::pair<int64_t, int64_t> matrix_of(ConstView v) {
  const int64_t columns = v.shape.rank() > 0 ? v.shape[-1] : 1;
  return {columns == 0 ? 0 : v.elems() / columns, columns};
}

LaunchWork work_of(const GemmArgs& g, const Sizes& s) {
  return moved({g.a, g.b, g.c, g.accumulate ? g.c : View(), g.addend, g.bias, g.positive,
                g.only_where, g.a_sums},
               2.0 * static_cast<double>(s.m * s.n * s.k * s.batch));
}

// Rows [begin, end) of c, one row at a time: c[i, :] += a[i, k] b[k, :].
template <class T>
void rows_by_loops(const GemmArgs& g, const T* a, const T* b, T* c, const Sizes& s, int64_t begin,
                   int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    T* row = c + i * s.n;
    if (!g.accumulate) std::fill(row, row + s.n, T(0));
    if (g.transpose_b) {
      for (int64_t j = 0; j < s.n; ++j) {
        T sum = 0;
        for (int64_t k = 0; k < s.k; ++k) {
          sum += (g.transpose_a ? a[k * s.m + i] : a[i * s.k + k]) * b[j * s.k + k];
        }
        row[j] += sum;
      }
    } else {
      for (int64_t k = 0; k < s.k; ++k) {
        const T factor = g.transpose_a ? a[k * s.m + i] : a[i * s.k + k];
        for (int64_t j = 0; j < s.n; ++j) row[j] += factor * b[k * s.n + j];
      }
    }
  }
}

// Rows of c per chunk: fixed by the problem, so that results do not depend on the number of
// threads.
int64_t rows_per_chunk(const Sizes& s) {
  constexpr int64_t kFlopsPerChunk = 1 << 20;
  const int64_t rows = kFlopsPerChunk / std::max<int64_t>(1, 2 * s.n * s.k);
  return std::max<int64_t>(16, (rows + 15) / 16 * 16);
}

// `rows` rows of c from those of a, which lie `lda` apart.
void library_rows(const GemmArgs& g, const Sizes& s, const float* a, int64_t lda, float* c,
                  int64_t rows) {
  const OneThread one_thread;
  const dnnl_status_t status =
      dnnl_sgemm(g.transpose_a ? 'T' : 'N', g.transpose_b ? 'T' : 'N', rows, s.n, s.k, 1.0f, a, lda,
                 g.b.as<float>(), g.transpose_b ? s.k : s.n, g.accumulate ? 1.0f : 0.0f, c, s.n);
  check(status == dnnl_success, "gemm: oneDNN status {} for m {} n {} k {}", int(status), rows, s.n,
        s.k);
}

// Fewer than kAloneRows rows, as the first rows of a full block.
void padded_rows(const GemmArgs& g, const Sizes& s, const float* a, float* c, int64_t rows) {
  thread_local std::vector<float> workspace;
  workspace.assign(kAloneRows * (s.k + s.n), 0.0f);
  float *block_a = workspace.data(), *block_c = block_a + kAloneRows * s.k;
  std::copy_n(a, rows * s.k, block_a);
  if (g.accumulate) std::copy_n(c, rows * s.n, block_c);
  library_rows(g, s, block_a, s.k, block_c, kAloneRows);
  std::copy_n(block_c, rows * s.n, c);
}

// Note [Rows alone]
void gemm_f32_rows_alone(const CpuExec& ex, const GemmArgs& g, const Sizes& s) {
  check(!g.transpose_a, "gemm: rows_alone with transpose_a");
  ex.for_range(s.m, kAloneRows, [&](int64_t begin, int64_t end) {
    const float* a = g.a.as<float>() + begin * s.k;
    float* c = g.c.as<float>() + begin * s.n;
    if (end - begin == kAloneRows)
      library_rows(g, s, a, s.k, c, kAloneRows);
    else
      padded_rows(g, s, a, c, end - begin);
  });
}

void gemm_f32(const CpuExec& ex, const GemmArgs& g, const Sizes& s) {
  if (g.rows_alone) return gemm_f32_rows_alone(ex, g, s);
  ex.for_range(s.m, rows_per_chunk(s), [&](int64_t begin, int64_t end) {
    const int64_t lda = g.transpose_a ? s.m : s.k;
    const float* a = g.a.as<float>() + (g.transpose_a ? begin : begin * lda);
    library_rows(g, s, a, lda, g.c.as<float>() + begin * s.n, end - begin);
  });
}

// The same product with f32 operands in place of bf16 ones.
template <class Product>
void through_f32(const GemmArgs& g, const Product& product) {
  const Widened a(g.a), b(g.b), bias(g.bias);
  const WidenedResult c(g.c, g.accumulate);
  GemmArgs wide = g;
  wide.a = a;
  wide.b = b;
  wide.bias = bias;
  wide.c = c;
  product(wide);
}

template <class T>
void product(const CpuExec& ex, const GemmArgs& g, const Sizes& s) {
  if constexpr (std::is_same_v<T, float>) {
    if (s.k > 0) return gemm_f32(ex, g, s);
  }
  ex.for_range(s.m, rows_per_chunk(s), [&](int64_t begin, int64_t end) {
    rows_by_loops(g, g.a.as<T>(), g.b.as<T>(), g.c.as<T>(), s, begin, end);
  });
}

// Note [Epilogues], of one row of c.
template <class T>
void finish_row(const GemmArgs& g, const Sizes& s, int64_t row) {
  T* const c = g.c.as<T>() + row * s.n;
  const int64_t mask_bytes = gemm_mask_shape(s.m, s.n)[1];
  const auto bit_of = [](int64_t column) { return uint8_t(1 << column % 8); };
  for (int64_t j = 0; g.bias && j < s.n; ++j) c[j] += g.bias.as<T>()[j];
  for (int64_t j = 0; g.relu && j < s.n; ++j) c[j] = c[j] < 0 ? T(0) : c[j];  // keeps a NaN
  if (g.positive) {
    uint8_t* const mask = g.positive.as<uint8_t>() + row * mask_bytes;
    std::fill(mask, mask + mask_bytes, uint8_t(0));
    for (int64_t j = 0; j < s.n; ++j) mask[j / 8] |= c[j] > 0 ? bit_of(j) : 0;
  }
  if (g.only_where) {
    const uint8_t* const mask = g.only_where.as<uint8_t>() + row * mask_bytes;
    for (int64_t j = 0; j < s.n; ++j) {
      if ((mask[j / 8] & bit_of(j)) == 0) c[j] = 0;
    }
  }
}

// a_sums [begin, end): a is stored (K, M).
template <class T>
void sum_columns(const GemmArgs& g, const Sizes& s, int64_t begin, int64_t end) {
  std::vector<double> sums(end - begin);
  for (int64_t k = 0; k < s.k; ++k) {
    const T* const row = g.a.as<T>() + k * s.m + begin;
    for (size_t i = 0; i < sums.size(); ++i) sums[i] += row[i];
  }
  std::copy(sums.begin(), sums.end(), g.a_sums.as<T>() + begin);
}

template <class T>
void finish(const CpuExec& ex, const GemmArgs& g, const Sizes& s) {
  constexpr int64_t kSumsPerChunk = 64;
  if (g.bias || g.relu || g.only_where) {
    const int64_t rows = std::max<int64_t>(1, kElementGrain / s.n);
    ex.for_range(s.m, rows, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) finish_row<T>(g, s, row);
    });
  }
  if (g.a_sums) {
    ex.for_range(s.m, kSumsPerChunk,
                 [&](int64_t begin, int64_t end) { sum_columns<T>(g, s, begin, end); });
  }
}

void check_epilogue(const GemmArgs& g, const Sizes& s) {
  const auto check_view = [](ConstView view, const char* name, DType dtype, const Shape& shape) {
    if (!view) return;
    check(view.dtype == dtype, "gemm: {} is {}, expected {}", name, name_of(view.dtype),
          name_of(dtype));
    check_shape("gemm", name, view.shape, shape);
  };
  check_view(g.addend, "addend", g.c.dtype, g.c.shape);
  check_view(g.bias, "bias", g.c.dtype, {s.n});
  check_view(g.positive, "positive", DType::kU8, gemm_mask_shape(s.m, s.n));
  check_view(g.only_where, "only_where", DType::kU8, gemm_mask_shape(s.m, s.n));
  check_view(g.a_sums, "a_sums", master_dtype(g.a.dtype), {s.m});
  const bool is_first = g.addend || g.bias || g.relu;
  check(int(is_first) + int(bool(g.only_where)) + int(bool(g.a_sums)) <= 1 &&
            (g.relu || !g.positive) && !(g.addend && g.accumulate) && (g.transpose_a || !g.a_sums),
        "gemm: epilogues that do not go together");
}

}  // namespace

GemmSizes gemm_sizes(const GemmArgs& g) {
  const auto [a_rows, a_columns] = matrix_of(g.a);
  const auto [b_rows, b_columns] = matrix_of(g.b);
  const GemmSizes s{g.transpose_a ? a_columns : a_rows, g.transpose_b ? b_rows : b_columns,
                    g.transpose_a ? a_rows : a_columns};
  check((g.transpose_b ? b_columns : b_rows) == s.k && g.c.elems() == s.m * s.n,
        "gemm: {}{} times {}{} to {}", g.a.shape, g.transpose_a ? "^T" : "", g.b.shape,
        g.transpose_b ? "^T" : "", g.c.shape);
  check_epilogue(g, s);
  return s;
}

Shape gemm_mask_shape(int64_t rows, int64_t columns) {
  constexpr int64_t kBits = 128;
  return {rows, (columns + kBits - 1) / kBits * kBits / 8};
}

GemmSizes batched_gemm_sizes(const GemmArgs& g) {
  check(g.a.shape.rank() == 3 && g.b.shape.rank() == 3 && g.c.shape.rank() == 3 &&
            g.a.shape[0] == g.b.shape[0] && g.a.shape[0] == g.c.shape[0],
        "batched_gemm: {} times {} to {}", g.a.shape, g.b.shape, g.c.shape);
  const GemmSizes s{g.c.shape[1], g.c.shape[2], g.a.shape[g.transpose_a ? 1 : 2], g.c.shape[0]};
  check(g.a.shape[g.transpose_a ? 2 : 1] == s.m && g.b.shape[g.transpose_b ? 2 : 1] == s.k &&
            g.b.shape[g.transpose_b ? 1 : 2] == s.n,
        "batched_gemm: {} times {} to {}", g.a.shape, g.b.shape, g.c.shape);
  return s;
}

void gemm(const CpuExec& ex, const GemmArgs& g) {
  const Sizes s = gemm_sizes(g);
  if (g.addend && !ex.plan_only) {
    if (g.c.bytes() > 0) std::memcpy(g.c.data, g.addend.data, g.c.bytes());
    GemmArgs added = g;
    added.addend = {};
    added.accumulate = true;
    return gemm(ex, added);
  }
  if (g.a.dtype == DType::kBF16 && !ex.plan_only) {
    return through_f32(g, [&](const GemmArgs& wide) { gemm(ex, wide); });
  }
  const Observed observed(ex, work_of(g, s),
                          {s.m, s.n, s.k, g.transpose_a, g.transpose_b, g.accumulate});
  if (ex.plan_only || s.m == 0 || s.n == 0) return;
  dispatch_real("gemm", g.c.dtype, [&]<class T>(TypeTag<T>) {
    product<T>(ex, g, s);
    finish<T>(ex, g, s);
  });
}

void batched_gemm(const CpuExec& ex, const GemmArgs& g) {
  if (g.a.dtype == DType::kBF16 && !ex.plan_only) {
    return through_f32(g, [&](const GemmArgs& wide) { batched_gemm(ex, wide); });
  }
  const Sizes s = batched_gemm_sizes(g);
  const Observed observed(ex, work_of(g, s));
  if (ex.plan_only) return;
  dispatch_real("batched_gemm", g.c.dtype, [&]<class T>(TypeTag<T>) {
    ex.for_chunks(s.batch, [&](int64_t i) {
      rows_by_loops(g, g.a.as<T>() + i * s.m * s.k, g.b.as<T>() + i * s.k * s.n,
                    g.c.as<T>() + i * s.m * s.n, s, 0, s.m);
    });
  });
}

}  // namespace bigbigan
