#include "engine/io/npy.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <charconv>
#include <cstring>

#include "kernels/common/error.h"

namespace bigbigan {
namespace {

constexpr int64_t kMaxFileBytes = int64_t{1} << 36;
constexpr size_t kMaxHeaderBytes = 64 << 10;
constexpr std::array<std::pair<std::string_view, DType>, 5> kDTypes = {{{"<f4", DType::kF32},
                                                                       {"<f8", DType::kF64},
                                                                       {"|u1", DType::kU8},
                                                                       {"<i4", DType::kI32},
                                                                       {"<i8", DType::kI64}}};

// The header is a Python dict literal with three known keys; nothing else is understood.
class HeaderParser {
 public:
  HeaderParser(std::string_view text, const std::string& source) : text_(text), source_(source) {}

  void parse(NpyArray& array) {
    bool has_descr = false, has_order = false, has_shape = false;
    expect('{');
    while (peek() != '}') {
      const std::string_view key = quoted();
      expect(':');
      if (key == "descr" && !std::exchange(has_descr, true)) {
        array.dtype = dtype(quoted());
      } else if (key == "fortran_order" && !std::exchange(has_order, true)) {
        order();
      } else if (key == "shape" && !std::exchange(has_shape, true)) {
        array.shape = shape();
      } else {
        refuse(fmt::format("unexpected key '{}'", key));
      }
      if (peek() == ',') ++at_;
    }
    if (!has_descr || !has_order || !has_shape) refuse("descr, fortran_order or shape is missing");
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    fail(ExitCode::kBadData, "{}: npy header: {}", source_, what);
  }
  char peek() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
    if (at_ == text_.size()) refuse("ends too early");
    return text_[at_];
  }
  void expect(char c) {
    if (peek() != c) refuse(fmt::format("'{}' at byte {}, expected '{}'", text_[at_], at_, c));
    ++at_;
  }
  std::string_view quoted() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') refuse(fmt::format("no string at byte {}", at_));
    const size_t end = text_.find(quote, at_ + 1);
    if (end == std::string_view::npos) refuse("a string does not end");
    const std::string_view inside = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return inside;
  }
  DType dtype(std::string_view name) const {
    for (const auto& [known, value] : kDTypes) {
      if (known == name) return value;
    }
    refuse(fmt::format("dtype '{}', expected <f4, <f8, |u1, <i4 or <i8; convert with astype()", name));
  }
  void order() {
    peek();
    if (text_.substr(at_, 5) == "False") {
      at_ += 5;
    } else {
      refuse("fortran_order is not False; convert with numpy.ascontiguousarray()");
    }
  }
  std::vector<int64_t> shape() {
    std::vector<int64_t> dims;
    expect('(');
    while (peek() != ')') {
      int64_t value = 0;
      const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
      if (error != std::errc() || value < 0) refuse(fmt::format("no dimension at byte {}", at_));
      at_ = static_cast<size_t>(end - text_.data());
      dims.push_back(value);
      if (dims.size() > 8) refuse("rank over 8");
      if (peek() == ',') ++at_;
    }
    ++at_;
    return dims;
  }

  std::string_view text_;
  const std::string& source_;
  size_t at_ = 0;
};

std::string header_of(DType dtype, std::span<const int64_t> shape) {
  std::string_view descr;
  for (const auto& [name, value] : kDTypes) {
    if (value == dtype) descr = name;
  }
  check(!descr.empty(), "npy: no code for {}", name_of(dtype));
  std::string dict = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}{}), }}", descr,
                                 fmt::join(shape, ", "), shape.size() == 1 ? "," : "");
  dict.append(63 - (dict.size() + 10) % 64, ' ');
  dict += '\n';
  std::string header = "\x93NUMPY\x01";
  header += '\0';
  header += static_cast<char>(dict.size() & 0xff);
  header += static_cast<char>(dict.size() >> 8);
  return header + dict;
}

int64_t checked_bytes(const std::vector<int64_t>& shape, DType dtype, const std::string& source) {
  int64_t bytes = static_cast<int64_t>(size_of(dtype));
  for (const int64_t dim : shape) {
    if (__builtin_mul_overflow(bytes, dim, &bytes)) {
      fail(ExitCode::kBadData, "{}: shape ({}) overflows", source, fmt::join(shape, ", "));
    }
  }
  return bytes;
}

}  // namespace

