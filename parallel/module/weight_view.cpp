#include "parallel/module/weight_view.h"

namespace trireme {

int64_t PackedBlock::num_outputs() const {
  int64_t rows = 0;
  for (const ops::PackedWeight& part : parts) rows += part.rows();
  return rows;
}

}  // namespace trireme
