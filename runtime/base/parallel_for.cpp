#include "runtime/base/parallel_for.h"

#include "runtime/base/error.h"

namespace trireme {

void prepare_threads(int num_threads) {
  if (num_threads > omp_get_thread_limit()) {
    throw_usage("run.threads {}: OMP_THREAD_LIMIT allows {} here; unset it or ask for fewer", num_threads,
                omp_get_thread_limit());
  }
  omp_set_dynamic(0);
}

}  // namespace trireme