int64_t NpyArray::elems() const {
  int64_t n = 1;
  for (const int64_t dim : shape) n *= dim;
  return n;
}

std::vector<double> NpyArray::to_doubles() const {
  std::vector<double> values(elems());
  const auto convert = [&]<class T>(T) {
    for (size_t i = 0; i < values.size(); ++i) {
      T value;
      std::memcpy(&value, data.data() + i * sizeof(T), sizeof(T));
      values[i] = static_cast<double>(value);
    }
  };
  switch (dtype) {
    case DType::kF32: convert(float{}); break;
    case DType::kF64: convert(double{}); break;
    case DType::kU8: convert(uint8_t{}); break;
    case DType::kI32: convert(int32_t{}); break;
    default: convert(int64_t{}); break;
  }
  return values;
}

NpyArray parse_npy(std::span<const std::byte> file, const std::string& source) {
  const auto* text = reinterpret_cast<const char*>(file.data());
  if (file.size() < 10 || std::memcmp(text, "\x93NUMPY", 6) != 0) {
    fail(ExitCode::kBadData, "{}: not an npy file (no \\x93NUMPY at the start)", source);
  }
  const int major = static_cast<int>(file[6]);
  if (major != 1 && major != 2) fail(ExitCode::kBadData, "{}: npy version {}, expected 1 or 2", source, major);
  const size_t prefix = major == 1 ? 10 : 12;
  size_t length = 0;
  for (size_t i = 8; i < std::min(prefix, file.size()); ++i) length |= static_cast<size_t>(file[i]) << (8 * (i - 8));
  if (length > kMaxHeaderBytes || prefix + length > file.size()) {
    fail(ExitCode::kBadData, "{}: an npy header of {} bytes in a file of {}: truncated?", source, length,
         file.size());
  }
  NpyArray array;
  HeaderParser({text + prefix, length}, source).parse(array);
  const int64_t bytes = checked_bytes(array.shape, array.dtype, source);
  const auto found = static_cast<int64_t>(file.size() - prefix - length);
  if (found != bytes) {
    fail(ExitCode::kBadData, "{}: {} bytes of data, expected {} for shape ({}) of {}", source, found, bytes,
         fmt::join(array.shape, ", "), name_of(array.dtype));
  }
  const auto data = file.subspan(prefix + length);
  array.data.assign(data.begin(), data.end());
  return array;
}

NpyArray read_npy(Vfs& vfs, const Vfs::Path& path) {
  return parse_npy(read_bytes(vfs, path, kMaxFileBytes), path.string());
}

NpyWriter::NpyWriter(Vfs& vfs, Vfs::Path path, DType dtype, int64_t rows, std::span<const int64_t> row_shape)
    : vfs_(vfs), path_(std::move(path)), temporary_(temporary_beside(path_)), file_(vfs.create(temporary_)) {
  std::vector<int64_t> shape = {rows};
  shape.insert(shape.end(), row_shape.begin(), row_shape.end());
  bytes_left_ = checked_bytes(shape, dtype, path_.string());
  const std::string header = header_of(dtype, shape);
  file_->write(std::as_bytes(std::span(header)));
}

NpyWriter::~NpyWriter() {
  if (!file_) return;
  file_.reset();
  try {
    vfs_.remove_file(temporary_);
  } catch (const Error&) {  // what is left is a file with a temporary name
  }
}

void NpyWriter::append(std::span<const std::byte> rows) {
  bytes_left_ -= static_cast<int64_t>(rows.size());
  check(bytes_left_ >= 0, "npy: more rows than announced for {}", path_.string());
  file_->write(rows);
}

void NpyWriter::close() {
  check(bytes_left_ == 0, "npy: {} bytes missing for {}", bytes_left_, path_.string());
  file_->sync();
  file_->close();
  vfs_.rename(temporary_, path_);
  file_.reset();
  vfs_.sync_directory(path_.has_parent_path() ? path_.parent_path() : Vfs::Path("."));
}

void write_npy(Vfs& vfs, const Vfs::Path& path, DType dtype, std::span<const int64_t> shape,
               std::span<const std::byte> data) {
  check(!shape.empty(), "npy: an array without axes for {}", path.string());
  NpyWriter writer(vfs, path, dtype, shape[0], shape.subspan(1));
  writer.append(data);
  writer.close();
}

}  // namespace bigbigan
