// The run that tests of verify begin with.
#pragma once

#include "launch/config/run_config.h"

namespace trireme::test {

/// A GPT-2 of `layers` blocks that trains in milliseconds: four samples of 8 tokens a step, three steps.
inline launch::RunConfig tiny_run(const ParallelPlan& plan, int64_t layers = 3) {
  launch::RunConfig config;
  config.model.vocab_size = 37;
  config.model.num_layers = layers;
  config.model.hidden_size = 24;
  config.model.num_heads = config.model.num_kv_heads = 4;
  config.model.ffn_size = 40;
  config.model.max_positions = 8;
  config.train.seq_len = 8;
  config.train.micro_batch = 1;
  config.train.global_batch = 4;
  config.train.steps = 3;
  config.run.threads = 1;
  config.parallel = plan;
  return config;
}

}  // namespace trireme::test
