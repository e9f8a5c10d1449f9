// What tests ask of the cuDNN convolutions without a GPU.
#pragma once

#include <string>
#include <string_view>

#include "kernels/conv/conv2d.h"

namespace bigbigan::cudnn {

// Describes the pass as a cuDNN graph, with its extras fused where `fused`, and lets cuDNN's
// frontend validate it: ranks, strides, inferred shapes, missing attributes. Throws
// Error{kInternal} with the frontend's message, and Error{kSystem} where cuDNN is not installed.
void validate_graph(ConvPass pass, const ConvGeometry& g, DType dtype, const ConvExtras& extras,
                    bool fused);

struct Engine {
  std::string name;     // of the plan: engine and knobs
  std::string problem;  // why there is none; empty where there is one
  int64_t workspace_bytes = 0;
};
// The engine that a launch of this problem would get on another machine's device, described by
// `device` as DeviceProperties::serialize() writes it: by heuristics, or the one of that name.
// Nothing runs.
Engine find_engine(ConvPass pass, const ConvGeometry& g, DType dtype, const ConvExtras& extras,
                   bool fused, std::string_view device, const std::string& name = "");

}  // namespace bigbigan::cudnn
