#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

#include "engine/io/flat_json.h"
#include "tests/engine_io/scratch.h"

using namespace bigbigan;

namespace {

FlatJson parse(const std::string& text) { return parse_flat_json(text, "source"); }

}  // namespace

TEST_CASE("flat json: values come back exactly, in order") {
  const FlatJson object = {{"z", int64_t{1}},
                           {"a", std::numeric_limits<int64_t>::min()},
                           {"big", std::numeric_limits<int64_t>::max()},
                           {"tenth", 0.1},
                           {"tiny", 5e-324},
                           {"huge", -1.7976931348623157e308},
                           {"whole", 2.0},
                           {"yes", true},
                           {"nothing", nullptr},
                           {"text", std::string("tab\t quote\" back\\ line\n nul") + '\0' + "é 😀"},
                           {"", std::string()}};
  const std::string text = to_json(object);
  REQUIRE(text.find('\n') == std::string::npos);
  const FlatJson back = parse(text);
  REQUIRE(back == object);
  REQUIRE(parse("{}").empty());
}

TEST_CASE("flat json: what is not finite becomes null") {
  const double inf = std::numeric_limits<double>::infinity();
  REQUIRE(to_json({{"a", std::nan("")}, {"b", inf}, {"c", -inf}}) ==
          R"({"a":null,"b":null,"c":null})");
}

TEST_CASE("flat json: anything but one flat object is refused") {
  const std::pair<std::string, std::string> cases[] = {
      {"", "byte"},
      {"{", "byte"},
      {"null", "without an object"},
      {"3", "without an object"},
      {"[]", "array"},
      {R"({"a":1} )"
       "x",
       "byte"},
      {R"({"a":1}{"b":2})", "byte"},
      {R"({"a":{}})", "nested object near key a"},
      {R"({"a":[1]})", "array near key a"},
      {R"({"a":1,"b":2,"a":1})", "duplicate"},
      {R"({"a":9223372036854775808})", "2^63"},
      {R"({"a":1e400})", "byte"},
      {R"({"a":NaN})", "byte"},
      {R"({"a":01})", "byte"},
      {"{\"a\":\"\xff\"}", "byte"},
      {"{\"a\":\"new\nline\"}", "byte"},
      {std::string("{\"a\":1}\0x", 9), "zero byte"},
      {std::string(100000, '['), "array"},
  };
  for (const auto& [text, part] : cases) {
    INFO(text.substr(0, 50));
    require_error([&, t = text] { parse(t); }, ExitCode::kBadData, {"source", part});
  }
}

TEST_CASE("flat json: the number of keys is limited") {
  std::string text = "{";
  for (int i = 0; i <= 1000; ++i) text += (i > 0 ? ",\"" : "\"") + std::to_string(i) + "\":0";
  require_error([&] { parse(text + "}"); }, ExitCode::kBadData, {"1000 keys"});
}

TEST_CASE("flat json: a value is asked for by name and type") {
  const FlatJson object = parse(R"({"i":3,"d":0.5,"s":"x","b":true,"n":null})");
  REQUIRE(json_get<int64_t>(object, "i", "s") == 3);
  REQUIRE(json_get<double>(object, "i", "s") == 3.0);
  REQUIRE(json_get<double>(object, "d", "s") == 0.5);
  REQUIRE(json_get<std::string>(object, "s", "s") == "x");
  REQUIRE(json_get<bool>(object, "b", "s"));
  require_error([&] { (void)json_get<int64_t>(object, "x", "file"); }, ExitCode::kBadData,
                {"file", "x is missing"});
  require_error([&] { (void)json_get<int64_t>(object, "d", "file"); }, ExitCode::kBadData,
                {"file", "d has another type"});
  require_error([&] { (void)json_get<double>(object, "n", "file"); }, ExitCode::kBadData,
                {"n has another type"});
  require_error([&] { (void)json_get<bool>(object, "i", "file"); }, ExitCode::kBadData,
                {"i has another type"});
}
