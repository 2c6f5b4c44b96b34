# One library a room; each sees only the rooms before it (tests/lint checks the includes). First what all are compiled with, and
# programs that use them too.
add_library(trireme_flags INTERFACE)
target_compile_features(trireme_flags INTERFACE cxx_std_20)
target_include_directories(trireme_flags INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<INSTALL_INTERFACE:include/trireme>)
# Warnings are of these folders alone.
if(NOT TRIREME_SANITIZE OR TRIREME_SANITIZE_ALL)  # a sixth of the time to compile, for what the release build has said
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-Wall> $<$<COMPILE_LANGUAGE:CXX>:-Wextra> $<$<COMPILE_LANGUAGE:CXX>:-Wpedantic>
    $<$<COMPILE_LANGUAGE:CXX>:-Wshadow> $<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor>
    $<$<COMPILE_LANGUAGE:CXX>:-Woverloaded-virtual> $<$<COMPILE_LANGUAGE:CXX>:-Werror>)
endif()
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  # clang says so where it leaves an omp simd loop as it is.
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-Wno-pass-failed>)
endif()
# fmt 9 takes nvcc for a compiler without constexpr, and nvcc cannot check its format strings.
add_compile_options(
  "$<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings;--expt-relaxed-constexpr;-DFMT_CONSTEVAL=;-DFMT_USE_CONSTEXPR=1;-Xcompiler=-Wall,-Wextra,-Werror,-Wno-unknown-pragmas>")
if(TRIREME_UNITY AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # An unnamed namespace of a source is one of a header's to GCC. Which frees no memory of its own below 1 GiB: a seventh of the
  # time to compile.
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-Wno-subobject-linkage> "$<$<COMPILE_LANGUAGE:CXX>:SHELL:--param ggc-min-heapsize=1048576>")
endif()
if(TRIREME_UNITY AND CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  # To clang a local name shadows that of another source's unnamed namespace.
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-Wno-shadow>)
endif()
if(TRIREME_PRECOMPILE AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC 12 forgets which lines of a precompiled header are the library's, and warns of std::string's own.
  add_compile_options(
    "$<$<COMPILE_LANGUAGE:CXX>:-Wno-array-bounds;-Wno-stringop-overflow;-Wno-stringop-overread;-Wno-restrict;-Wno-maybe-uninitialized>")
endif()
# One set of objects serves programs and what Python loads. CMake's own POSITION_INDEPENDENT_CODE says -fPIE for programs, which
# then could not use the precompiled headers of libraries. A function may be inlined all the same: nobody puts another in its place.
add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-fPIC> $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-fPIC>
  $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-fno-semantic-interposition>)
# Debian has no static {fmt}; all of it stands in its headers too.
target_link_libraries(trireme_flags INTERFACE $<IF:$<BOOL:${TRIREME_STATIC}>,fmt::fmt-header-only,fmt::fmt> OpenMP::OpenMP_CXX
  Threads::Threads)
if(TRIREME_STATIC)
  target_link_options(trireme_flags INTERFACE -static)
endif()
if(TRIREME_GENERATE_ONLY)
  # What nothing reaches is not linked, nor what it would need.
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-ffunction-sections> $<$<COMPILE_LANGUAGE:CXX>:-fdata-sections>)
  target_link_options(trireme_flags INTERFACE -Wl,--gc-sections)
endif()
if(TRIREME_SANITIZE)
  target_compile_options(trireme_flags INTERFACE -fsanitize=${TRIREME_SANITIZE} -fno-omit-frame-pointer
    -fno-sanitize-recover=all)
  target_link_options(trireme_flags INTERFACE -fsanitize=${TRIREME_SANITIZE})
  if(TRIREME_SANITIZE STREQUAL "thread")
    # Asio's fences, which the sanitizer cannot follow, come beside its locks.
    target_compile_definitions(trireme_flags INTERFACE BOOST_ASIO_DISABLE_FENCED_BLOCK)
  endif()
  if(NOT TRIREME_SANITIZE_ALL)
    # Of tests' code, which is not what is tested, names without lines; a thread sanitizer has to see it all the same.
    target_compile_options(trireme_flags INTERFACE $<$<BOOL:$<TARGET_PROPERTY:TRIREME_TEST_CODE>>:-g0>)
    if(TRIREME_SANITIZE MATCHES "undefined")
      # More than half of the time to compile, for what the address sanitizer stops too once it is used.
      target_compile_options(trireme_flags INTERFACE -fno-sanitize=null,vptr,pointer-overflow,object-size,alignment)
    endif()
    if(NOT TRIREME_SANITIZE MATCHES "thread")
      target_compile_options(trireme_flags INTERFACE $<$<BOOL:$<TARGET_PROPERTY:TRIREME_TEST_CODE>>:-fno-sanitize=all>)
    endif()
  endif()
