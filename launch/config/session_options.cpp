#include "launch/config/session_options.h"

#include "launch/config/optimizer_choice.h"

namespace trireme::launch {

SessionOptions session_options(const RunConfig& c) {
  SessionOptions options;
  options.max_seq_len = c.train.seq_len;
  options.precision = c.train.precision;
  options.master = c.train.master;
  options.rules = optimizer_rules(c.optimizer);
  options.recomputation = c.train.recomputation;
  options.float8 = c.train.float8;
  options.quantizes = c.qat.start_step == 0;
  options.seed = c.train.seed;
  options.weights = c.start.file;
  options.upcycle = c.start.upcycle;
  options.loss = c.loss;
  options.exits = c.exit;
  options.step.adamw = {c.optimizer.beta1, c.optimizer.beta2, c.optimizer.eps, c.optimizer.weight_decay,
                        c.train.seed};
  options.step.muon = {.lr_ratio = c.optimizer.lr > 0 ? muon_lr(c.optimizer) / c.optimizer.lr : 1,
                       .momentum = c.optimizer.muon_momentum,
                       .nesterov = c.optimizer.muon_nesterov,
                       .ns_steps = c.optimizer.muon_ns_steps,
                       .ns_dtype = muon_precision(c),
                       .weight_decay = c.optimizer.weight_decay,
                       .seed = c.train.seed};
  options.step.clip = c.optimizer.clip;
  options.step.check = c.train.check;
  options.step.prune = c.prune;
  options.step.seed = c.train.seed;
  options.step.use_graph = c.run.cuda_graph;
  return options;
}

}  // namespace trireme::launch
