#include <catch2/catch.hpp>
#include <cstring>
#include <random>

#include "engine/io/npy.h"
#include "tests/engine_io/scratch.h"

using namespace bigbigan;
namespace fs = std::filesystem;

namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

NpyArray parse(std::string_view file) { return parse_npy(bytes_of(file), "x.npy"); }

// A file of version 1.0 with this dict, padded like numpy's, and `data` zero bytes.
std::string file_with(std::string dict, size_t data) {
  dict.append(63 - (dict.size() + 10) % 64, ' ');
  dict += '\n';
  std::string file("\x93NUMPY\x01\0", 8);
  file += static_cast<char>(dict.size() & 0xff);
  file += static_cast<char>(dict.size() >> 8);
  return file + dict + std::string(data, '\0');
}

void require_refused(const std::string& dict, size_t data,
                     std::initializer_list<std::string> parts) {
  INFO(dict);
  require_error([&] { parse(file_with(dict, data)); }, ExitCode::kBadData, {"x.npy"});
  require_error([&] { parse(file_with(dict, data)); }, ExitCode::kBadData, parts);
}

// np.save of numpy.array([1, 2, 3], '<f4').
const std::string kNumpyFile = std::string("\x93NUMPY\x01\x00v\x00", 10) +
                               "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }"
                               "                                                            \n" +
                               std::string("\0\0\x80\x3f\0\0\0\x40\0\0\x40\x40", 12);

// numpy.lib.format.write_array of numpy.arange(2, dtype='<i4') as version 2.0.
const std::string kNumpyFile2 = std::string("\x93NUMPY\x02\x00t\x00\x00\x00", 12) +
                                "{'descr': '<i4', 'fortran_order': False, 'shape': (2,), }"
                                "                                                          \n" +
                                std::string("\0\0\0\0\1\0\0\0", 8);

}  // namespace

TEST_CASE("npy: files written by numpy are read") {
  const NpyArray array = parse(kNumpyFile);
  REQUIRE(array.dtype == DType::kF32);
  REQUIRE(array.shape == std::vector<int64_t>{3});
  REQUIRE(array.to_doubles() == std::vector<double>{1, 2, 3});
  const NpyArray second = parse(kNumpyFile2);
  REQUIRE(second.dtype == DType::kI32);
  REQUIRE(second.to_doubles() == std::vector<double>{0, 1});
}

TEST_CASE("npy: what is written equals numpy's file byte for byte") {
  ScratchFolder scratch;
  PosixVfs vfs;
  const float values[] = {1, 2, 3};
  write_npy(vfs, scratch / "a.npy", DType::kF32, std::vector<int64_t>{3},
            std::as_bytes(std::span(values)));
  REQUIRE(read_raw(scratch / "a.npy") == kNumpyFile);
  REQUIRE(scratch.entries() == 1);
}

TEST_CASE("npy: every dtype and shape survives the round trip") {
  ScratchFolder scratch;
  PosixVfs vfs;
  const DType dtypes[] = {DType::kF32, DType::kF64, DType::kU8, DType::kI32, DType::kI64};
  const std::vector<int64_t> shapes[] = {{7}, {0}, {0, 5}, {1, 1}, {3, 5, 7}, {2, 3, 1, 4, 5}};
  for (const DType dtype : dtypes) {
    for (const auto& shape : shapes) {
      size_t bytes = size_of(dtype);
      for (const int64_t dim : shape) bytes *= static_cast<size_t>(dim);
      std::vector<std::byte> data(bytes);
      for (size_t i = 0; i < bytes; ++i) data[i] = static_cast<std::byte>(i * 37 + 11);
      write_npy(vfs, scratch / "a.npy", dtype, shape, data);
      const NpyArray array = read_npy(vfs, scratch / "a.npy");
      REQUIRE(array.dtype == dtype);
      REQUIRE(array.shape == shape);
      REQUIRE(array.data == data);
      REQUIRE(array.elems() * static_cast<int64_t>(size_of(dtype)) == static_cast<int64_t>(bytes));
      REQUIRE(fs::file_size(scratch / "a.npy") % 64 == bytes % 64);
    }
  }
}

