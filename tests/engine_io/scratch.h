// What the tests of files share: a folder that goes away, raw files, and the error a call ends
// with.
#pragma once

#include <stdlib.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>

#include "kernels/common/error.h"

namespace bigbigan {

// A new folder in memory where there is such a place (syncing costs nothing there), else below the
// system's temporary one; removed with all it holds.
class ScratchFolder {
 public:
  ScratchFolder() {
    const std::filesystem::path memory = "/dev/shm";
    const bool is_usable = ::access(memory.c_str(), W_OK) == 0;
    const auto parent = is_usable ? memory : std::filesystem::temp_directory_path();
    std::string name = (parent / "bigbigan-io-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  [[nodiscard]] std::filesystem::path operator/(std::string_view name) const {
    return path_ / name;
  }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] size_t entries() const {
    return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(path_), {}));
  }

 private:
  std::filesystem::path path_;
};

inline void write_raw(const std::filesystem::path& path, std::string_view bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  REQUIRE(file.good());
}

inline std::string read_raw(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE(file.good());
  return {std::istreambuf_iterator<char>(file), {}};
}

// The Error that `call` throws; nothing when it returns. Other exceptions pass through.
template <class Call>
std::optional<Error> error_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  return std::nullopt;
}

// Requires that `call` throws Error{code} with every one of `parts` in its message.
template <class Call>
void require_error(const Call& call, ExitCode code, std::initializer_list<std::string> parts) {
  const std::optional<Error> error = error_of(call);
  REQUIRE(error.has_value());
  INFO(error->what());
  REQUIRE(error->code() == code);
  for (const std::string& part : parts) REQUIRE_THAT(error->what(), Catch::Contains(part));
}

}  // namespace bigbigan