endif()

# trireme_precompiled(NAME HEADER... [LIBRARIES ...]): what most sources include, parsed once for all targets that say
# trireme_use_precompiled(TARGET NAME). Sources still include what they use: without TRIREME_PRECOMPILE nothing is forced on
# them, and tests/nightly.sh builds them so.
function(trireme_precompiled name)
  cmake_parse_arguments(arg "" "" "LIBRARIES" ${ARGN})
  if(TRIREME_PRECOMPILE)
    file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/precompiled/${name}.cpp CONTENT "")
    add_library(${name} OBJECT ${PROJECT_BINARY_DIR}/precompiled/${name}.cpp)
    target_link_libraries(${name} PRIVATE trireme_flags ${arg_LIBRARIES})
    target_precompile_headers(${name} PRIVATE ${arg_UNPARSED_ARGUMENTS})
    trireme_mark_tests(${name} ${name})
  endif()
endfunction()
function(trireme_use_precompiled target name)
  if(TRIREME_PRECOMPILE)
    target_precompile_headers(${target} REUSE_FROM ${name})
  endif()
  trireme_mark_tests(${target} ${name})
endfunction()
function(trireme_mark_tests target headers)
  if(headers STREQUAL "trireme_test_headers")
    set_target_properties(${target} PROPERTIES TRIREME_TEST_CODE ON)
  endif()
endfunction()

set(TRIREME_COMMON_HEADERS <algorithm> <array> <atomic> <chrono> <cmath> <cstdint> <cstring> <deque> <functional> <map> <memory>
  <mutex> <numeric> <optional> <set> <span> <stdexcept> <string> <string_view> <thread> <tuple> <unordered_map> <utility> <vector>
  <fmt/format.h>)
trireme_precompiled(trireme_headers ${TRIREME_COMMON_HEADERS})

# Puts the sources in VAR together, twelve in one that includes them. CMake's own UNITY_BUILD would name them by absolute paths,
# by which no other clone's objects serve. Sources with flags of their own stay alone. What is left computes little, and
# -O1 saves a third of the time to compile.
function(trireme_put_together var name)
  set(together ${${var}})
  set(alone ${${var}})
  list(FILTER together EXCLUDE REGEX "/ops/cpu/|/build_info\\.cpp$")
  list(FILTER alone INCLUDE REGEX "/ops/cpu/|/build_info\\.cpp$")
  set(number 0)
  while(together)
    list(SUBLIST together 0 12 batch)
    list(REMOVE_ITEM together ${batch})
    list(TRANSFORM batch REPLACE "(.+)" "#include \"\\1\"\n" OUTPUT_VARIABLE includes)
    list(JOIN includes "" includes)
    set(source ${PROJECT_BINARY_DIR}/unity/${name}_${number}.cpp)
    file(CONFIGURE OUTPUT ${source} CONTENT "${includes}" @ONLY)
    set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "$<$<CONFIG:Release>:-O1>")
    list(APPEND alone ${source})
    math(EXPR number "${number} + 1")
  endwhile()
  set(${var} ${alone} PARENT_SCOPE)
endfunction()

