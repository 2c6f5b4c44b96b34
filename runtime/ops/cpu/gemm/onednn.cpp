#include "runtime/ops/cpu/gemm/onednn.h"

#include <list>
#include <map>
#include <string_view>
#include <unordered_map>

#include <dnnl_debug.h>
#include <omp.h>
#include <dnnl.hpp>

#include "runtime/base/error.h"

namespace trireme::ops::cpu::onednn {

namespace {

dnnl::memory::data_type data_type(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return dnnl::memory::data_type::f32;
    case DType::bf16:
      return dnnl::memory::data_type::bf16;
    case DType::f16:
      return dnnl::memory::data_type::f16;
    default:
      TRIREME_CHECK(false, "matmul of {}", to_string(dtype));
  }
}

dnnl::memory::desc matrix(int64_t rows, int64_t columns, DType dtype, bool transposed, int64_t stride) {
  const dnnl::memory::dims strides =
      transposed ? dnnl::memory::dims{1, stride} : dnnl::memory::dims{stride, 1};
  return {{rows, columns}, data_type(dtype), strides};
}

// A primitive with the memory objects of its arguments; a call only sets their pointers.
class Matmul {
 public:
  Matmul() = default;
  Matmul(const dnnl::engine& engine, const MatmulProblem& p) {
    const dnnl::memory::desc bias_desc({1, p.n}, data_type(DType::f32), dnnl::memory::dims{p.n, 1});
    // oneDNN's output scale would multiply its own bias as well; added afterwards, the bias stays as it is.
    const bool bias_after_scale = p.has_bias && p.alpha != 1.0f;
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    if (p.alpha != 1.0f) attributes.set_output_scales(0, {p.alpha});
    dnnl::post_ops post;
    if (bias_after_scale) post.append_binary(dnnl::algorithm::binary_add, bias_desc);
    if (p.accumulate) post.append_sum(1.0f);
    attributes.set_post_ops(post);

    const auto a = matrix(p.m, p.k, p.in, p.transpose_a, p.stride_a);
    const auto plain_b = matrix(p.k, p.n, p.in, p.transpose_b, p.stride_b);
    const auto b =
        p.packed_b ? dnnl::memory::desc({p.k, p.n}, data_type(p.in), dnnl::memory::format_tag::any) : plain_b;
    const auto c = matrix(p.m, p.n, p.out, false, p.stride_c);
    const bool own_bias = p.has_bias && !bias_after_scale;
    const dnnl::matmul::primitive_desc desc(
        own_bias ? dnnl::matmul::desc(a, b, bias_desc, c) : dnnl::matmul::desc(a, b, c), attributes, engine);
    // oneDNN's reference code in a half type is far slower than widening to fp32.
    if (p.in != DType::f32 && std::string_view(desc.impl_info_str()).starts_with("ref")) return;
    primitive_ = dnnl::matmul(desc);
    scratch_bytes_ = desc.scratchpad_desc().get_size();
    const auto add = [&](int argument, const dnnl::memory::desc& memory) {
      arguments_.emplace(argument, dnnl::memory(memory, engine, DNNL_MEMORY_NONE));
    };
    add(DNNL_ARG_SRC, a);
    add(DNNL_ARG_WEIGHTS, desc.weights_desc());
    add(DNNL_ARG_DST, c);
    add(DNNL_ARG_SCRATCHPAD, desc.scratchpad_desc());
    bias_argument_ = own_bias ? DNNL_ARG_BIAS : DNNL_ARG_ATTR_MULTIPLE_POST_OP(0) | DNNL_ARG_SRC_1;
    if (p.has_bias) add(bias_argument_, bias_desc);
    if (!p.packed_b) return;
    packed_bytes_ = desc.weights_desc().get_size();
    pack_ = dnnl::reorder({engine, plain_b, engine, desc.weights_desc()});
    plain_b_ = dnnl::memory(plain_b, engine, DNNL_MEMORY_NONE);
  }

  size_t packed_bytes() const { return packed_bytes_; }

  void pack(dnnl::stream& stream, const void* b, void* packed) {
    plain_b_.set_data_handle(const_cast<void*>(b));
    set(DNNL_ARG_WEIGHTS, packed);
    pack_.execute(stream, plain_b_, arguments_.at(DNNL_ARG_WEIGHTS));
    stream.wait();
  }

  explicit operator bool() const { return static_cast<bool>(primitive_); }

  void execute(Context& ctx, dnnl::stream& stream, const void* a, const void* b, const float* bias, void* c) {
    const auto scratch =
        scratch_bytes_ == 0 ? nullptr : ctx.allocator().allocate(scratch_bytes_, MemoryCategory::buffers);
    set(DNNL_ARG_SRC, a);
    set(DNNL_ARG_WEIGHTS, b);
    set(DNNL_ARG_DST, c);
    set(DNNL_ARG_SCRATCHPAD, scratch.get());
    if (bias != nullptr) set(bias_argument_, bias);
    primitive_.execute(stream, arguments_);
    stream.wait();
  }

