// Stands in for CUDA's header of this name when kernel sources are compiled for the host: what they use of
// the language and of the runtime, and no more. A launch runs the grid on the calling thread, blocks one
// after the other, the threads of a block as fibers (block.h), several times in different orders (launch.h).
// docs/gpu.md says what this finds and what it cannot.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <source_location>
#include <tuple>

#include "tests/support/cuda_on_host/block.h"
#include "tests/support/cuda_on_host/device_memory.h"
#include "tests/support/cuda_on_host/graph.h"
#include "tests/support/cuda_on_host/launch.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

// Built-in variables.
using trireme::cuda_on_host::blockDim;
using trireme::cuda_on_host::blockIdx;
using trireme::cuda_on_host::gridDim;
using trireme::cuda_on_host::threadIdx;
using dim3 = trireme::cuda_on_host::Dim3;

// Synchronisation and exchange.
using CallSite = std::source_location;

inline void __syncthreads(CallSite site = CallSite::current()) {
  trireme::cuda_on_host::current_block().barrier(site);
}
inline void __syncwarp(unsigned mask = 0xffffffffu, CallSite site = CallSite::current()) {
  trireme::cuda_on_host::current_block().exchange(mask, 0, site);
}
template <class T>
T __shfl_sync(unsigned mask, T value, int lane, CallSite site = CallSite::current()) {
  return trireme::cuda_on_host::current_block().exchange(mask, value, site).of(lane & 31);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, CallSite site = CallSite::current()) {
  const int lane = static_cast<int>(threadIdx.x % 32u) ^ lane_mask;
  return trireme::cuda_on_host::current_block().exchange(mask, value, site).of(lane);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, int delta, CallSite site = CallSite::current()) {
  const int here = static_cast<int>(threadIdx.x % 32u), lane = here + delta;
  return trireme::cuda_on_host::current_block().exchange(mask, value, site).of(lane < 32 ? lane : here);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, CallSite site = CallSite::current()) {
  const auto votes = trireme::cuda_on_host::current_block().exchange(mask, predicate, site);
  unsigned ballot = 0;
  for (int lane = 0; lane < 32; ++lane) {
    if ((mask >> lane & 1u) != 0 && votes.of(lane) != 0) ballot |= 1u << lane;
  }
  return ballot;
}
/// The lanes of `mask` whose value is this lane's.
template <class T>
unsigned __match_any_sync(unsigned mask, T value, CallSite site = CallSite::current()) {
  const auto values = trireme::cuda_on_host::current_block().exchange(mask, value, site);
  unsigned same = 0;
  for (int lane = 0; lane < 32; ++lane) {
    if ((mask >> lane & 1u) != 0 && values.of(lane) == value) same |= 1u << lane;
  }
  return same;
}
inline int __any_sync(unsigned mask, int predicate, CallSite site = CallSite::current()) {
  return __ballot_sync(mask, predicate, site) != 0 ? 1 : 0;
}
inline int __all_sync(unsigned mask, int predicate, CallSite site = CallSite::current()) {
  return __ballot_sync(mask, predicate, site) == mask ? 1 : 0;
}

// One thread runs at a time, so a plain change is atomic.
template <class T>
T atomicAdd(T* address, T value) {
  const T before = *address;
  *address = static_cast<T>(before + value);
  return before;
}
template <class T>
T atomicMax(T* address, T value) {
  const T before = *address;
  *address = before < value ? value : before;
  return before;
}

[[noreturn]] inline void __trap() { throw trireme::InternalError("a kernel trapped"); }

// Arithmetic. cmath's names (expf, sqrtf, fmaxf, ...) serve as they are.
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __ffs(int x) { return x == 0 ? 0 : std::countr_zero(static_cast<unsigned>(x)) + 1; }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }

struct alignas(16) uint4 {
  unsigned x, y, z, w;
};

// The runtime.
using cudaStream_t = trireme::cuda_on_host::Stream*;
using cudaEvent_t = trireme::cuda_on_host::Event*;

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorNoKernelImageForDevice = 209,
  cudaErrorInvalidResourceHandle = 400,
  cudaErrorNotReady = 600,
  cudaErrorStreamCaptureUnsupported = 900,
  cudaErrorStreamCaptureUnjoined = 904,
  cudaErrorStreamCaptureIsolation = 905,
  cudaErrorCapturedEvent = 907
};
enum cudaMemcpyKind {
  cudaMemcpyHostToDevice,
  cudaMemcpyDeviceToHost,
  cudaMemcpyDeviceToDevice,
  cudaMemcpyDefault
};
enum cudaDeviceAttr { cudaDevAttrComputeCapabilityMajor = 75, cudaDevAttrComputeCapabilityMinor = 76 };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
inline constexpr unsigned cudaStreamNonBlocking = 1, cudaEventDefault = 0, cudaEventDisableTiming = 2,
                          cudaHostAllocDefault = 0;
#define CUDART_VERSION 13000