function(trireme_room name folder)
  file(GLOB_RECURSE sources RELATIVE ${PROJECT_SOURCE_DIR} CONFIGURE_DEPENDS ${folder}/*.cpp)
  list(FILTER sources EXCLUDE REGEX "/(cuda|nccl|python)/|/main\\.cpp$|/not_built[^/]*\\.cpp$")
  if(NOT TRIREME_MPI)
    list(FILTER sources EXCLUDE REGEX "^runtime/comm/mpi/")
  endif()
  if(NOT TRIREME_ONEDNN)
    list(FILTER sources EXCLUDE REGEX "/gemm/onednn\\.cpp$")
  endif()
  # Kernels of other processors.
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    list(FILTER sources EXCLUDE REGEX "_neon\\.cpp$")
  else()
    list(FILTER sources EXCLUDE REGEX "_avx(2|512)\\.cpp$")
  endif()
  if(TRIREME_GENERATE_ONLY)
    trireme_keep_for_generation(sources ${name})
  else()
    list(FILTER sources EXCLUDE REGEX "^launch/lean/")
  endif()
  if(TRIREME_UNITY)
    trireme_put_together(sources ${name})
  endif()
  add_library(trireme_${name} STATIC ${sources})
  add_library(Trireme::${name} ALIAS trireme_${name})
  set_target_properties(trireme_${name} PROPERTIES EXPORT_NAME ${name})
  target_link_libraries(trireme_${name} PUBLIC trireme_flags ${ARGN})
  trireme_use_precompiled(trireme_${name} trireme_headers)
endfunction()

trireme_room(runtime runtime nlohmann_json::nlohmann_json)
target_link_libraries(trireme_runtime PRIVATE ${PCRE2_LIBRARY} ${UTF8PROC_LIBRARY} ${XXHASH_LIBRARY} ${CMAKE_DL_LIBS})
if(NOT TRIREME_GENERATE_ONLY)
  target_link_libraries(trireme_runtime PRIVATE OpenSSL::Crypto)
endif()
# MPI and oneDNN: the real thing, or a file that says "not built".
if(TRIREME_MPI)
  target_link_libraries(trireme_runtime PRIVATE MPI::MPI_C)
else()
  target_sources(trireme_runtime PRIVATE runtime/comm/mpi/not_built.cpp)
  set(MPI_C_VERSION "not built")
endif()
if(TRIREME_ONEDNN)
  target_link_libraries(trireme_runtime PRIVATE DNNL::dnnl)
else()
  target_sources(trireme_runtime PRIVATE runtime/ops/cpu/gemm/not_built_onednn.cpp)
  set(dnnl_VERSION "not built")
endif()
target_include_directories(trireme_runtime PRIVATE ${PCRE2_INCLUDE_DIR} ${ONIGURUMA_INCLUDE_DIR} ${UTF8PROC_INCLUDE_DIR}
  ${XXHASH_INCLUDE_DIR})
# The C interface alone: mpi.h otherwise pulls in the removed C++ bindings.
target_compile_definitions(trireme_runtime PRIVATE OMPI_SKIP_MPICXX MPICH_SKIP_MPICXX)
# Op bodies: vectors up to 512 bits wide where the machine has them (chosen at run time), no errno from math functions.
file(GLOB_RECURSE cpu_ops CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/runtime/ops/cpu/*.cpp)
set(widest_vectors "")
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(widest_vectors "-mprefer-vector-width=512")
endif()
set_source_files_properties(${cpu_ops} PROPERTIES COMPILE_OPTIONS
  "-fno-math-errno;-fno-trapping-math;${widest_vectors};$<$<CONFIG:Release>:-O3>")
# -mprefer-vector-width is no setting of the precompiled headers.
set_source_files_properties(${cpu_ops} PROPERTIES SKIP_PRECOMPILE_HEADERS ON)
# Random numbers must not depend on whether the machine has fused multiply-adds.
set_property(SOURCE ${PROJECT_SOURCE_DIR}/runtime/ops/cpu/random.cpp APPEND PROPERTY COMPILE_OPTIONS -ffp-contract=off)
# Of a * c - b * s compilers fuse one product or the other, by the processor; and a logit would differ, by a step where activations
# are rounded to 8 bits.
set_property(SOURCE ${PROJECT_SOURCE_DIR}/runtime/ops/cpu/attention/rotary.cpp APPEND PROPERTY COMPILE_OPTIONS -ffp-contract=off)
# Nor may the values of quantized weights, which other programs compute too.
set_property(SOURCE ${PROJECT_SOURCE_DIR}/runtime/ops/cpu/weight_blocks.cpp APPEND PROPERTY COMPILE_OPTIONS -ffp-contract=off)
foreach(source coded_blocks encode_rows encode_q4 encode_q4_k encode_q6_k)
  set_property(SOURCE ${PROJECT_SOURCE_DIR}/runtime/ops/cpu/weight_blocks/${source}.cpp APPEND PROPERTY COMPILE_OPTIONS -ffp-contract=off)
endforeach()
foreach(source unpack_panels kernels_plain kernels_avx2 kernels_avx512 kernels_neon)
  set_property(SOURCE ${PROJECT_SOURCE_DIR}/runtime/ops/cpu/packed/integers/${source}.cpp APPEND PROPERTY COMPILE_OPTIONS -ffp-contract=off)
endforeach()
if(TRIREME_SANITIZE OR NOT CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  # Other processors have one version. The loader runs the choosers of function versions before a sanitizer is ready.
  set_source_files_properties(${cpu_ops} PROPERTIES COMPILE_DEFINITIONS TRIREME_ONE_VERSION)
endif()

# CUDA and NCCL: the real thing, or a file that says "not built".
file(GLOB_RECURSE cuda_real CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/runtime/*/cuda/*.cpp ${PROJECT_SOURCE_DIR}/runtime/*/cuda/*.cu
  ${PROJECT_SOURCE_DIR}/runtime/comm/nccl/*.cpp)
set(cuda_stub ${cuda_real})
list(FILTER cuda_real EXCLUDE REGEX "/not_built[^/]*\\.cpp$")
list(FILTER cuda_stub INCLUDE REGEX "/not_built\\.cpp$")
if(NOT TRIREME_HAS_CUDNN)
  list(FILTER cuda_real EXCLUDE REGEX "/cudnn_library\\.cpp$")
  list(APPEND cuda_real ${PROJECT_SOURCE_DIR}/runtime/ops/cuda/attention/not_built_cudnn.cpp)
endif()
if(TRIREME_HAS_CUDA)
  target_sources(trireme_runtime PRIVATE ${cuda_real})
  set_property(SOURCE ${PROJECT_SOURCE_DIR}/runtime/ops/cuda/random.cu APPEND PROPERTY COMPILE_OPTIONS -fmad=false)
  string(REPLACE ";" "," architectures "${CMAKE_CUDA_ARCHITECTURES}")
  set_property(SOURCE ${PROJECT_SOURCE_DIR}/runtime/device/cuda/cuda_device.cpp APPEND PROPERTY COMPILE_DEFINITIONS
    "TRIREME_CUDA_ARCHITECTURES=\"${architectures}\"")
  target_include_directories(trireme_runtime SYSTEM PRIVATE ${NCCL_INCLUDE_DIR})
  target_link_libraries(trireme_runtime PRIVATE CUDA::cudart ${NCCL_LIBRARY})
  # It defines cuBLAS's functions for the program, and not for the libraries that cuBLAS itself needs.
  set_source_files_properties(${PROJECT_SOURCE_DIR}/runtime/ops/cuda/gemm/late_blas.cpp PROPERTIES
    COMPILE_OPTIONS -fvisibility=hidden SKIP_UNITY_BUILD_INCLUSION ON)
  if(TRIREME_HAS_CUDNN)
    set_source_files_properties(${PROJECT_SOURCE_DIR}/runtime/ops/cuda/attention/cudnn_library.cpp PROPERTIES
      COMPILE_DEFINITIONS CUDNN_FRONTEND_SKIP_JSON_LIB
      COMPILE_OPTIONS "-isystem;${CUDNN_FRONTEND_INCLUDE_DIR};-isystem;${CUDNN_INCLUDE_DIR}")
    # The frontend's headers call NVRTC. CUDA::nvrtc would bring the driver's library along, without which no program starts.
    target_link_libraries(trireme_runtime PRIVATE ${CUDNN_LIBRARY} ${CUDA_nvrtc_LIBRARY})
  endif()
else()
  target_sources(trireme_runtime PRIVATE ${cuda_stub})
endif()

trireme_room(parallel parallel trireme_runtime)
trireme_room(models models trireme_parallel)
trireme_room(launch launch trireme_models)
set_source_files_properties(${PROJECT_SOURCE_DIR}/launch/process/build_info.cpp PROPERTIES COMPILE_DEFINITIONS
  "TRIREME_VERSION=\"${PROJECT_VERSION}\";TRIREME_COMPILER=\"${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}, ${CMAKE_BUILD_TYPE}\";TRIREME_MPI_VERSION=\"${MPI_C_VERSION}\";TRIREME_DNNL_VERSION=\"${dnnl_VERSION}\"")
if(TRIREME_GENERATE_ONLY)
  add_executable(trireme launch/lean/main.cpp)
else()
  target_link_libraries(trireme_launch PUBLIC Boost::program_options)
  add_executable(trireme launch/main.cpp)
endif()
target_link_libraries(trireme PRIVATE trireme_launch)
# All of it as a library: launch/trireme.h, and what it leads to.
file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/include/trireme/trireme.h CONTENT "#include \"launch/trireme.h\"\n")
add_library(trireme_library INTERFACE)
add_library(Trireme::trireme ALIAS trireme_library)
target_include_directories(trireme_library INTERFACE $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/include> $<INSTALL_INTERFACE:include>)
target_link_libraries(trireme_library INTERFACE trireme_launch)
# Exported symbols are what stacks have names from.
set_target_properties(trireme PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})
if(NOT TRIREME_GENERATE_ONLY)
  set_target_properties(trireme PROPERTIES ENABLE_EXPORTS ON)
endif()
