# BIGBIGAN_CUDA=EMULATED: g++ compiles the .cu files against NVIDIA's headers, and tests/emu runs them on the CPU. Needs
# the headers only: no nvcc, no driver. scripts/install_deps.sh fetches them where they are missing.
find_path(CUDA_INCLUDE NAMES cuda_runtime.h NO_DEFAULT_PATH
          PATHS ${cuda_home}/include ${CMAKE_SOURCE_DIR}/.deps/cuda/include)
if(NOT CUDA_INCLUDE)
  message(FATAL_ERROR "BIGBIGAN_CUDA=EMULATED: no cuda_runtime.h in ${cuda_home}/include or .deps/cuda/include; "
                      "run scripts/install_deps.sh")
endif()
find_path(NCCL_INCLUDE NAMES nccl.h NO_DEFAULT_PATH PATHS ${cuda_home}/include ${CMAKE_SOURCE_DIR}/.deps/nccl/include)
if(NOT NCCL_INCLUDE)
  message(FATAL_ERROR "BIGBIGAN_CUDA=EMULATED: no nccl.h in ${cuda_home}/include or .deps/nccl/include; "
                      "run scripts/install_deps.sh")
endif()
find_package(boost_context REQUIRED)

add_library(cuda_platform INTERFACE)
target_include_directories(cuda_platform SYSTEM INTERFACE ${CUDA_INCLUDE})
target_include_directories(cuda_platform INTERFACE ${CMAKE_SOURCE_DIR}/tests/emu)  # cuda_emu.h
target_link_libraries(cuda_platform INTERFACE cuda_emu)

# Compiles .cu files as part of `target`.
function(add_cuda_sources target)
  target_sources(${target} PRIVATE ${ARGN})
  # Packs are read as uint4, whatever the elements are: nvcc has no strict aliasing.
  set_source_files_properties(${ARGN} PROPERTIES LANGUAGE CXX
    COMPILE_OPTIONS "-fno-strict-aliasing;-Wno-unknown-pragmas")
endfunction()

# In the place of cuDNN and cuBLASLt, and of what opens NCCL.
function(add_vendor_sources target)
  target_sources(${target} PRIVATE ${CMAKE_SOURCE_DIR}/tests/emu/vendor_ops.cc
                                   ${CMAKE_SOURCE_DIR}/tests/emu/vendor_library.cc)
  target_include_directories(${target} SYSTEM PRIVATE ${NCCL_INCLUDE})
endfunction()

add_custom_target(emulated_tests)  # builds all that the tests with the label `emulated` run

# Registers a whole test binary once per schedule of the emulated device: "<name>/<schedule>", label `emulated`. Schedules
# may be named: for tests that take long and gain little from more.
function(add_emulated_tests name target)
  add_dependencies(emulated_tests ${target})
  set(ascending EMU_ORDER=ascending)
  set(descending EMU_ORDER=descending)
  set(eager EMU_ORDER=random EMU_SEED=9 EMU_STREAMS=eager EMU_ENGINE=0)
  foreach(seed RANGE 1 3)
    set(random${seed} EMU_ORDER=random EMU_SEED=${seed})
  endforeach()
  if(BIGBIGAN_SANITIZE STREQUAL thread)
    # Races show whatever the schedule; which blocks can race depends on the number of identity sets.
    set(descending ${descending} EMU_TSAN_SETS=3)
    set(schedules random1 descending)
  elseif(BIGBIGAN_SANITIZE STREQUAL address)
    set(schedules ascending descending random1 random2 eager)
  else()
    set(schedules ascending descending random1 random2 random3 eager)
  endif()
  if(ARGN)
    set(schedules ${ARGN})
  endif()
  foreach(schedule ${schedules})
    add_test(NAME ${name}/${schedule} COMMAND ${target})
    set_tests_properties(${name}/${schedule} PROPERTIES LABELS emulated TIMEOUT 1800
      ENVIRONMENT "${${schedule}};TSAN_OPTIONS=halt_on_error=1:atexit_sleep_ms=0")
  endforeach()
endfunction()

# "<name>/mutation": leaves out one __syncthreads at a time, and the test binary must notice each. Needs no sanitizer.
function(add_barrier_mutation name target)
  if(BIGBIGAN_SANITIZE STREQUAL none)
    add_test(NAME ${name}/mutation
      COMMAND python3 ${CMAKE_SOURCE_DIR}/tests/emu/mutate_barriers.py $<TARGET_FILE:${target}>)
    set_tests_properties(${name}/mutation PROPERTIES LABELS emulated TIMEOUT 900)
  endif()
endfunction()