inline const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaErrorStreamCaptureUnsupported:
      return "cudaErrorStreamCaptureUnsupported";
    case cudaErrorStreamCaptureUnjoined:
      return "cudaErrorStreamCaptureUnjoined";
    case cudaErrorStreamCaptureIsolation:
      return "cudaErrorStreamCaptureIsolation";
    case cudaErrorCapturedEvent:
      return "cudaErrorCapturedEvent";
    default:
      return "cudaErrorInvalidValue";
  }
}
inline const char* cudaGetErrorString(cudaError_t) { return "refused by the host's stand-in for CUDA"; }
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
namespace trireme::cuda_on_host {
/// All of them are the host; tests of several set how many there are. A thread begins with the first.
inline int num_devices = 1;
inline thread_local int device_of_thread = 0;
}  // namespace trireme::cuda_on_host
inline cudaError_t cudaGetDeviceCount(int* count) {
  return *count = trireme::cuda_on_host::num_devices, cudaSuccess;
}
inline cudaError_t cudaDriverGetVersion(int* version) { return *version = CUDART_VERSION, cudaSuccess; }
inline cudaError_t cudaSetDevice(int index) {
  if (index < 0 || index >= trireme::cuda_on_host::num_devices) return cudaErrorInvalidValue;
  return trireme::cuda_on_host::device_of_thread = index, cudaSuccess;
}
inline cudaError_t cudaGetDevice(int* index) {
  return *index = trireme::cuda_on_host::device_of_thread, cudaSuccess;
}
inline cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  return *least = 0, *greatest = -5, cudaSuccess;
}
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  return *value = attribute == cudaDevAttrComputeCapabilityMajor ? 9 : 0, cudaSuccess;
}
inline cudaError_t cudaDeviceSynchronize() {
  ++trireme::cuda_on_host::counts().waits;
  trireme::cuda_on_host::drain_streams_of_thread();
  return cudaSuccess;
}
struct cudaDeviceProp {
  char name[32] = "the host";
  struct {
    char bytes[16] = "host";
  } uuid;
  int major = 9, minor = 0;
  size_t totalGlobalMem = size_t{4} << 30;
};
inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  return *properties = {}, cudaSuccess;
}

inline cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned, int) {
  return *stream = new trireme::cuda_on_host::Stream, cudaSuccess;
}
inline cudaError_t cudaStreamDestroy(cudaStream_t stream) { return delete stream, cudaSuccess; }
inline cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  ++trireme::cuda_on_host::counts().waits;
  if (stream == nullptr) return cudaSuccess;
  if (stream->part().capture) return cudaErrorStreamCaptureUnsupported;
  return stream->drain(), cudaSuccess;
}
inline cudaError_t cudaStreamQuery(cudaStream_t stream) {
  if (stream->part().capture) return cudaErrorStreamCaptureUnsupported;
  return stream->mark().is_done() ? cudaSuccess : cudaErrorNotReady;
}
inline cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  return event->make_wait(*stream) ? cudaSuccess : cudaErrorStreamCaptureIsolation;
}
inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  return *event = new trireme::cuda_on_host::Event(flags != cudaEventDisableTiming), cudaSuccess;
}
inline cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return event->record(stream), cudaSuccess;
}
inline cudaError_t cudaEventQuery(cudaEvent_t event) {
  if (event->is_captured()) return cudaErrorCapturedEvent;
  return event->mark().is_done() ? cudaSuccess : cudaErrorNotReady;
}
inline cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  ++trireme::cuda_on_host::counts().event_waits;
  if (event->is_captured()) return cudaErrorCapturedEvent;
  return event->mark().wait(), cudaSuccess;
}
inline cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t begin, cudaEvent_t end) {
  for (const cudaEvent_t event : {begin, end}) {
    if (!event->is_timed()) return cudaErrorInvalidResourceHandle;
    if (event->is_captured()) return cudaErrorCapturedEvent;
    if (!event->mark().is_done()) return cudaErrorNotReady;
  }
  *ms = std::chrono::duration<float, std::milli>(end->time() - begin->time()).count();
  return cudaSuccess;
}
inline cudaError_t cudaEventDestroy(cudaEvent_t event) { return delete event, cudaSuccess; }

inline cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  *pointer = trireme::cuda_on_host::allocate_device_memory(bytes);
  return *pointer != nullptr ? cudaSuccess : cudaErrorMemoryAllocation;
}
inline cudaError_t cudaFree(void* pointer) {
  trireme::cuda_on_host::drain_streams_of_thread();  // as CUDA does
  trireme::cuda_on_host::free_device_memory(pointer);
  return cudaSuccess;
}
inline cudaError_t cudaHostAlloc(void** pointer, size_t bytes, unsigned) {
  *pointer = trireme::cuda_on_host::allocate_pinned_memory(bytes);
  return *pointer != nullptr ? cudaSuccess : cudaErrorMemoryAllocation;
}
inline cudaError_t cudaFreeHost(void* pointer) {
  return trireme::cuda_on_host::free_pinned_memory(pointer), cudaSuccess;
}

