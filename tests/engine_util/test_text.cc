#include <catch2/catch.hpp>
#include <vector>

#include "engine/util/text.h"

using namespace bigbigan;

TEST_CASE("text: the nearest name, or none") {
  const std::vector<std::string> names = {"train.batch", "train.steps", "optim.g_lr", "data.path"};
  REQUIRE(nearest_name("train.bacth", names) == "train.batch");
  REQUIRE(nearest_name("step", names).empty());
  REQUIRE(nearest_name("train.step", names) == "train.steps");
  REQUIRE(nearest_name("glr", std::vector<std::string>{"g_lr"}) == "g_lr");
  REQUIRE(nearest_name("data.path", names) == "data.path");
  REQUIRE(nearest_name("", names).empty());
  REQUIRE(nearest_name(std::string(100000, 'x'), names).empty());
  REQUIRE(nearest_name("x", std::vector<std::string>()).empty());
}

TEST_CASE("text: counts have commas") {
  REQUIRE(format_count(0) == "0");
  REQUIRE(format_count(999) == "999");
  REQUIRE(format_count(1000) == "1,000");
  REQUIRE(format_count(1234567) == "1,234,567");
  REQUIRE(format_count(-999) == "-999");
  REQUIRE(format_count(-123456) == "-123,456");
  REQUIRE(format_count(INT64_MIN) == "-9,223,372,036,854,775,808");
}

TEST_CASE("text: durations have two units") {
  REQUIRE(format_duration(-1) == "0s");
  REQUIRE(format_duration(59.9) == "59s");
  REQUIRE(format_duration(60) == "1m00s");
  REQUIRE(format_duration(3599) == "59m59s");
  REQUIRE(format_duration(3780) == "1h03m");
  REQUIRE(format_duration(86400 * 2 + 3600 * 5) == "2d05h");
}

TEST_CASE("text: control characters cannot drive a terminal") {
  REQUIRE(printable("plain\nlines é") == "plain\nlines é");
  REQUIRE(printable("\x1b[2J\r\t\x7f") == "\\x1b[2J\\x0d\\x09\\x7f");
  REQUIRE(printable(std::string("\0", 1)) == "\\x00");
}
