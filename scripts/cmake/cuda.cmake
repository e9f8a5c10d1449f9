# The CUDA platform, real or emulated: one interface target `cuda_platform`, and how .cu files are compiled.
#
#   OFF        no CUDA backend
#   ON         nvcc and NVIDIA's libraries: cuda_on.cmake
#   EMULATED   g++ and a device on the CPU, for tests: cuda_emulated.cmake
if(BIGBIGAN_CUDA STREQUAL OFF)
  function(add_cuda_kernels target)
  endfunction()
  return()
elseif(NOT BIGBIGAN_CUDA MATCHES "^(ON|EMULATED)$")
  message(FATAL_ERROR "BIGBIGAN_CUDA=${BIGBIGAN_CUDA}: expected OFF, ON or EMULATED")
endif()

# The toolkit: $CUDA_HOME, or /usr/local/cuda where that is not set.
set(cuda_home $ENV{CUDA_HOME})
if(NOT cuda_home)
  set(cuda_home /usr/local/cuda)
endif()

# Adds the kernels/<family>/*.cu to `target`.
function(add_cuda_kernels target)
  file(GLOB sources CONFIGURE_DEPENDS */*.cu)
  list(FILTER sources EXCLUDE REGEX "/bench/")
  add_cuda_sources(${target} ${sources})
  target_sources(${target} PRIVATE conv/conv2d.cuda.cc)
  add_vendor_sources(${target})
  target_link_libraries(${target} PUBLIC cuda_platform)
endfunction()

if(BIGBIGAN_CUDA STREQUAL ON)
  include(cuda_on)
else()
  include(cuda_emulated)
endif()