TEST_CASE("npy: conversion to doubles") {
  const auto doubles = [](DType dtype, const auto& values) {
    const auto data = std::as_bytes(std::span(values));
    return NpyArray{dtype, {2}, {data.begin(), data.end()}}.to_doubles();
  };
  REQUIRE(doubles(DType::kF64, std::vector<double>{1.25, -3}) == std::vector<double>{1.25, -3});
  REQUIRE(doubles(DType::kU8, std::vector<uint8_t>{0, 255}) == std::vector<double>{0, 255});
  REQUIRE(doubles(DType::kI64, std::vector<int64_t>{-1, 1LL << 40}) ==
          std::vector<double>{-1, 0x1p40});
}

TEST_CASE("npy: other layouts of the dict that Python reads alike") {
  REQUIRE(
      parse(file_with("{\"shape\":(2,3),\"fortran_order\":False,\"descr\":\"|u1\"}", 6)).shape ==
      std::vector<int64_t>{2, 3});
  REQUIRE(
      parse(file_with("{'descr': '<i8', 'fortran_order': False, 'shape': (), }", 8)).shape.empty());
  REQUIRE(parse(file_with("{'descr': '<i8', 'fortran_order': False, 'shape': (0, 4), }", 0))
              .data.empty());
}

TEST_CASE("npy: refused headers") {
  const std::string descr = "{'descr': '<f4', ", order = "'fortran_order': False, ";
  require_refused("{'descr': '<f2', " + order + "'shape': (2,), }", 4,
                  {"'<f2'", "expected <f4", "astype"});
  require_refused("{'descr': '>f4', " + order + "'shape': (1,), }", 4, {"'>f4'"});
  require_refused("{'descr': '|O', " + order + "'shape': (1,), }", 8, {"'|O'"});
  require_refused("{'descr': [('a', '<f4')], " + order + "'shape': (1,), }", 4, {"no string"});
  require_refused(descr + "'fortran_order': True, 'shape': (1,), }", 4,
                  {"fortran_order", "ascontiguousarray"});
  require_refused(descr + "'fortran_order': Falsehood, 'shape': (1,), }", 4, {"'h'"});
  require_refused(descr + order + "}", 4, {"missing"});
  require_refused(descr + "'shape': (1,), }", 4, {"missing"});
  require_refused("{" + order + "'shape': (1,), }", 4, {"missing"});
  require_refused(descr + descr.substr(1) + order + "'shape': (1,), }", 4, {"'descr'"});
  require_refused(descr + order + "'shape': (1,), 'more': '', }", 4, {"unexpected key 'more'"});
  require_refused("{'descr': '<f4' " + order + "'shape': (1,), }", 4, {"expected ','"});
  require_refused(descr + order + ", 'shape': (1,), }", 4, {"no string"});
  require_refused(descr + order + "'shape': (1,), } {}", 4, {"follows"});
  require_refused(descr + order + "'shape': (1,), ", 4, {"ends too early"});
  require_refused(descr + order + "'shape", 4, {"does not end"});
  require_refused("['descr']", 4, {"expected '{'"});
  require_refused("", 4, {"ends too early"});
}

TEST_CASE("npy: refused shapes") {
  const auto refused = [](const std::string& shape, size_t data, const std::string& why) {
    require_refused("{'descr': '<f4', 'fortran_order': False, 'shape': " + shape + ", }", data,
                    {why});
  };
  refused("(1)", 4, "tuple");
  refused("1", 4, "expected '('");
  refused("(-1,)", 4, "no dimension");
  refused("(-0,)", 0, "no dimension");
  refused("(,)", 4, "no dimension");
  refused("(1 1)", 4, "expected ','");
  refused("(1,,1)", 4, "no dimension");
  refused("(1L,)", 4, "expected ','");
  refused("(1.0,)", 4, "expected ','");
  refused("(99999999999999999999,)", 4, "no dimension");
  refused("(1,1,1,1,1,1,1,1,1)", 4, "rank over 8");
  refused("(4294967296, 4294967296)", 4, "overflows");
  refused("(3,)", 11, "11 bytes of data, expected 12");
  refused("(3,)", 13, "13 bytes of data, expected 12");
}

