#include "engine/io/safetensors.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "kernels/common/error.h"

namespace bigbigan {
namespace {

constexpr int64_t kMaxHeaderBytes = 16 << 20;
constexpr size_t kMaxTensors = 100000;
constexpr size_t kMaxNameBytes = 512;
constexpr int64_t kAlignment = 64;

constexpr std::array<std::pair<std::string_view, DType>, 6> kDTypes = {{{"F32", DType::kF32},
                                                                        {"F64", DType::kF64},
                                                                        {"BF16", DType::kBF16},
                                                                        {"U8", DType::kU8},
                                                                        {"I32", DType::kI32},
                                                                        {"I64", DType::kI64}}};

std::string_view file_name_of(DType dtype) {
  for (const auto& [name, value] : kDTypes) {
    if (value == dtype) return name;
  }
  return "?";
}

// Reads the header event by event: no document is built, so nothing can be nested, duplicated or
// rounded behind our back.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  HeaderReader(std::string source, SafetensorsHeader& header)
      : source_(std::move(source)), header_(header) {}

  bool null() override { return refuse("null"); }
  bool boolean(bool) override { return refuse("a boolean"); }
  bool number_integer(number_integer_t) override { return refuse("a negative number"); }
  bool number_float(number_float_t, const string_t&) override {
    return refuse("a fractional number");
  }
  bool binary(binary_t&) override { return refuse("binary data"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (numbers_ == nullptr) return refuse("a number here");
    if (numbers_->size() == kMaxRank) return refuse("a list of more than 5 numbers");
    if (value > static_cast<uint64_t>(INT64_MAX)) return refuse("a number over 2^63");
    numbers_->push_back(static_cast<int64_t>(value));
    return true;
  }

  bool string(string_t& value) override {
    if (in_metadata_) {
      if (!header_.metadata.emplace(key_, value).second) return refuse("a duplicate key");
      return true;
    }
    if (depth_ != 2 || field_ != "dtype") return refuse("a string here");
    if (dtype_) return refuse("a second dtype");
    for (const auto& [name, dtype] : kDTypes) {
      if (name == value) dtype_ = dtype;
    }
    if (!dtype_) {
      fail(ExitCode::kBadData, "{}: tensor {}: dtype {}, expected F32, F64, BF16, U8, I32 or I64",
           source_, key_, value);
    }
    return true;
  }

  bool start_object(std::size_t) override {
    if (++depth_ > 2 || numbers_ != nullptr) return refuse("an object here");
    if (depth_ == 2) {
      in_metadata_ = key_ == "__metadata__";
      dtype_.reset();
      shape_.reset();
      offsets_.reset();
    }
    return true;
  }

  bool key(string_t& value) override {
    if (value.size() > kMaxNameBytes) return refuse("a name over 512 bytes");
    if (depth_ == 1) {
      key_ = value;
      if (!names_.insert(value).second) return refuse("a duplicate name");
    } else if (in_metadata_) {
      key_ = value;
    } else {
      field_ = value;
    }
    return true;
  }

  bool end_object() override {
    if (depth_-- != 2) return true;
    if (!in_metadata_) add_tensor();
    in_metadata_ = false;
    field_.clear();
    return true;
  }

  bool start_array(std::size_t) override {
    if (depth_ != 2 || in_metadata_ || numbers_ != nullptr) return refuse("an array here");
    auto& target = field_ == "shape" ? shape_ : offsets_;
    if ((field_ != "shape" && field_ != "data_offsets") || target) return refuse("this array");
    numbers_ = &target.emplace();
    return true;
  }

  bool end_array() override {
    numbers_ = nullptr;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    fail(ExitCode::kBadData, "{}: the header is not JSON at byte {}", source_, position);
  }

 private:
  bool refuse(const char* what) const {
    fail(ExitCode::kBadData, "{}: header entry {}: {} is not allowed", source_, key_, what);
  }

  void add_tensor() {
    if (!dtype_ || !shape_ || !offsets_ || offsets_->size() != 2) {
      fail(ExitCode::kBadData, "{}: tensor {}: expected dtype, shape and two data_offsets", source_,
           key_);
    }
    int64_t bytes = static_cast<int64_t>(size_of(*dtype_));
    bool overflow = false;
    for (const int64_t dim : *shape_) overflow |= __builtin_mul_overflow(bytes, dim, &bytes);
    const int64_t begin = (*offsets_)[0], end = (*offsets_)[1];
    if (overflow || end < begin || end - begin != bytes) {
      fail(ExitCode::kBadData, "{}: tensor {}: offsets {} to {}, expected {} bytes for {} of {}",
           source_, key_, begin, end, overflow ? "too many" : std::to_string(bytes), Shape(*shape_),
           name_of(*dtype_));
    }
    header_.tensors[key_] = {*dtype_, Shape(*shape_), begin, bytes};
    if (header_.tensors.size() > kMaxTensors) {
      fail(ExitCode::kBadData, "{}: more than {} tensors", source_, kMaxTensors);
    }
  }

  std::string source_;
  SafetensorsHeader& header_;
  std::set<std::string> names_;
  int depth_ = 0;
  bool in_metadata_ = false;
  std::string key_, field_;
  std::optional<DType> dtype_;
  std::optional<std::vector<int64_t>> shape_, offsets_;
  std::vector<int64_t>* numbers_ = nullptr;
};

// The tensors must cover the data without holes or overlaps: a byte that belongs to none could be
// anything.
void check_coverage(const SafetensorsHeader& header, int64_t data_bytes,
                    const std::string& source) {
  // Sorted by offset and size: an empty tensor comes before its neighbour.
  std::vector<std::tuple<int64_t, int64_t, std::string_view>> sorted;
  for (const auto& [name, info] : header.tensors)
    sorted.emplace_back(info.offset, info.bytes, name);
  std::sort(sorted.begin(), sorted.end());
  int64_t expected = 0;
  for (const auto& [offset, bytes, name] : sorted) {
    if (offset != expected) {
      fail(ExitCode::kBadData, "{}: tensor {}: starts at byte {}, expected {}: {}", source, name,
           offset, expected, offset > expected ? "a hole before it" : "it overlaps another");
    }
    expected += bytes;
  }
  if (expected != data_bytes) {
    fail(ExitCode::kBadData, "{}: {} bytes of data, expected {}: the file is {}", source,
         data_bytes, expected, data_bytes < expected ? "truncated" : "too long");
  }
}

std::string json_of(const nlohmann::ordered_json& header) {
  try {
    return header.dump();
  } catch (const nlohmann::json::exception& error) {
    fail(ExitCode::kInternal, "safetensors: a name or metadata is not UTF-8: {}", error.what());
  }
}

}  // namespace

SafetensorsHeader parse_safetensors_header(std::string_view json, int64_t data_bytes,
                                           const std::string& source) {
  const size_t start = json.find_first_not_of(" \t\r\n");
  if (start == std::string_view::npos || json[start] != '{') {
    fail(ExitCode::kBadData, "{}: the header does not start with '{{': not a safetensors file",
         source);
  }
  if (json.find('\0') != std::string_view::npos) {  // the JSON library would take it for the end
    fail(ExitCode::kBadData, "{}: the header contains a zero byte", source);
  }
  SafetensorsHeader header;
  HeaderReader reader(source, header);
  nlohmann::json::sax_parse(json.begin(), json.end(), &reader);
  check_coverage(header, data_bytes, source);
  return header;
}

void write_safetensors(WritableFile& file, std::span<const NamedTensor> tensors,
                       const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  int64_t offset = 0;
  for (const NamedTensor& t : tensors) {
    check(!header.contains(t.name), "safetensors: {} twice", t.name);
    check(t.name != "__metadata__" && t.name.size() <= kMaxNameBytes,
          "safetensors: {} cannot name a tensor", t.name);
    const int64_t bytes = Shape(t.shape).elems() * static_cast<int64_t>(size_of(t.dtype));
    header[t.name] = {{"dtype", file_name_of(t.dtype)},
                      {"shape", t.shape},
                      {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
  }
  std::string text = json_of(header);
  text.append((kAlignment - (text.size() + 8) % kAlignment) % kAlignment, ' ');
  const uint64_t length = text.size();  // little-endian, as is every machine this builds on
  file.write(std::as_bytes(std::span(&length, 1)));
  file.write(std::as_bytes(std::span(text)));
  for (const NamedTensor& t : tensors) {
    const int64_t bytes = Shape(t.shape).elems() * static_cast<int64_t>(size_of(t.dtype));
    file.write({static_cast<const std::byte*>(t.data), static_cast<size_t>(bytes)});
  }
}

SafetensorsFile::SafetensorsFile(Vfs& vfs, const Vfs::Path& path)
    : source_(path.string()), file_(vfs.open(path)) {
  const int64_t size = file_->size();
  if (size < 8) {
    fail(ExitCode::kBadData, "{}: truncated: {} bytes, expected at least 8", source_, size);
  }
  uint64_t length = 0;
  file_->read_at(0, std::as_writable_bytes(std::span(&length, 1)));
  if (length > static_cast<uint64_t>(kMaxHeaderBytes)) {
    fail(ExitCode::kBadData,
         "{}: a header of {} bytes, expected at most {}: not a safetensors file", source_, length,
         kMaxHeaderBytes);
  }
  if (static_cast<int64_t>(length) > size - 8) {
    fail(ExitCode::kBadData, "{}: truncated: {} bytes, expected at least {} (header)", source_,
         size, 8 + length);
  }
  std::string json(length, ' ');
  file_->read_at(8, std::as_writable_bytes(std::span(json)));
  data_start_ = 8 + static_cast<int64_t>(length);
  header_ = parse_safetensors_header(json, size - data_start_, source_);
}

std::vector<std::string> SafetensorsFile::names() const {
  std::vector<std::string> names;
  for (const auto& [name, info] : header_.tensors) names.push_back(name);
  return names;
}

const TensorInfo& SafetensorsFile::info(const std::string& name) const {
  const auto found = header_.tensors.find(name);
  if (found == header_.tensors.end()) fail(ExitCode::kBadData, "{}: no tensor {}", source_, name);
  return found->second;
}

void SafetensorsFile::read(const std::string& name, std::span<std::byte> bytes) {
  const TensorInfo& tensor = info(name);
  check(static_cast<int64_t>(bytes.size()) == tensor.bytes,
        "safetensors: {} has {} bytes, buffer {}", name, tensor.bytes, bytes.size());
  file_->read_at(data_start_ + tensor.offset, bytes);
}

}  // namespace bigbigan
