#include <catch2/catch.hpp>
#include <cstring>
#include <random>

#include "engine/io/safetensors.h"
#include "tests/engine_io/scratch.h"

using namespace bigbigan;
namespace fs = std::filesystem;

namespace {

// A file with this header, as it stands, and `data` zero bytes.
std::string file_with(const std::string& json, size_t data) {
  const uint64_t length = json.size();
  std::string file(8, '\0');
  std::memcpy(file.data(), &length, 8);
  return file + json + std::string(data, '\0');
}

SafetensorsHeader parse(const std::string& json, int64_t data) {
  return parse_safetensors_header(json, data, "x.safetensors");
}

void require_refused(const std::string& json, int64_t data,
                     std::initializer_list<std::string> parts) {
  INFO(json.substr(0, 200));
  require_error([&] { parse(json, data); }, ExitCode::kBadData, {"x.safetensors"});
  require_error([&] { parse(json, data); }, ExitCode::kBadData, parts);
}

// One tensor "w" whose entry is `entry`.
std::string one(const std::string& entry) { return "{\"w\":{" + entry + "}}"; }

const std::string kGood = R"("dtype":"F32","shape":[2],"data_offsets":[0,8])";

// Reads a file as a program would: everything in it.
void read_all(Vfs& vfs, const fs::path& path) {
  SafetensorsFile file(vfs, path);
  for (const std::string& name : file.names()) {
    std::vector<std::byte> bytes(static_cast<size_t>(file.info(name).bytes));
    file.read(name, bytes);
  }
}

// A valid file with several tensors and metadata, as written.
std::string sample(const ScratchFolder& scratch) {
  PosixVfs vfs;
  const float f[] = {1, 2, 3, 4, 5, 6};
  const uint8_t u[] = {7, 8, 9};
  const int64_t i[] = {-1};
  const NamedTensor tensors[] = {{"gen.w", DType::kF32, {2, 3}, f},
                                 {"empty", DType::kF64, {0, 4}, nullptr},
                                 {"\xc3\xa4 \"\\\n", DType::kU8, {3}, u},
                                 {"step", DType::kI64, {}, i}};
  const auto file = vfs.create(scratch / "sample");
  write_safetensors(*file, tensors, {{"format", "pt"}, {"note", "\xe2\x82\xac"}});
  file->close();
  return read_raw(scratch / "sample");
}

}  // namespace

TEST_CASE("safetensors: the round trip keeps names, shapes, dtypes, data and metadata") {
  ScratchFolder scratch;
  PosixVfs vfs;
  const std::string raw = sample(scratch);
  SafetensorsFile file(vfs, scratch / "sample");
  REQUIRE(file.names() == std::vector<std::string>{"empty", "gen.w", "step", "\xc3\xa4 \"\\\n"});
  REQUIRE(file.metadata() ==
          std::map<std::string, std::string>{{"format", "pt"}, {"note", "\xe2\x82\xac"}});
  REQUIRE(file.info("gen.w").shape == Shape{2, 3});
  REQUIRE(file.info("gen.w").dtype == DType::kF32);
  REQUIRE(file.info("gen.w").offset == 0);
  REQUIRE(file.info("gen.w").bytes == 24);
  REQUIRE(file.info("empty").shape == Shape{0, 4});
  REQUIRE(file.info("empty").bytes == 0);
  REQUIRE(file.info("step").shape == Shape{});
  float f[6];
  file.read("gen.w", std::as_writable_bytes(std::span(f)));
  REQUIRE(f[0] == 1);
  REQUIRE(f[5] == 6);
  uint8_t u[3];
  file.read("\xc3\xa4 \"\\\n", std::as_writable_bytes(std::span(u)));
  REQUIRE(u[2] == 9);
  int64_t step = 0;
  file.read("step", std::as_writable_bytes(std::span(&step, 1)));
  REQUIRE(step == -1);
  file.read("empty", {});
}

TEST_CASE("safetensors: data starts at a multiple of 64 and follows the given order") {
  ScratchFolder scratch;
  const std::string raw = sample(scratch);
  uint64_t length = 0;
  std::memcpy(&length, raw.data(), 8);
  REQUIRE((8 + length) % 64 == 0);
  REQUIRE(raw.size() == 8 + length + 24 + 3 + 8);
  REQUIRE(raw[8] == '{');
  REQUIRE(raw.find("gen.w") < raw.find("empty"));
  REQUIRE(raw.find("empty") < raw.find("step"));
}

