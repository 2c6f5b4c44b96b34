#include "launch/config/step_options.h"

namespace trireme {

TrainingStepOptions step_options(const RunConfig& c) {
  TrainingStepOptions options;
  options.adamw = {c.optimizer.beta1, c.optimizer.beta2, c.optimizer.eps, c.optimizer.weight_decay,
                   c.train.seed};
  options.clip = c.optimizer.clip;
  options.bucket_bytes = static_cast<int64_t>(c.parallel.bucket_mib * (1 << 20));
  options.overlap = c.parallel.overlap;
  options.zero_stage = c.parallel.zero_stage;
  options.gradient_dtype = c.parallel.gradient_dtype;
  options.master = c.train.master;
  options.check = c.train.check;
  options.seed = c.train.seed;
  options.use_graph = c.run.cuda_graph;
  return options;
}

}  // namespace trireme
