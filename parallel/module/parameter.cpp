#include "parallel/module/parameter.h"

#include "runtime/base/error.h"

namespace trireme {

Parameter Parameter::whole(std::string name, const Shape& shape, float init_mean, float init_std) {
  const std::vector<int64_t> zeros(static_cast<size_t>(shape.rank()), 0);
  return {std::move(name), shape, Shape(zeros), shape, init_mean, init_std};
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

ParameterBlock single(std::string name, const Shape& shape, float init_mean, float init_std) {
  ParameterBlock block;
  block.members.push_back(Parameter::whole(std::move(name), shape, init_mean, init_std));
  return block;
}

}  // namespace trireme
