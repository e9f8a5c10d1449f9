#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <regex>
#include <sstream>

#include "counter.h"

extern "C" const char __executable_start;  // from the linker

namespace emu {
namespace {

std::string output_of(const std::string& command) {
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  std::string text;
  char part[4096];
  while (const size_t n = fread(part, 1, sizeof part, pipe.get())) text.append(part, n);
  return text;
}

// "void a::(anonymous namespace)::f_kernel<float, a::B>(float*)" -> "f_kernel<float, B>"
std::string short_name(const std::string& function) {
  static const std::regex noise("^void |bigbigan::|\\(anonymous namespace\\)::");
  const std::string name = std::regex_replace(function, noise, "");
  return name.substr(0, name.find('('));
}

}  // namespace

// Per address, addr2line prints the address, then a line with the function and one with the place:
// of the innermost inlined function first, of the kernel last.
std::map<const void*, Symbol> symbols_of(const std::set<const void*>& addresses) {
  std::string command = fmt::format("addr2line -aCfi -e '{}'",
                                    std::filesystem::read_symlink("/proc/self/exe").string());
  for (const void* address : addresses) {
    command += fmt::format(" {:x}", static_cast<const char*>(address) - &__executable_start);
  }
  std::istringstream lines(output_of(command));
  std::map<const void*, Symbol> symbols;
  auto next = addresses.begin();
  Symbol* symbol = nullptr;
  bool was_common = false;
  for (std::string function, place; std::getline(lines, function);) {
    if (function.starts_with("0x")) {
      symbol = &symbols[*next++];
      continue;
    }
    std::getline(lines, place);
    symbol->function = short_name(function);
    const bool is_common = place.find("/common/") != std::string::npos;
    if (symbol->place.empty() || (was_common && !is_common)) {
      const size_t begin = place.rfind('/') + 1;  // " (discriminator 3)" may follow
      symbol->place = place.substr(begin, place.find(' ', begin) - begin);
      was_common = is_common;
    }
  }
  return symbols;
}

}  // namespace emu
