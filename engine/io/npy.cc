#include "engine/io/npy.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <utility>

#include "kernels/common/error.h"

namespace bigbigan {
namespace {

constexpr size_t kMaxHeaderBytes = 64 << 10;
constexpr int64_t kMaxPrefixBytes = 12;  // magic, version, length of the header
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
      separator('}');
    }
    if (text_.find_first_not_of(" \n", at_ + 1) != std::string_view::npos) {
      refuse("something follows the '}'");
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
  // A comma, or nothing before the closing bracket.
  void separator(char closing) {
    if (peek() == closing) return;
    expect(',');
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
    refuse(
        fmt::format("dtype '{}', expected <f4, <f8, |u1, <i4 or <i8; convert with astype()", name));
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
      const auto [end, error] =
          std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
      if (error != std::errc() || text_[at_] == '-')
        refuse(fmt::format("no dimension at byte {}", at_));
      at_ = static_cast<size_t>(end - text_.data());
      dims.push_back(value);
      if (dims.size() > 8) refuse("rank over 8");
      separator(')');
      if (dims.size() == 1 && text_[at_ - 1] != ',') refuse("shape is a number, expected a tuple");
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
  std::string dict = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}{}), }}",
                                 descr, fmt::join(shape, ", "), shape.size() == 1 ? "," : "");
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

// An array without its data, and where in the file that begins.
struct NpyHeader {
  NpyArray array;
  int64_t data_start = 0;
  int64_t data_bytes = 0;
};

// Reads the header of a file of `file_bytes` from its first bytes (all of them, or as many as a
// header may have) and checks that the data fills the rest exactly.
NpyHeader parse_header(std::span<const std::byte> head, int64_t file_bytes,
                       const std::string& source) {
  const auto* text = reinterpret_cast<const char*>(head.data());
  if (head.size() < 10 || std::memcmp(text, "\x93NUMPY", 6) != 0) {
    fail(ExitCode::kBadData, "{}: not an npy file (no \\x93NUMPY at the start)", source);
  }
  const int major = static_cast<int>(head[6]), minor = static_cast<int>(head[7]);
  if ((major != 1 && major != 2) || minor != 0) {
    fail(ExitCode::kBadData, "{}: npy version {}.{}, expected 1.0 or 2.0", source, major, minor);
  }
  const size_t prefix = major == 1 ? 10 : 12;
  size_t length = 0;
  for (size_t i = 8; i < std::min(prefix, head.size()); ++i) {
    length |= static_cast<size_t>(head[i]) << (8 * (i - 8));
  }
  if (length > kMaxHeaderBytes || prefix + length > head.size()) {
    fail(ExitCode::kBadData, "{}: an npy header of {} bytes in a file of {}: truncated?", source,
         length, file_bytes);
  }
  NpyHeader header;
  HeaderParser({text + prefix, length}, source).parse(header.array);
  header.data_start = static_cast<int64_t>(prefix + length);
  header.data_bytes = checked_bytes(header.array.shape, header.array.dtype, source);
  if (file_bytes - header.data_start != header.data_bytes) {
    fail(ExitCode::kBadData, "{}: {} bytes of data, expected {} for shape ({}) of {}", source,
         file_bytes - header.data_start, header.data_bytes, fmt::join(header.array.shape, ", "),
         name_of(header.array.dtype));
  }
  return header;
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
    case DType::kF32:
      convert(float{});
      break;
    case DType::kF64:
      convert(double{});
      break;
    case DType::kU8:
      convert(uint8_t{});
      break;
    case DType::kI32:
      convert(int32_t{});
      break;
    default:
      convert(int64_t{});
      break;
  }
  return values;
}

NpyArray parse_npy(std::span<const std::byte> file, const std::string& source) {
  NpyHeader header = parse_header(file, static_cast<int64_t>(file.size()), source);
  const auto data = file.subspan(static_cast<size_t>(header.data_start));
  header.array.data.assign(data.begin(), data.end());
  return std::move(header.array);
}

NpyArray read_npy(Vfs& vfs, const Vfs::Path& path) {
  const auto file = vfs.open(path);
  const auto head_bytes =
      std::min(file->size(), kMaxPrefixBytes + static_cast<int64_t>(kMaxHeaderBytes));
  std::vector<std::byte> head(static_cast<size_t>(head_bytes));
  file->read_at(0, head);
  NpyHeader header = parse_header(head, file->size(), path.string());
  header.array.data.resize(static_cast<size_t>(header.data_bytes));
  file->read_at(header.data_start, header.array.data);
  return std::move(header.array);
}

NpyWriter::NpyWriter(Vfs& vfs, Vfs::Path path, DType dtype, int64_t rows,
                     std::span<const int64_t> row_shape)
    : vfs_(vfs), path_(std::move(path)), temporary_(temporary_beside(path_)) {
  std::vector<int64_t> shape = {rows};
  shape.insert(shape.end(), row_shape.begin(), row_shape.end());
  bytes_left_ = checked_bytes(shape, dtype, path_.string());
  const std::string header = header_of(dtype, shape);
  file_ = vfs.create(temporary_);
  try {
    file_->write(std::as_bytes(std::span(header)));
  } catch (const Error&) {
    discard();
    throw;
  }
}

NpyWriter::~NpyWriter() {
  if (file_) discard();
}

void NpyWriter::discard() {
  file_.reset();
  try {
    vfs_.remove_file(temporary_);
  } catch (const Error&) {  // what is left is a file with a temporary name
  }
}

void NpyWriter::append(std::span<const std::byte> rows) {
  check(file_ != nullptr, "npy: {} is closed already", path_.string());
  bytes_left_ -= static_cast<int64_t>(rows.size());
  check(bytes_left_ >= 0, "npy: more rows than announced for {}", path_.string());
  file_->write(rows);
}

void NpyWriter::close() {
  check(file_ != nullptr, "npy: {} is closed already", path_.string());
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
