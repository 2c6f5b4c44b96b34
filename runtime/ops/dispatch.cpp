#include "runtime/ops/dispatch.h"

namespace trireme::ops {

void expect_shape(const char* op, const char* argument, const Tensor& t, const Shape& shape) {
  TRIREME_CHECK(t, "{}: {} is undefined", op, argument);
  TRIREME_CHECK(t.shape() == shape, "{}: {} is {}, expected {}", op, argument, to_string(t.shape()),
                to_string(shape));
}

void expect_dtype(const char* op, const char* argument, const Tensor& t, DType dtype) {
  TRIREME_CHECK(t, "{}: {} is undefined", op, argument);
  TRIREME_CHECK(t.dtype() == dtype, "{}: {} is {}, expected {}", op, argument, to_string(t.dtype()),
                to_string(dtype));
}

void expect_compute_type(const char* op, const char* argument, const Tensor& t) {
  TRIREME_CHECK(t, "{}: {} is undefined", op, argument);
  TRIREME_CHECK(is_compute_type(t.dtype()), "{}: {} is {}, expected f32, bf16 or f16", op, argument,
                to_string(t.dtype()));
}

void expect_on_device(const char* op, Device device, const Tensor& t) {
  TRIREME_CHECK(!t || t.device() == device, "{}: a tensor lies on {}, the context's device is {}", op,
                to_string(t.device()), to_string(device));
}

void expect_matrix(const char* op, const char* argument, const Columns& c) {
  TRIREME_CHECK(c && c.matrix.shape().rank() == 2, "{}: {} is {}, expected a matrix", op, argument,
                c ? to_string(c.matrix.shape()) : "undefined");
  TRIREME_CHECK(c.begin >= 0 && c.count >= 0 && c.begin + c.count <= c.stride(),
                "{}: {} reaches column {} of {}", op, argument, c.begin + c.count, c.stride());
}

void expect_columns(const char* op, const char* argument, const Columns& c, int64_t rows, int64_t count) {
  expect_matrix(op, argument, c);
  TRIREME_CHECK(c.rows() == rows && c.count == count, "{}: {} has {} rows and {} columns, expected {} and {}",
                op, argument, c.rows(), c.count, rows, count);
}

}  // namespace trireme::ops
