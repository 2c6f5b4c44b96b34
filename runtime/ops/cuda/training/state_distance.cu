// A block works on a row of states.
#include "runtime/ops/training/state_distance.h"

#include "runtime/ops/cuda/pack.cuh"
#include "runtime/ops/cuda/reduce.cuh"

namespace trireme::ops::cuda {

namespace {

constexpr int kMostThreads = 256;

template <class T, class Teacher>
__global__ void __launch_bounds__(kMostThreads)
    state_distance_kernel(const T* states, const Teacher* teacher, const int32_t* targets,
                          const float* weights, int64_t rows, int64_t width, StateDistanceOptions options,
                          float* added, T* dstates) {
  auto* scratch = shared_memory<double>();
  for (int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
    const float weight = weights == nullptr ? 1.0f : weights[r];
    if (targets[r] == kIgnoredTarget || weight == 0) {
      if (threadIdx.x == 0) added[r] = 0;
      continue;
    }
    const T* x = states + r * width;
    const Teacher* t = teacher + r * width;
    double squares = 0, teacher_squares = 0, products = 0;
    for (int64_t i = threadIdx.x; i < width; i += blockDim.x) {
      const double a = double{widen(x[i])}, b = double{widen(t[i])};
      squares += a * a;
      teacher_squares += b * b;
      products += a * b;
    }
    squares = block_reduce(squares, Sum{}, scratch) / static_cast<double>(width);
    teacher_squares = block_reduce(teacher_squares, Sum{}, scratch) / static_cast<double>(width);
    products = block_reduce(products, Sum{}, scratch) / static_cast<double>(width);
    const StateDistance d =
        state_distance_of(double{options.coefficient} * double{weight}, sqrt(squares + kStateEpsilon),
                          sqrt(teacher_squares + kStateEpsilon), products, width);
    if (threadIdx.x == 0) added[r] = static_cast<float>(d.distance);
    if (dstates == nullptr) continue;
    const auto of_teacher = static_cast<float>(double{options.gradient_scale} * d.of_teacher),
               of_states = static_cast<float>(double{options.gradient_scale} * d.of_states);
    T* dx = dstates + r * width;
    for (int64_t i = threadIdx.x; i < width; i += blockDim.x)
      narrow(widen(dx[i]) + (of_teacher * widen(t[i]) + of_states * widen(x[i])), dx[i]);
  }
}

}  // namespace

void state_distance(Context& ctx, const Tensor& states, const Tensor& teacher, const Tensor& targets,
                    const Tensor& weights, const StateDistanceOptions& options, const Tensor& added,
                    const Tensor& dstates) {
  with_compute_type(states.dtype(), [&]<class T>(T) {
    with_compute_type(teacher.dtype(), [&]<class Teacher>(Teacher) {
      launch(ctx, state_distance_kernel<T, Teacher>, num_blocks(states.dim(0)),
             row_threads(states.dim(1), kMostThreads), kMostThreads / kWarp * sizeof(double),
             states.data<T>(), teacher.data<Teacher>(), targets.data<int32_t>(), data_or_null<float>(weights),
             states.dim(0), states.dim(1), options, added.data<float>(), data_or_null<T>(dstates));
    });
  });
}

}  // namespace trireme::ops::cuda
