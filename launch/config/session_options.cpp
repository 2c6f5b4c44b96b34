#include "launch/config/session_options.h"

namespace trireme {

SessionOptions session_options(const RunConfig& c) {
  SessionOptions options;
  options.max_seq_len = c.train.seq_len;
  options.precision = c.train.precision;
  options.master = c.train.master;
  options.recomputation = c.train.recomputation;
  options.float8 = c.train.float8;
  options.seed = c.train.seed;
  options.weights = c.start.file;
  options.upcycle = c.start.upcycle;
  options.step.adamw = {c.optimizer.beta1, c.optimizer.beta2, c.optimizer.eps, c.optimizer.weight_decay,
                        c.train.seed};
  options.step.clip = c.optimizer.clip;
  options.step.check = c.train.check;
  options.step.seed = c.train.seed;
  options.step.use_graph = c.run.cuda_graph;
  return options;
}

}  // namespace trireme
