// The block barriers of a program: listing them, and leaving one out to see whether a test notices.
#pragma once

#include <string>

#include "scheduler.h"

namespace emu {

// "file:line"
std::string text_of(const Site& site);

// Notes the place for EMU_BARRIERS; says whether it is the one that EMU_SKIP_BARRIER names.
bool barrier_skipped(const Site& site);

}  // namespace emu
