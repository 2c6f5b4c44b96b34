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
  std::vector<int64_t> dims(members.front().shape.dims().begin(), members.front().shape.dims().end());
  dims.front() = rows;
  return Shape(dims);
}

ParameterBlock scales_of(const ParameterBlock& matrices, int64_t group) {
  ParameterBlock block;
  for (const Parameter& matrix : matrices.members) {
    const int64_t inputs = group == 0 ? matrix.global_shape[1] : group;
    TRIREME_CHECK(matrix.offset[1] % inputs == 0 && matrix.shape[1] % inputs == 0, "{}: groups of {}",
                  matrix.name, group);
    Parameter& scales = block.members.emplace_back(matrix);
    scales.name += "_scale";
    scales.global_shape = {matrix.global_shape[0], matrix.global_shape[1] / inputs, 1};
    scales.offset = {matrix.offset[0], matrix.offset[1] / inputs, 0};
    scales.shape = {matrix.shape[0], matrix.shape[1] / inputs, 1};
    scales.init_mean = kUnmeasuredScale;
    scales.init_std = 0;
    scales.is_scale = true;
  }
  return block;
}

ParameterBlock single(Parameter parameter) {
  ParameterBlock block;
  block.members.push_back(std::move(parameter));
  return block;
}

}  // namespace trireme