TEST_CASE("safetensors: the bytes of a small file") {
  ScratchFolder scratch;
  PosixVfs vfs;
  const uint8_t data[] = {'a', 'b'};
  const NamedTensor tensor = {"t", DType::kU8, {2}, data};
  const auto file = vfs.create(scratch / "a");
  write_safetensors(*file, std::span(&tensor, 1), {});
  file->close();
  const std::string json = R"({"t":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})";
  REQUIRE(read_raw(scratch / "a") ==
          std::string("\x38\0\0\0\0\0\0\0", 8) + json + std::string(56 - json.size(), ' ') + "ab");
}

TEST_CASE("safetensors: every dtype, and a file without tensors") {
  ScratchFolder scratch;
  PosixVfs vfs;
  const std::vector<std::byte> data(64);
  for (const DType dtype :
       {DType::kF32, DType::kF64, DType::kBF16, DType::kU8, DType::kI32, DType::kI64}) {
    const NamedTensor tensor = {"t", dtype, {1, 2, 1, 2, 1}, data.data()};
    const fs::path path = scratch / std::string(name_of(dtype));
    const auto file = vfs.create(path);
    write_safetensors(*file, std::span(&tensor, 1), {});
    file->close();
    REQUIRE(SafetensorsFile(vfs, path).info("t").dtype == dtype);
    REQUIRE(SafetensorsFile(vfs, path).info("t").shape == Shape{1, 2, 1, 2, 1});
  }
  const auto file = vfs.create(scratch / "none");
  write_safetensors(*file, {}, {});
  file->close();
  REQUIRE(SafetensorsFile(vfs, scratch / "none").names().empty());
}

TEST_CASE("safetensors: the writer refuses names that no reader could read back") {
  ScratchFolder scratch;
  PosixVfs vfs;
  const auto file = vfs.create(scratch / "a");
  const std::vector<std::byte> data(64);
  const auto refused = [&](std::vector<NamedTensor> tensors, const char* why) {
    require_error([&] { write_safetensors(*file, tensors, {}); }, ExitCode::kInternal, {why});
  };
  const NamedTensor good = {"a", DType::kU8, {1}, data.data()};
  refused({good, good}, "a twice");
  refused({{"__metadata__", DType::kU8, {1}, data.data()}}, "cannot name");
  refused({{std::string(513, 'n'), DType::kU8, {1}, data.data()}}, "cannot name");
  refused({{"\xff", DType::kU8, {1}, data.data()}}, "UTF-8");
  refused({{"a", DType::kU8, {1, 1, 1, 1, 1, 1}, data.data()}}, "rank 6");
  file->close();
  REQUIRE(read_raw(scratch / "a").empty());
}

TEST_CASE("safetensors: headers other writers produce") {
  REQUIRE(parse("{}", 0).tensors.empty());
  REQUIRE(parse(" \n{\"w\": {\"data_offsets\": [0, 8], \"shape\": [2], \"dtype\": \"F32\"}}  \n", 8)
              .tensors.at("w")
              .bytes == 8);
  REQUIRE(parse(R"({"__metadata__":{},"w":{)" + kGood + "}}", 8).metadata.empty());
  // Names in another order than the data.
  const auto header = parse(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[2,3]},)"
                            R"("b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})",
                            3);
  REQUIRE(header.tensors.at("a").offset == 2);
}

TEST_CASE("safetensors: refused JSON") {
  for (const char* json : {"", "   ", "[]", "null", "\"{}\"", "\xef\xbb\xbf{}", "x{}"}) {
    require_refused(json, 0, {"does not start with '{'"});
  }
  for (const char* json : {"{", "{} {}", "{}x", "{\"a\"}", "{,}", "{/* */}", "{'a':{}}",
                           "{\"\xff\":{}}", "{\"\\ud800\":{}}", "{\"a\x01\":{}}"}) {
    require_refused(json, 0, {"not JSON at byte"});
  }
  require_refused(std::string("{}\0{", 4), 0, {"zero byte"});
}

TEST_CASE("safetensors: refused nesting, however deep") {
  require_refused("{\"w\":[]}", 0, {"w", "array"});
  require_refused("{\"w\":{\"dtype\":{}}}", 0, {"w", "object"});
  require_refused("{\"w\":{\"shape\":[[]]}}", 0, {"w", "array"});
  require_refused("{\"w\":{\"shape\":[{}]}}", 0, {"w", "object"});
  std::string deep;
  for (int i = 0; i < 100000; ++i) deep += "{\"a\":";
  require_refused(deep, 0, {"object"});
  require_refused("{\"w\":" + std::string(100000, '['), 0, {"array"});
}

