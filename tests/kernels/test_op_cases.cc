// Every case of every operation through all checks of the harness; a section per case.
#include <catch2/catch.hpp>

#include "tests/harness/checks.h"

using namespace bigbigan;

namespace {

void check_family(const std::vector<OpCase>& cases) {
  REQUIRE(!cases.empty());
  for (const OpCase& c : cases) {
    const std::string failure = check_all(c);
    INFO(failure);
    CHECK(failure.empty());
  }
}

}  // namespace

TEST_CASE("op cases: elementwise") { check_family(elementwise_cases()); }
TEST_CASE("op cases: linear") { check_family(linear_cases()); }
TEST_CASE("op cases: conv") { check_family(conv_cases()); }
TEST_CASE("op cases: norm") { check_family(norm_cases()); }
TEST_CASE("op cases: spatial") { check_family(spatial_cases()); }
TEST_CASE("op cases: attention") { check_family(attention_cases()); }
TEST_CASE("op cases: loss") { check_family(loss_cases()); }
