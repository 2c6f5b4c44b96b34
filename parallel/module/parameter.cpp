#include "parallel/module/parameter.h"

#include "runtime/base/error.h"

namespace trireme {

Parameter Parameter::whole(std::string name, const Shape& shape, float init_mean, float init_std) {
  return part_of(std::move(name), shape, 0, {0, shape[0]}, init_mean, init_std);
}

Parameter Parameter::part_of(std::string name, const Shape& shape, int dim, Part part, float init_mean,
                             float init_std) {
  std::vector<int64_t> offset(static_cast<size_t>(shape.rank()), 0);
  std::vector<int64_t> extent(shape.dims().begin(), shape.dims().end());
  offset[static_cast<size_t>(dim)] = part.begin;
  extent[static_cast<size_t>(dim)] = part.size();
  Parameter p;
  p.name = std::move(name);
  p.global_shape = shape;
  p.offset = Shape(offset);
  p.shape = Shape(extent);
  p.init_mean = init_mean;
  p.init_std = init_std;
  return p;
}

Shape ParameterBlock::shape() const {
  int64_t rows = 0;
  for (const Parameter& p : members) {
    TRIREME_CHECK(p.shape.rank() == members.front().shape.rank(), "{}", p.name);
    TRIREME_CHECK(p.shape.rank() == 1 || p.shape[1] == members.front().shape[1], "{} has {} columns", p.name,
                  p.shape[1]);
    rows += p.shape[0];
  }
  return is_matrix() ? Shape{rows, members.front().shape[1]} : Shape{rows};
}

ParameterBlock single(Parameter parameter) {
  ParameterBlock block;
  block.members.push_back(std::move(parameter));
  return block;
}

}  // namespace trireme
