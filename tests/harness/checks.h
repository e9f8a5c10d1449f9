// The checks that every op case must pass. Each returns an empty string, or what went wrong and
// where.
#pragma once

#include "tests/harness/op_case.h"

namespace bigbigan {

std::string check_forward_f32(const OpCase& c);  // f32 against f64
std::string check_composite(const OpCase& c);    // f64 against the composite: outputs and gradients
std::string check_gradient(const OpCase& c);     // f64 against central differences
std::string check_gradient_f32(const OpCase& c);  // f32 against f64
std::string check_accumulate(
    const OpCase& c);                        // gradients added to what a buffer holds, or over it
std::string check_partial(const OpCase& c);  // one gradient wanted at a time: the same bits
std::string check_guards(const OpCase& c);   // writes stay in their blocks, fresh memory unread
std::string check_repeatable(const OpCase& c);  // equal bits with 1, 2 and 3 threads, and again

// Forward and gradients of f32 or bf16 at once against f64, and the largest error relative to its
// tensor: for the benchmark. Of the CPU, or of another backend and its memory.
std::string check_values(const OpCase& c, DType dtype, double& worst_error,
                         const AnyExec* exec = nullptr, Allocator* allocator = nullptr);

// What `exec` computes in f32 in guarded memory of `allocator`: against f64 on the CPU, gradients
// overwritten and accumulated, writes inside their blocks, and the same bits again.
std::string check_backend(const OpCase& c, const AnyExec& exec, Allocator& allocator);

// bf16 activations with f32 masters, on the CPU or on `exec` with memory of `allocator`: outputs
// and gradients against f64 of the same inputs, writes inside their blocks, and the same bits
// again.
std::string check_bf16(const OpCase& c, const AnyExec* exec = nullptr,
                       Allocator* allocator = nullptr);

// All checks of the CPU, in this order; the first failure.
std::string check_all(const OpCase& c);

}  // namespace bigbigan