TEST_CASE("npy: refused beginnings") {
  require_error([] { parse(""); }, ExitCode::kBadData, {"x.npy", "not an npy file"});
  require_error([] { parse("PK\x03\x04 not this, not this"); }, ExitCode::kBadData,
                {"not an npy file"});
  std::string file = kNumpyFile;
  file[6] = 3;
  require_error([&] { parse(file); }, ExitCode::kBadData, {"version 3.0, expected 1.0 or 2.0"});
  file[6] = 1;
  file[7] = 1;
  require_error([&] { parse(file); }, ExitCode::kBadData, {"version 1.1"});
  std::string large = kNumpyFile2;
  large[10] = 2;  // a header of 128 KiB and more
  large.resize(1 << 20, ' ');
  require_error([&] { parse(large); }, ExitCode::kBadData, {"header of 131188 bytes"});
}

TEST_CASE("npy: truncation at every byte is refused, from memory and from the file") {
  ScratchFolder scratch;
  PosixVfs vfs;
  const fs::path path = scratch / "a.npy";
  for (const std::string& whole : {kNumpyFile, kNumpyFile2}) {
    for (size_t n = 0; n < whole.size(); ++n) {
      require_error([&] { parse(whole.substr(0, n)); }, ExitCode::kBadData, {"x.npy"});
      write_raw(path, whole.substr(0, n));
      require_error([&] { read_npy(vfs, path); }, ExitCode::kBadData, {path.string()});
    }
    write_raw(path, whole);
    REQUIRE(read_npy(vfs, path).data == parse(whole).data);
    require_error([&] { parse(whole + "x"); }, ExitCode::kBadData, {"expected"});
  }
  require_error([&] { read_npy(vfs, scratch / "none.npy"); }, ExitCode::kNoInput, {"none.npy"});
}

TEST_CASE("npy: mutants are read or refused, nothing else") {
  std::mt19937 random(7);
  size_t refused = 0;
  for (int i = 0; i < 10000; ++i) {
    std::string mutant = i % 2 ? kNumpyFile : kNumpyFile2;
    for (size_t n = 1 + random() % 3; n > 0; --n)
      mutant[random() % 70] = static_cast<char>(random());
    const auto error = error_of([&] { parse(mutant); });
    if (!error) continue;
    ++refused;
    REQUIRE(error->code() == ExitCode::kBadData);
  }
  REQUIRE(refused > 5000);
  REQUIRE(refused < 10000);
}

TEST_CASE("npy: the writer streams rows and shows the file only when it is complete") {
  ScratchFolder scratch;
  PosixVfs vfs;
  const fs::path path = scratch / "a.npy";
  const std::vector<int64_t> row = {2, 2};
  const std::string rows = "abcdefghijkl";
  {
    NpyWriter writer(vfs, path, DType::kU8, 3, row);
    writer.append(bytes_of(rows).first(4));
    writer.append({});
    REQUIRE_FALSE(fs::exists(path));
    writer.append(bytes_of(rows).subspan(4));
    writer.close();
    require_error([&] { writer.close(); }, ExitCode::kInternal, {"closed"});
    require_error([&] { writer.append({}); }, ExitCode::kInternal, {"closed"});
  }
  const NpyArray array = read_npy(vfs, path);
  REQUIRE(array.shape == std::vector<int64_t>{3, 2, 2});
  REQUIRE(std::memcmp(array.data.data(), rows.data(), rows.size()) == 0);
  REQUIRE(scratch.entries() == 1);
}

TEST_CASE("npy: an abandoned or failing writer leaves nothing behind") {
  ScratchFolder scratch;
  PosixVfs vfs;
  const fs::path path = scratch / "a.npy";
  {
    NpyWriter writer(vfs, path, DType::kU8, 3, {});
    writer.append(bytes_of("ab"));
    require_error([&] { writer.close(); }, ExitCode::kInternal, {"1 bytes missing", path.string()});
    require_error([&] { writer.append(bytes_of("cd")); }, ExitCode::kInternal, {"more rows"});
  }
  REQUIRE(scratch.entries() == 0);
  require_error([&] { NpyWriter(vfs, path, DType::kBF16, 3, {}); }, ExitCode::kInternal, {"bf16"});
  REQUIRE(scratch.entries() == 0);
  fs::create_directory(path);
  require_error([&] { write_npy(vfs, path, DType::kU8, std::vector<int64_t>{2}, bytes_of("ab")); },
                ExitCode::kWriteFailed, {path.string()});
  REQUIRE(scratch.entries() == 1);
}
