# Build options and the one set of compiler flags (two sets would break the one-definition rule for
# inline templates).
set(BIGBIGAN_CUDA OFF CACHE STRING "CUDA backend: OFF, ON (nvcc), EMULATED (on the CPU, for tests)")
set(BIGBIGAN_CUDA_ARCH 90 CACHE STRING "Compute capabilities of an ON build: 90, or a list such as 80;90;100")
set(BIGBIGAN_SANITIZE none CACHE STRING "Sanitizer: none, address, thread, fuzz")
set(BIGBIGAN_COVERAGE OFF CACHE BOOL "Count the lines that run: scripts/cuda_coverage.sh")
set_property(CACHE BIGBIGAN_CUDA PROPERTY STRINGS OFF ON EMULATED)
set_property(CACHE BIGBIGAN_SANITIZE PROPERTY STRINGS none address thread fuzz)
set(BIGBIGAN_MPI AUTO CACHE STRING "Many ranks under mpirun: ON, OFF, AUTO (where MPI is found)")
set_property(CACHE BIGBIGAN_MPI PROPERTY STRINGS ON OFF AUTO)
set(BIGBIGAN_WERROR ON CACHE BOOL "Warnings are errors; OFF for compilers that the project is not tested with")
set(BIGBIGAN_CPU_ARCH x86-64-v3 CACHE STRING "-march of the build: x86-64-v3 is AVX2 and FMA")

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_CXX_FLAGS_RELEASE "-O3 -g1")  # asserts stay on: no NDEBUG

set(host_options -Wall -Wextra -Wno-missing-field-initializers
                 -fno-math-errno -fno-trapping-math -ffp-contract=fast)
if(BIGBIGAN_WERROR)
  list(APPEND host_options -Werror)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  # g++ 12 reports both wrongly inside std::string and fmt.
  list(APPEND host_options -Wno-restrict -Wno-stringop-overflow)
endif()
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  list(APPEND host_options -march=${BIGBIGAN_CPU_ARCH})
endif()
# What nvcc writes for the host compiler is not pedantic C++.
add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:${host_options};-Wpedantic>")
include_directories(${CMAKE_SOURCE_DIR})

if(BIGBIGAN_SANITIZE STREQUAL address)
  add_compile_options(-O1 -fsanitize=address,undefined -fno-sanitize-recover=all
                      -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
elseif(BIGBIGAN_SANITIZE STREQUAL thread)
  add_compile_options(-O1 -fsanitize=thread)
  add_link_options(-fsanitize=thread)
elseif(BIGBIGAN_SANITIZE STREQUAL fuzz)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL Clang)
    message(FATAL_ERROR "BIGBIGAN_SANITIZE=fuzz needs clang++ (libFuzzer)")
  endif()
  add_compile_options(-O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all)
  add_link_options(-fsanitize=address,undefined)
elseif(NOT BIGBIGAN_SANITIZE STREQUAL none)
  message(FATAL_ERROR "BIGBIGAN_SANITIZE=${BIGBIGAN_SANITIZE}: expected none, address, thread or fuzz")
endif()

if(NOT BIGBIGAN_SANITIZE STREQUAL none AND CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  add_compile_options(-Wno-maybe-uninitialized)  # wrong inside std::regex and std::function
endif()

if(BIGBIGAN_COVERAGE)
  add_compile_options(-O1 --coverage -fprofile-update=atomic)
  add_link_options(--coverage)
endif()

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_NOHASHDIR=1 ${CCACHE})
endif()