TEST_CASE("safetensors: refused duplicates") {
  require_refused("{\"w\":{" + kGood + "},\"w\":{" + kGood + "}}", 8, {"w", "duplicate"});
  require_refused(one(kGood + ",\"dtype\":\"F32\""), 8, {"w", "second dtype"});
  require_refused(one(kGood + ",\"shape\":[2]"), 8, {"w", "array"});
  require_refused(one(kGood + ",\"data_offsets\":[0,8]"), 8, {"w", "array"});
  require_refused(R"({"__metadata__":{},"__metadata__":{}})", 0, {"duplicate"});
  require_refused(R"({"__metadata__":{"a":"1","a":"2"}})", 0, {"a", "duplicate"});
}

TEST_CASE("safetensors: refused entries") {
  const auto refused = [](const std::string& entry, const std::string& why) {
    require_refused(one(entry), 8, {"w", why});
  };
  refused("", "expected dtype, shape and two data_offsets");
  refused(R"("shape":[2],"data_offsets":[0,8])", "expected dtype");
  refused(R"("dtype":"F32","data_offsets":[0,8])", "expected dtype, shape");
  refused(R"("dtype":"F32","shape":[2])", "two data_offsets");
  refused(R"("dtype":"F32","shape":[2],"data_offsets":[8])", "two data_offsets");
  refused(R"("dtype":"F32","shape":[2],"data_offsets":[0,8,8])", "two data_offsets");
  refused(R"("dtype":"F16","shape":[4],"data_offsets":[0,8])", "dtype F16, expected F32");
  refused(R"("dtype":"f32","shape":[2],"data_offsets":[0,8])", "dtype f32");
  refused(R"("dtype":4,"shape":[2],"data_offsets":[0,8])", "number");
  refused(R"("dtype":null,"shape":[2],"data_offsets":[0,8])", "null");
  refused(R"("dtype":true,"shape":[2],"data_offsets":[0,8])", "boolean");
  refused(kGood + R"(,"more":"x")", "string");
  refused(kGood + R"(,"more":[])", "array");
  require_refused(R"({"w":"F32"})", 0, {"w", "string"});
  require_refused(R"({"w":3})", 0, {"w", "number"});
}

TEST_CASE("safetensors: refused numbers, sizes and names") {
  const auto refused = [](const std::string& shape, const std::string& offsets,
                          const std::string& why) {
    require_refused(one("\"dtype\":\"F32\",\"shape\":" + shape + ",\"data_offsets\":" + offsets), 8,
                    {"w", why});
  };
  refused("[-2]", "[0,8]", "negative");
  refused("[2.0]", "[0,8]", "fractional");
  refused("[2e0]", "[0,8]", "fractional");
  refused("[9223372036854775808]", "[0,8]", "over 2^63");
  refused("[99999999999999999999]", "[0,8]", "fractional");
  refused("[\"2\"]", "[0,8]", "string");
  refused("[1,1,1,1,1,2]", "[0,8]", "more than 5");
  refused("[4294967296,4294967296]", "[0,8]", "too many bytes");
  refused("[4611686018427387904]", "[0,0]", "too many bytes");
  refused("[3]", "[0,8]", "expected 12 bytes for (3)");
  refused("[2]", "[8,0]", "offsets 8 to 0");
  require_refused("{\"" + std::string(513, 'n') + "\":{" + kGood + "}}", 8, {"over 512 bytes"});
  REQUIRE(parse("{\"" + std::string(512, 'n') + "\":{" + kGood + "}}", 8).tensors.size() == 1);
}

TEST_CASE("safetensors: refused metadata") {
  for (const char* value : {"1", "null", "true", "1.5", "-1", "[]", "{}", "[\"a\"]"}) {
    require_refused(std::string("{\"__metadata__\":{\"a\":") + value + "}}", 0, {"not allowed"});
  }
  require_refused(R"({"__metadata__":"a"})", 0, {"__metadata__"});
}

TEST_CASE("safetensors: refused holes, overlaps and uncovered data") {
  const auto two = [](const std::string& a, const std::string& b) {
    return R"({"a":{"dtype":"U8","shape":[2],"data_offsets":)" + a +
           R"(},"b":{"dtype":"U8","shape":[2],"data_offsets":)" + b + "}}";
  };
  REQUIRE(parse(two("[0,2]", "[2,4]"), 4).tensors.size() == 2);
  require_refused(two("[1,3]", "[3,5]"), 5, {"tensor a", "byte 1, expected 0", "hole"});
  require_refused(two("[0,2]", "[3,5]"), 5, {"tensor b", "byte 3, expected 2", "hole"});
  require_refused(two("[0,2]", "[1,3]"), 3, {"tensor b", "byte 1, expected 2", "overlaps"});
  require_refused(two("[0,2]", "[0,2]"), 2, {"tensor b", "overlaps"});
  require_refused(two("[0,2]", "[2,4]"), 3, {"3 bytes of data, expected 4", "truncated"});
  require_refused(two("[0,2]", "[2,4]"), 5, {"5 bytes of data, expected 4", "too long"});
  require_refused("{}", 1, {"too long"});
  require_refused(R"({"e":{"dtype":"U8","shape":[0],"data_offsets":[1,1]}})", 0, {"tensor e"});
}