 private:
  void set(int argument, const void* pointer) {
    arguments_.at(argument).set_data_handle(const_cast<void*>(pointer));
  }

  dnnl::primitive primitive_;
  dnnl::reorder pack_;  // with packed_b
  dnnl::memory plain_b_;
  size_t packed_bytes_ = 0;
  size_t scratch_bytes_ = 0;
  int bias_argument_ = 0;
  std::unordered_map<int, dnnl::memory> arguments_;
};

// Describing a product to oneDNN costs tens of microseconds, as much as a small product itself, although
// oneDNN keeps the generated code. So the last problems stay described; a training step has a few dozen.
class MatmulCache {
 public:
  Matmul& find(const MatmulProblem& problem) {
    if (const auto hit = entries_.find(problem); hit != entries_.end()) {
      order_.splice(order_.begin(), order_, hit->second);
      return order_.front().second;
    }
    order_.emplace_front(problem, make(problem));
    entries_.emplace(problem, order_.begin());
    if (order_.size() > kCapacity) {
      entries_.erase(order_.back().first);
      order_.pop_back();
    }
    return order_.front().second;
  }

  dnnl::stream& stream() { return stream_; }

 private:
  static constexpr size_t kCapacity = 256;
  using Order = std::list<std::pair<MatmulProblem, Matmul>>;

  // oneDNN fixes the number of threads when the primitive is made.
  Matmul make(const MatmulProblem& problem) {
    const ThreadCount one(1);
    try {
      return Matmul(engine_, problem);
    } catch (const dnnl::error& e) {
      if (e.status == dnnl_unimplemented && problem.in != DType::f32) return Matmul();
      throw;
    }
  }

  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream_{engine_};
  Order order_;  // the last used first
  std::map<MatmulProblem, Order::iterator> entries_;
};

// One cache a thread: the memory objects of an entry belong to the call that runs, and ranks may be threads.
MatmulCache& this_threads_cache() {
  thread_local MatmulCache cache;
  return cache;
}

[[noreturn]] void throw_failed(const MatmulProblem& problem, const dnnl::error& e) {
  throw_environment("oneDNN cannot multiply [{}, {}] by [{}, {}] of {}: {}", problem.m, problem.k, problem.k,
                    problem.n, to_string(problem.in), e.what());
}

}  // namespace

bool can_multiply(const MatmulProblem& problem) try {
  return static_cast<bool>(this_threads_cache().find(problem));
} catch (const dnnl::error& e) {
  throw_failed(problem, e);
}

void matmul(Context& ctx, const MatmulProblem& problem, const void* a, const void* b, const float* bias,
            void* c) try {
  const ThreadCount one(1);
  MatmulCache& cache = this_threads_cache();
  Matmul& found = cache.find(problem);
  TRIREME_CHECK(found, "oneDNN has no product of {}", to_string(problem.in));
  found.execute(ctx, cache.stream(), a, b, bias, c);
} catch (const dnnl::error& e) {
  throw_failed(problem, e);
}

size_t packed_b_bytes(const MatmulProblem& problem) try {
  return this_threads_cache().find(problem).packed_bytes();
} catch (const dnnl::error& e) {
  throw_failed(problem, e);
}

void pack_b(const MatmulProblem& problem, const void* b, void* packed) try {
  const ThreadCount one(1);
  MatmulCache& cache = this_threads_cache();
  cache.find(problem).pack(cache.stream(), b, packed);
} catch (const dnnl::error& e) {
  throw_failed(problem, e);
}

bool has_matmul(DType dtype) {
  return can_multiply({.m = 64,
                       .n = 64,
                       .k = 64,
                       .stride_a = 64,
                       .stride_b = 64,
                       .stride_c = 64,
                       .in = dtype,
                       .out = DType::f32,
                       .transpose_b = true});
}

void sgemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, float alpha, const float* a,
           int64_t stride_a, const float* b, int64_t stride_b, float beta, float* c, int64_t stride_c) {
  const auto status = dnnl_sgemm(transpose_a ? 'T' : 'N', transpose_b ? 'T' : 'N', m, n, k, alpha, a,
                                 stride_a, b, stride_b, beta, c, stride_c);
  if (status != dnnl_success) {
    throw_environment("oneDNN's sgemm of [{}, {}] by [{}, {}] fails: {}", m, k, k, n,
                      dnnl_status2str(status));
  }
}

int ThreadCount::current() { return omp_get_max_threads(); }

ThreadCount::ThreadCount(int n) : before_(current()) {
  if (n != before_) omp_set_num_threads(n);
}
ThreadCount::~ThreadCount() {
  if (before_ != current()) omp_set_num_threads(before_);
}

}  // namespace trireme::ops::cpu::onednn
