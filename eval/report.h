// The report of a run: one HTML file with everything in it.
#pragma once

#include "eval/run_data.h"

namespace bigbigan {

// Summary, feature metrics, pictures and curves of a run. Pictures are read through `vfs`; throws
// Error{kBadData} for one that is no PNG.
std::string report_html(Vfs& vfs, const RunData& run);

}  // namespace bigbigan
