# BIGBIGAN_CUDA=ON: nvcc compiles the .cu files. The runtime is linked statically; cuDNN, cuBLASLt and NCCL are opened by
# the program that uses them, so that one file runs with and without a GPU. Needs no GPU and no driver to build.
if(NOT BIGBIGAN_SANITIZE STREQUAL none)
  message(FATAL_ERROR "BIGBIGAN_SANITIZE=${BIGBIGAN_SANITIZE}: not with BIGBIGAN_CUDA=ON; kernels are tested under "
                      "sanitizers by BIGBIGAN_CUDA=EMULATED")
endif()

find_program(CMAKE_CUDA_COMPILER nvcc HINTS ${cuda_home}/bin)
if(NOT CMAKE_CUDA_COMPILER)
  message(FATAL_ERROR "BIGBIGAN_CUDA=ON: no nvcc in ${cuda_home}/bin or PATH; set CUDA_HOME to the toolkit")
endif()
set(CMAKE_CUDA_HOST_COMPILER ${CMAKE_CXX_COMPILER})
set(CMAKE_CUDA_ARCHITECTURES ${BIGBIGAN_CUDA_ARCH})
enable_language(CUDA)
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)  # which CMake 3.25 does not know of nvcc
endif()
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_EXTENSIONS OFF)
set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
set(CMAKE_CUDA_FLAGS_RELEASE "-O3 -lineinfo")  # asserts stay on: no NDEBUG
if(CCACHE)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CMAKE_CXX_COMPILER_LAUNCHER})
endif()

string(REPLACE ";" "," nvcc_host_options "${host_options}")
# FMT_USE_CONSTEXPR: without it fmt 9 turns its constexpr functions off under nvcc, and their consteval callers do not
# compile.
set(nvcc_options -DFMT_USE_CONSTEXPR=1 -Xcompiler=${nvcc_host_options})
if(BIGBIGAN_WERROR)
  list(APPEND nvcc_options --Werror all-warnings)
endif()

find_path(CUDA_INCLUDE NAMES cuda_runtime.h NO_DEFAULT_PATH
          PATHS ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES} ${cuda_home}/include REQUIRED)
# The toolkit's, or what CMAKE_PREFIX_PATH has: Python's wheels, for one.
find_path(CUBLAS_INCLUDE NAMES cublasLt.h NO_DEFAULT_PATH PATHS ${CUDA_INCLUDE})
find_path(CUBLAS_INCLUDE NAMES cublasLt.h)
find_path(CUDNN_INCLUDE NAMES cudnn_graph.h NO_DEFAULT_PATH PATHS ${CUDA_INCLUDE})
find_path(CUDNN_INCLUDE NAMES cudnn_graph.h)
find_path(NCCL_INCLUDE NAMES nccl.h NO_DEFAULT_PATH PATHS ${CUDA_INCLUDE} ${CMAKE_SOURCE_DIR}/.deps/nccl/include)
find_path(NCCL_INCLUDE NAMES nccl.h)
find_path(CUDNN_FRONTEND_INCLUDE NAMES cudnn_frontend.h PATHS ${CMAKE_SOURCE_DIR}/.deps/cudnn-frontend/include)
if(NOT CUBLAS_INCLUDE)
  message(FATAL_ERROR "BIGBIGAN_CUDA=ON: no cublasLt.h; install cuBLAS with its headers, or set CUBLAS_INCLUDE")
endif()
if(NOT CUDNN_INCLUDE)
  message(FATAL_ERROR "BIGBIGAN_CUDA=ON: no cudnn_graph.h; install cuDNN 9 with its headers, or set CUDNN_INCLUDE")
endif()
if(NOT NCCL_INCLUDE)
  message(FATAL_ERROR "BIGBIGAN_CUDA=ON: no nccl.h; run scripts/install_cuda_headers.sh, or set NCCL_INCLUDE")
endif()
if(NOT CUDNN_FRONTEND_INCLUDE)
  message(FATAL_ERROR "BIGBIGAN_CUDA=ON: no cudnn_frontend.h; run scripts/install_cudnn_frontend.sh")
endif()

add_library(cuda_platform INTERFACE)
target_include_directories(cuda_platform SYSTEM INTERFACE ${CUDA_INCLUDE})
target_link_libraries(cuda_platform INTERFACE ${CMAKE_DL_LIBS})

# Compiles .cu files as part of `target`.
function(add_cuda_sources target)
  target_sources(${target} PRIVATE ${ARGN})
  set_source_files_properties(${ARGN} PROPERTIES COMPILE_OPTIONS "${nvcc_options}")
endfunction()

# The operations of cuDNN and cuBLASLt, by their headers alone.
function(add_vendor_sources target)
  target_sources(${target} PRIVATE
    ${CMAKE_CURRENT_SOURCE_DIR}/common/vendor_library.cuda.cc
    ${CMAKE_CURRENT_SOURCE_DIR}/conv/conv_plans.cudnn.cc
    ${CMAKE_CURRENT_SOURCE_DIR}/linear/gemm.cublaslt.cc)
  target_include_directories(${target} SYSTEM PRIVATE ${CUDNN_INCLUDE} ${CUDNN_FRONTEND_INCLUDE} ${CUBLAS_INCLUDE})
  # Forty thousand lines of headers around a few calls: optimising them takes minutes and gains nothing.
  set_source_files_properties(${CMAKE_CURRENT_SOURCE_DIR}/conv/conv_plans.cudnn.cc PROPERTIES COMPILE_OPTIONS "-O1;-g0")
endfunction()

add_custom_target(cuda_tests)  # builds all that the tests with the labels `cuda` (no GPU needed) and `gpu` run