TEST_CASE("safetensors: too many tensors") {
  const auto header = [](int count) {
    std::string json = "{";
    for (int i = 0; i < count; ++i) {
      json += (i ? ",\"" : "\"") + std::to_string(i) +
              R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
    }
    return json + "}";
  };
  REQUIRE(parse(header(100000), 0).tensors.size() == 100000);
  require_refused(header(100001), 0, {"more than 100000 tensors"});
}

TEST_CASE("safetensors: damaged lengths") {
  ScratchFolder scratch;
  PosixVfs vfs;
  const fs::path path = scratch / "a";
  const auto refused = [&](const std::string& raw, std::initializer_list<std::string> parts) {
    write_raw(path, raw);
    require_error([&] { read_all(vfs, path); }, ExitCode::kBadData, {path.string()});
    require_error([&] { read_all(vfs, path); }, ExitCode::kBadData, parts);
  };
  refused("", {"truncated: 0 bytes, expected at least 8"});
  refused("1234567", {"truncated: 7 bytes"});
  refused(std::string(8, '\xff'), {"18446744073709551615 bytes", "at most 16777216"});
  refused(std::string("\x01\0\0\x01\0\0\0\0", 8), {"header of 16777217 bytes"});
  refused(std::string("\x03\0\0\0\0\0\0\0{}", 10), {"truncated: 10 bytes, expected at least 11"});
  refused(std::string(8, '\0'), {"does not start with"});
  refused(file_with(one(kGood), 7), {"7 bytes of data, expected 8", "truncated"});
  write_raw(path, file_with(one(kGood), 8));
  read_all(vfs, path);
  require_error([&] { SafetensorsFile(vfs, scratch / "none"); }, ExitCode::kNoInput, {"none"});
}

TEST_CASE("safetensors: an unknown name and a buffer of another size") {
  ScratchFolder scratch;
  PosixVfs vfs;
  write_raw(scratch / "a", file_with(one(kGood), 8));
  SafetensorsFile file(vfs, scratch / "a");
  REQUIRE(file.has("w"));
  REQUIRE_FALSE(file.has("v"));
  require_error([&] { (void)file.info("v"); }, ExitCode::kBadData,
                {(scratch / "a").string(), "no tensor v"});
  std::byte bytes[7];
  require_error([&] { file.read("w", bytes); }, ExitCode::kInternal, {"w has 8 bytes, buffer 7"});
}

TEST_CASE("safetensors: truncation at every byte is refused") {
  ScratchFolder scratch;
  PosixVfs vfs;
  const std::string whole = sample(scratch);
  const fs::path path = scratch / "cut";
  for (size_t n = 0; n < whole.size(); ++n) {
    write_raw(path, whole.substr(0, n));
    require_error([&] { read_all(vfs, path); }, ExitCode::kBadData, {path.string(), "expected"});
  }
  write_raw(path, whole);
  read_all(vfs, path);
}

TEST_CASE("safetensors: 10000 mutants are read or refused, nothing else") {
  ScratchFolder scratch;
  PosixVfs vfs;
  const std::string whole = sample(scratch);
  const fs::path path = scratch / "mutant";
  std::mt19937 random(11);
  int refused = 0;
  for (int i = 0; i < 10000; ++i) {
    std::string mutant = whole;
    for (size_t n = 1 + random() % 4; n > 0; --n) {
      const size_t at = random() % mutant.size();
      switch (random() % 4) {
        case 0:
          mutant[at] = static_cast<char>(random());
          break;
        case 1:
          mutant[at] = "0123456789[]{},:\"\\ -"[random() % 20];
          break;
        case 2:
          mutant.erase(at, 1 + random() % 3);
          break;
        default:
          mutant.insert(at, mutant.substr(random() % mutant.size(), random() % 8));
          break;
      }
    }
    write_raw(path, mutant);
    const auto error = error_of([&] { read_all(vfs, path); });
    if (!error) continue;
    ++refused;
    REQUIRE(error->code() == ExitCode::kBadData);
  }
  REQUIRE(refused > 5000);
  REQUIRE(refused < 10000);
}
