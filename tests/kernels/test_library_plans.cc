// What is chosen once stays, as text too. Note [Recorded plans].
#include <catch2/catch.hpp>

#include "kernels/common/error.h"
#include "kernels/common/library_plans.h"

using namespace bigbigan;

namespace {

struct Plan {
  std::string choice;
};

// What plan_for() answers where heuristics would choose `heuristics`.
std::string chosen(LibraryPlans& plans, const std::string& problem, const std::string& heuristics) {
  return plans
      .plan_for<Plan>(
          problem,
          [&](const std::string& choice) { return Plan{choice.empty() ? heuristics : choice}; })
      .choice;
}

}  // namespace

TEST_CASE("library plans: a problem keeps its first plan") {
  LibraryPlans plans;
  CHECK(plans.text().empty());
  CHECK(chosen(plans, "b", "1") == "1");
  CHECK(chosen(plans, "a", "2") == "2");
  CHECK(chosen(plans, "b", "3") == "1");
  CHECK(plans.text() == "a = 2\nb = 1\n");
}

TEST_CASE("library plans: taken over, they are what heuristics would not choose") {
  LibraryPlans plans;
  chosen(plans, "made before", "1");
  plans.take_over("made before = 2\nnew = 3 = x\n");
  CHECK(chosen(plans, "made before", "4") == "1");
  CHECK(chosen(plans, "new", "4") == "3 = x");
  CHECK(chosen(plans, "unknown", "4") == "4");
  CHECK(plans.text() == "made before = 1\nnew = 3 = x\nunknown = 4\n");
}

TEST_CASE("library plans: one that cannot be made leaves none") {
  LibraryPlans plans;
  const auto fails = [](const std::string&) -> Plan { fail(ExitCode::kSystem, "no engine"); };
  CHECK_THROWS_AS(plans.plan_for<Plan>("a", fails), Error);
  CHECK(plans.text().empty());
  CHECK(chosen(plans, "a", "1") == "1");
}

TEST_CASE("library plans: other text is refused") {
  for (const char* text : {"a = 1", "a\n", " = 1\n", "a = \n", "a = 1\n\n"}) {
    INFO(text);
    LibraryPlans plans;
    CHECK_THROWS_WITH(plans.take_over(text), Catch::Contains("recorded plans"));
  }
}
