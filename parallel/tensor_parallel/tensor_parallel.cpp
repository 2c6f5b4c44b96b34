#include "parallel/tensor_parallel/tensor_parallel.h"

namespace trireme {

Parameter TensorParallel::divided(std::string name, const Shape& shape, int dim, float init_mean,
                                  float init_std) const {
  return Parameter::part_of(std::move(name), shape, dim, part(shape[dim]), init_mean, init_std);
}

Parameter TensorParallel::copied(std::string name, const Shape& shape, float init_mean, float init_std,
                                 bool sees_own_rows) const {
  Parameter p = Parameter::whole(std::move(name), shape, init_mean, init_std);
  p.num_copies = size();
  p.is_gradient_partial = sees_own_rows && sequence_;
  return p;
}

bool TensorParallel::divides_rows(const MicroBatch& mb) const {
  if (!sequence_) return false;
  const bool divides = mb.rows() % size() == 0;
  TRIREME_CHECK(divides || !mb.training, "{} rows do not divide by {} tensor ranks", mb.rows(), size());
  return divides;
}

Tensor TensorParallel::gather(Context& ctx, const Tensor& x, bool divided) const {
  if (!divided) return x;
  const Tensor all = Tensor::empty(ctx, {x.dim(0) * size(), x.dim(1)}, x.dtype());
  group_->all_gather(ctx.stream(), x, all);
  return all;
}

Tensor TensorParallel::reduce(Context& ctx, const Tensor& y, bool divided) const {
  if (!divided) {
    group_->all_reduce(ctx.stream(), y);
    return y;
  }
  const Tensor own = Tensor::empty(ctx, {y.dim(0) / size(), y.dim(1)}, y.dtype());
  group_->reduce_scatter(ctx.stream(), y, own);
  return own;
}

}  // namespace trireme