/// Whether the memory is where the kind says.
inline bool fits_kind(const void* to, const void* from, cudaMemcpyKind kind) {
  using trireme::cuda_on_host::is_device_memory;
  if (kind == cudaMemcpyDefault) return true;
  return is_device_memory(to) == (kind != cudaMemcpyDeviceToHost) &&
         is_device_memory(from) == (kind != cudaMemcpyHostToDevice);
}
/// What the host may have to wait for: neither the device's nor pinned.
inline bool is_pageable(const void* pointer) {
  using namespace trireme::cuda_on_host;
  return !is_device_memory(pointer) && !is_pinned_memory(pointer);
}
/// Work that touches device memory, which lies around the pointers.
inline void run_on(cudaStream_t stream, const void* to, const void* from, std::function<void()> work) {
  const auto with_access = [to, from, work = std::move(work)] {
    const trireme::cuda_on_host::DeviceAccess access({to, from});
    work();
  };
  if (stream == nullptr) return with_access();
  stream->run(with_access);
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                                   cudaStream_t stream) {
  if (!fits_kind(to, from, kind)) return cudaErrorInvalidValue;
  for (const void* pointer : {static_cast<const void*>(to), from}) {
    if (!is_pageable(pointer)) continue;
    if (stream != nullptr && stream->part().capture) return cudaErrorStreamCaptureUnsupported;
    ++trireme::cuda_on_host::counts().waits;
  }
  run_on(stream, to, from, [=] { std::memmove(to, from, bytes); });
  return cudaSuccess;
}
inline cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  return cudaMemcpyAsync(to, from, bytes, kind, nullptr);
}
inline cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch,
                                     size_t width, size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
  if (width > to_pitch || width > from_pitch || !fits_kind(to, from, kind)) return cudaErrorInvalidValue;
  run_on(stream, to, from, [=] {
    for (size_t row = 0; row < height; ++row) {
      std::memcpy(static_cast<std::byte*>(to) + row * to_pitch,
                  static_cast<const std::byte*>(from) + row * from_pitch, width);
    }
  });
  return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  if (!trireme::cuda_on_host::is_device_memory(to)) return cudaErrorInvalidValue;
  run_on(stream, to, to, [=] { std::memset(to, value, bytes); });
  return cudaSuccess;
}

// Graphs.
using cudaGraph_t = std::shared_ptr<trireme::cuda_on_host::Capture>*;
using cudaGraphExec_t = trireme::cuda_on_host::RunnableGraph*;
enum cudaStreamCaptureMode {
  cudaStreamCaptureModeGlobal,
  cudaStreamCaptureModeThreadLocal,
  cudaStreamCaptureModeRelaxed
};

inline cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (stream == nullptr || stream->part().capture) return cudaErrorInvalidValue;
  auto capture = std::make_shared<trireme::cuda_on_host::Capture>();
  const size_t own = capture->join(*stream);
  return stream->take_part({std::move(capture), own}), cudaSuccess;
}
enum cudaStreamCaptureStatus { cudaStreamCaptureStatusNone, cudaStreamCaptureStatusActive };
inline cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  *status = stream->part().capture ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
inline cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const auto part = stream->part();
  if (!part.capture || part.stream != 0) return cudaErrorInvalidValue;
  if (!part.capture->end()) return *graph = nullptr, cudaErrorStreamCaptureUnjoined;
  return *graph = new std::shared_ptr(part.capture), cudaSuccess;
}
inline cudaError_t cudaGraphInstantiate(cudaGraphExec_t* runnable, cudaGraph_t graph, unsigned long long) {
  return *runnable = new trireme::cuda_on_host::RunnableGraph(*graph), cudaSuccess;
}
inline cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
  return graph->launch(*stream), cudaSuccess;
}
inline cudaError_t cudaGraphDestroy(cudaGraph_t graph) { return delete graph, cudaSuccess; }
inline cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) { return delete graph, cudaSuccess; }

struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
  void* attrs = nullptr;
  unsigned numAttrs = 0;
};

template <class... Parameters>
cudaError_t cudaFuncSetAttribute(void (*kernel)(Parameters...), cudaFuncAttribute, int value) {
  return trireme::cuda_on_host::allow_shared_memory(reinterpret_cast<const void*>(kernel), value)
             ? cudaSuccess
             : cudaErrorInvalidValue;
}

template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  bool is_accepted = true;  // known at once where nothing is captured
  const auto run = [config = *config, kernel, values = std::tuple<Parameters...>(arguments...)] {
    const auto thread = [&] { std::apply(kernel, values); };
    return trireme::cuda_on_host::run_grid(reinterpret_cast<const void*>(kernel), config.gridDim,
                                           config.blockDim, config.dynamicSmemBytes, thread);
  };
  if (config->stream == nullptr) return run() ? cudaSuccess : cudaErrorInvalidValue;
  if (config->stream->part().capture) {
    config->stream->run([run] { TRIREME_CHECK(run(), "a captured launch has sizes that CUDA refuses"); });
  } else {
    config->stream->run([&] { is_accepted = run(); });
  }
  return is_accepted ? cudaSuccess : cudaErrorInvalidValue;
}
