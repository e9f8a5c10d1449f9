// Matrix products of row-major matrices, and what is done to their result on the way to memory.
#pragma once

#include <string>

#include "kernels/common/exec.h"
#include "kernels/common/view.h"

namespace bigbigan {

// c (M, N) = op(a) op(b), or c += where `accumulate`; op(a) is (M, K), op(b) is (K, N).
struct GemmArgs {
  ConstView a;
  bool transpose_a = false;  // a is stored (K, M)
  ConstView b;
  bool transpose_b = false;  // b is stored (N, K)
  View c;
  bool accumulate = false;
  // Note [Rows alone]: the library computes the rows left over by its register blocks in another
  // order than the others, so that the last bits of a row depend on how many rows there are. With
  // `rows_alone` every call has kAloneRows rows, the last ones padded: a row of c is then the same
  // in any batch. For inference; not with transpose_a. Without meaning on CUDA, which chooses its
  // algorithm by the whole problem: there the last bits of a row may depend on the batch.
  bool rows_alone = false;

  // Note [Epilogues]: linear layers in one pass over c. Any of the first group, or the second, or
  // the third. Masks are u8 (gemm_mask_shape): bit j % 8 of byte j / 8 of row i is element (i, j).
  ConstView addend;   // like c: added to the product; not with `accumulate`
  ConstView bias;     // (N): added to each row
  bool relu = false;  // then max(., 0)
  View positive;      // mask, or empty: which elements `relu` found above 0

  ConstView only_where;  // mask: the other elements of c become 0

  View a_sums;  // (M): the sums of op(a) over K, a bias gradient; with transpose_a
};
inline constexpr int64_t kAloneRows = 16;

// Of one product, or of `batch` ones.
struct GemmSizes {
  int64_t m = 0, n = 0, k = 0, batch = 1;
};
// Throw Error{kInternal} where the shapes do not fit each other.
GemmSizes gemm_sizes(const GemmArgs& args);
GemmSizes batched_gemm_sizes(const GemmArgs& args);

// Of a mask of `rows` x `columns` elements: whole 16 bytes in each row.
Shape gemm_mask_shape(int64_t rows, int64_t columns);

// Name and version of the library behind the CUDA launchers: "cuBLASLt 13.1.0". Throws as they do.
std::string gemm_library();

// CPU: f32 by oneDNN in fixed blocks of rows of c, f64 by loops, bf16 through f32. CUDA: f32 and
// bf16 by cuBLASLt, accumulated in f32, without TF32. The product of bf16 matrices is bf16 or f32.
// Views may have rank > 2: leading axes fold into the rows.
void gemm(const CpuExec& ex, const GemmArgs& args);
void gemm(const CudaExec& ex, const GemmArgs& args);

// c[i] = op(a[i]) op(b[i]) for each i of axis 0 of rank-3 views, without epilogue; on the CPU by
// loops, in parallel over i.
void batched_gemm(const CpuExec& ex, const GemmArgs& args);
void batched_gemm(const CudaExec& ex, const GemmArgs& args);

}  // namespace bigbigan
