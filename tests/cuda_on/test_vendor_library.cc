// A library that is not there, or not the right one, is one line that says what to do.
#include <dlfcn.h>

#include <catch2/catch.hpp>

#include "kernels/common/error.h"
#include "kernels/common/vendor_library.h"

using namespace bigbigan;

namespace {

template <class Body>
std::string refusal(const Body& body) {
  try {
    body();
  } catch (const Error& error) {
    CHECK(error.code() == ExitCode::kSystem);
    return error.what();
  }
  return "no error";
}

const VendorLibrary kAbsent{"cuTest 9", "libcutest.so.9", "the cuTest package"};
const VendorLibrary kPresent{"libc", "libc.so.6", "the C library"};

}  // namespace

TEST_CASE("vendor library: absent") {
  const std::string text = refusal([] { open_library(kAbsent); });
  for (const char* part : {"cuTest 9", "libcutest.so.9", "the cuTest package", "LD_LIBRARY_PATH"}) {
    CHECK_THAT(text, Catch::Contains(part));
  }
  CHECK_THAT(text, !Catch::Contains("\n"));
}

TEST_CASE("vendor library: a function it has, and one it has not") {
  void* handle = open_library(kPresent);
  size_t (*length)(const char*) = nullptr;
  find_function(handle, kPresent, "strlen", length);
  CHECK(length("four") == 4);
  CHECK_THAT(refusal([&] { function_of(handle, kPresent, "cudnnNoSuch"); }),
             Catch::Contains("libc.so.6 has no function cudnnNoSuch"));
}

TEST_CASE("vendor library: a number in the environment") {
  constexpr const char* kName = "BIGBIGAN_TEST_NUMBER";
  unsetenv(kName);
  CHECK(environment_number(kName, 7, 100) == 7);
  setenv(kName, "12", 1);
  CHECK(environment_number(kName, 7, 100) == 12);
  for (const char* bad : {"", "x", "12x", "-1", "101", "99999999999999999999"}) {
    setenv(kName, bad, 1);
    CHECK_THROWS_WITH(environment_number(kName, 7, 100), Catch::Contains("from 0 to 100"));
  }
}

TEST_CASE("vendor library: another major version") {
  check_major_version(kPresent, 9, 9);
  CHECK_THAT(refusal([] { check_major_version(kPresent, 8, 9); }),
             Catch::Contains("is of major version 8, this program needs 9"));
}
