// The safetensors format: named tensors in one file, nothing executable. The writer is strict, the
// reader trusts nothing.
//
// Layout: u64 length of the header, JSON header {name: {dtype, shape, data_offsets}}, data. Our
// headers are padded with spaces so that data starts at a multiple of 64 bytes.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "engine/io/vfs.h"
#include "kernels/common/view.h"

namespace bigbigan {

struct NamedTensor {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  const void* data = nullptr;
};

struct TensorInfo {
  DType dtype = DType::kF32;
  Shape shape;
  int64_t offset = 0;  // from the start of the data
  int64_t bytes = 0;
};

struct SafetensorsHeader {
  std::map<std::string, TensorInfo> tensors;
  std::map<std::string, std::string> metadata;
};

// Parses the JSON header of a file whose data part has `data_bytes`. Throws Error{kBadData}, naming
// `source` and the tensor: not JSON, duplicate names, unknown dtype, rank over 5, sizes that
// overflow or disagree with the offsets, holes, overlaps, data not covered.
SafetensorsHeader parse_safetensors_header(std::string_view json, int64_t data_bytes,
                                           const std::string& source);

// Writes the tensors in the given order.
void write_safetensors(WritableFile& file, std::span<const NamedTensor> tensors,
                       const std::map<std::string, std::string>& metadata);

class SafetensorsFile {
 public:
  // Throws Error{kNoInput} or Error{kBadData}.
  SafetensorsFile(Vfs& vfs, const Vfs::Path& path);

  [[nodiscard]] std::vector<std::string> names() const;
  [[nodiscard]] bool has(const std::string& name) const { return header_.tensors.contains(name); }
  // Throws Error{kBadData} when there is no such tensor.
  [[nodiscard]] const TensorInfo& info(const std::string& name) const;
  [[nodiscard]] const std::map<std::string, std::string>& metadata() const {
    return header_.metadata;
  }
  // `bytes` has info(name).bytes bytes.
  void read(const std::string& name, std::span<std::byte> bytes);

 private:
  std::string source_;
  std::unique_ptr<ReadableFile> file_;
  SafetensorsHeader header_;
  int64_t data_start_ = 0;
};

}  // namespace bigbigan
