// What people are told of predicted memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/report/banner.h"
#include "models/families/family.h"
#include "models/families/presets.h"

namespace trireme::launch {
namespace {

using testing::HasSubstr;
using testing::Not;

MemoryInputs mixture() {
  MemoryInputs in;
  apply_family(in.model, ModelFamily::llama);
  in.model.vocab_size = 512;
  in.model.num_layers = 2;
  in.model.hidden_size = 256;
  in.model.num_heads = in.model.num_kv_heads = 4;
  in.model.ffn_size = 512;
  in.model.moe.num_experts = 8;
  in.micro_batch = 4;
  in.seq_len = 256;
  in.plan.data = 4;
  in.plan.expert = 4;
  return in;
}

TEST(PredictedMemory, SaysTheMostOfAnUnevenLoadWhereItIsMore) {
  MemoryInputs in = mixture();
  EXPECT_THAT(predicted_memory_line(in), HasSubstr("; up to "));
  EXPECT_THAT(predicted_memory_line(in), HasSubstr(memory_line(estimate_memory(in)))) << "beside the usual";
  in.model.moe.capacity = CapacityMode::pad;
  EXPECT_THAT(predicted_memory_line(in), Not(HasSubstr("up to"))) << "filled up, all are alike";
  in = mixture();
  in.plan.expert = 1;
  EXPECT_THAT(predicted_memory_line(in), Not(HasSubstr("up to"))) << "all experts are here";
  in.model.moe.num_experts = 0;
  EXPECT_THAT(predicted_memory_line(in), Not(HasSubstr("up to")));
}

}  // namespace
}  // namespace trireme::launch
