// Marks between launches, as CUDA events.
#include <catch2/catch.hpp>

#include "engine/core/device.h"
#include "engine/core/tensor.h"

using namespace bigbigan;

TEST_CASE("a timeline adds up, and begins anew") {
  Device device("cuda", 1);
  const Context ctx{.exec = device.exec(), .allocator = &device.allocator()};
  const Tensor block = Tensor::empty(ctx, {1 << 22}, DType::kU8);
  const auto timeline = device.timeline();
  for (int round = 0; round < 2; ++round) {
    REQUIRE(timeline->mark() == 0);
    block.clear();
    REQUIRE(timeline->mark() == 1);
    block.clear();
    block.clear();
    REQUIRE(timeline->mark() == 2);
    const double first = timeline->seconds(0, 1), second = timeline->seconds(1, 2);
    CHECK(first > 0);
    CHECK(second > 0);
    CHECK(timeline->seconds(0, 2) == Approx(first + second).epsilon(1e-3));
    CHECK_THROWS_AS(timeline->seconds(0, 3), Error);
    timeline->clear();
    CHECK_THROWS_AS(timeline->seconds(0, 1), Error);
  }
}

TEST_CASE("a device says what it is") {
  const Device device("cuda", 1);
  const DeviceProperties properties = device.properties();
  CHECK(!properties.name.empty());
  CHECK(properties.driver.find('.') != std::string::npos);
  CHECK(properties.cache_bytes > 0);
}
