// What is asked of cuDNN, and what becomes of its answers: the decisions alone, and ops over a stand-in.
#include "tests/support/cuda_on_host/attention_library.h"

#include <cmath>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/support/tensors.h"
#include "tests/support/test_device.h"

namespace trireme::test {
namespace {

using cuda_on_host::cudnn;
using ops::AttentionShape;
using ops::cuda::AttentionAnswer;
using ops::cuda::AttentionLibrary;
using ops::cuda::AttentionPlan;
using ops::cuda::AttentionPlans;
using ops::cuda::AttentionProblem;

constexpr int64_t kMib = 1 << 20;
const AttentionShape kShape{1, 256, 256, 2, 1, 64, 0.125f, true};

AttentionProblem backward_of(const AttentionShape& shape, bool is_deterministic = true) {
  return {shape, DType::bf16, true, is_deterministic, 128, 64, 64, 128, 64, 64};
}

/// Answers as it is told, and counts.
struct Library final : AttentionLibrary {
  struct Plan final : AttentionPlan {
    explicit Plan(int64_t size) : bytes(size) {}
    int64_t workspace_bytes() const override { return bytes; }
    void run(const ops::cuda::AttentionPointers&, void*) const override {}
    int64_t bytes;
  };

  Library(int& times_asked, int64_t bytes, std::string words = "")
      : asked(times_asked), workspace(bytes), why(words) {}
  AttentionAnswer plan(const AttentionProblem&) override {
    ++asked;
    return why.empty() ? AttentionAnswer{std::make_unique<Plan>(workspace), ""}
                       : AttentionAnswer{nullptr, why};
  }
  int& asked;
  int64_t workspace;
  std::string why;
};

OpSettings settings_of(AttentionChoice choice, int64_t workspace = 256 * kMib) {
  return {.attention = choice, .attention_workspace = workspace};
}

TEST(AttentionPlans, WorkspaceBeyondTheLimitIsLeftToOwnKernelsAndRemembered) {
  int asked = 0;
  AttentionPlans exact(settings_of(AttentionChoice::automatic, 3 * kMib),
                       std::make_unique<Library>(asked, 3 * kMib));
  const AttentionPlan* plan = exact.find(backward_of(kShape), true);
  ASSERT_NE(plan, nullptr);
  EXPECT_EQ(plan->workspace_bytes(), 3 * kMib);
  EXPECT_EQ(exact.find(backward_of(kShape), true), plan);
  EXPECT_EQ(asked, 1);
  AttentionPlans less(settings_of(AttentionChoice::automatic, 3 * kMib - 1),
                      std::make_unique<Library>(asked, 3 * kMib));
  EXPECT_EQ(less.find(backward_of(kShape), true), nullptr);
  EXPECT_EQ(less.find(backward_of(kShape), true), nullptr);
  EXPECT_EQ(asked, 2);
}

TEST(AttentionPlans, CudnnAloneIsAnErrorWithItsReason) {
  int asked = 0;
  AttentionPlans plans(settings_of(AttentionChoice::cudnn, 2 * kMib),
                       std::make_unique<Library>(asked, 3 * kMib));
  const auto refused = [&](const AttentionProblem& problem, std::initializer_list<std::string_view> parts,
                           bool is_aligned = true) {
    expect_error(ExitCode::usage, parts, [&] { plans.find(problem, is_aligned); });
  };
  refused(
      backward_of(kShape),
      {"run.attention cudnn", "the backward pass of batch 1, 2/1 heads of 64, 256 queries", "3.0 MiB",
       "run.attention-workspace-mib allows 2.0; --run.deterministic off needs less", "--run.attention auto"});
  refused(backward_of(kShape), {"3.0 MiB"});
  EXPECT_EQ(asked, 1);
  refused(backward_of(kShape), {"multiples of 16 bytes"}, false);
  AttentionShape other = kShape;
  other.q_len = 128;
  refused(backward_of(other), {"as many queries as keys"});
  other = kShape;
  other.head_dim = 136;
  refused(backward_of(other), {"heads of 136", "head sizes 8, 16, ... 128"});
  other = kShape;
  other.window = 16;
  refused(backward_of(other), {"causal, window 16, bf16", "not used with sliding windows"});
  other = kShape;
  other.soft_cap = 50;
  refused(backward_of(other), {"causal, soft cap 50, bf16", "not used with logit soft-capping"});
  std::vector<int32_t> first_keys(256, 0);
  other = kShape;
  other.first_key = Tensor::borrow(first_keys.data(), {1, 256}, DType::i32);
  refused(backward_of(other), {"causal, first keys, bf16", "not used with packed documents"});
  other = kShape;
  other.shift = 256;
  refused(backward_of(other), {"at the positions of the keys"});
  AttentionProblem wide = backward_of(kShape);
  wide.dtype = DType::f32;
  wide.is_backward = false;
  refused(wide, {"the forward pass", "has no fp32"});
  EXPECT_EQ(asked, 1) << "it is not asked for what it is known not to serve";
  other = kShape;
  other.q_len = other.kv_len = 1;
  EXPECT_EQ(plans.find(backward_of(other), true), nullptr) << "texts begin with one token";
}

TEST(AttentionPlans, TheLibrarysWordsAreKept) {
  int asked = 0;
  const std::string why = "no kernel for this device";
  AttentionPlans forced(settings_of(AttentionChoice::cudnn), std::make_unique<Library>(asked, 0, why)),
      any(settings_of(AttentionChoice::automatic), std::make_unique<Library>(asked, 0, why));
  for (int i = 0; i < 2; ++i) {
    expect_error(ExitCode::usage, {why}, [&] { forced.find(backward_of(kShape), true); });
    EXPECT_EQ(any.find(backward_of(kShape), true), nullptr);
  }
  EXPECT_EQ(asked, 2);
  AttentionPlans missing(settings_of(AttentionChoice::cudnn), nullptr);
  expect_error(ExitCode::usage, {"built without"}, [&] { missing.find(backward_of(kShape), true); });
  EXPECT_EQ(AttentionPlans(settings_of(AttentionChoice::automatic), nullptr).find(backward_of(kShape), true),
            nullptr);
  AttentionPlans own(settings_of(AttentionChoice::own), std::make_unique<Library>(asked, 0));
  EXPECT_EQ(own.find(backward_of(kShape), true), nullptr);
  EXPECT_EQ(asked, 2);
}

TEST(AttentionPlans, WhatDiffersInAnyWayIsAnotherProblem) {
  int asked = 0;
  AttentionPlans plans(settings_of(AttentionChoice::automatic), std::make_unique<Library>(asked, 0));
  std::vector<AttentionProblem> problems(16, backward_of(kShape));
  problems[1].is_deterministic = false;
  problems[2].is_backward = false;
  problems[3].dtype = DType::f16;
  problems[4].shape.batch = 2;
  problems[5].shape.q_len = problems[5].shape.kv_len = 512;
  problems[6].shape.num_heads = 4;
  problems[7].shape.num_kv_heads = 2;
  problems[8].shape.head_dim = 32;
  problems[9].shape.scale = 1;
  problems[10].shape.causal = false;
  problems[11].q_stride = problems[12].k_stride = problems[13].v_stride = 256;
  problems[14].dq_stride = problems[15].dk_stride = 256;
  problems.push_back(backward_of(kShape));
  problems.back().dv_stride = 256;
  for (int round = 0; round < 2; ++round) {
    std::set<const AttentionPlan*> found;
    for (const AttentionProblem& problem : problems) found.insert(plans.find(problem, true));
    EXPECT_EQ(found.size(), problems.size());
    EXPECT_EQ(asked, problems.size());
  }
}

/// For its lifetime this thread has a stand-in for cuDNN.
class WithCudnn : public testing::Test {
 protected:
  WithCudnn() {
    cudnn() = {};
    cudnn().is_built = true;
  }
  ~WithCudnn() override { cudnn() = before_; }

 private:
  const cuda_on_host::Cudnn before_ = cudnn();
};

using AttentionByCudnn = WithCudnn;

/// Output and gradients of both passes; the latter in a workspace that the context's memory has.
std::vector<std::vector<float>> both_passes(const OpSettings& settings, const AttentionShape& s) {
  Context ctx(test_device(), 1, settings);
  const int64_t rows = s.batch * s.q_len, q = s.num_heads * s.head_dim, kv = s.num_kv_heads * s.head_dim;
  const Tensor qkv = random_tensor(ctx, {rows, q + 2 * kv}, DType::bf16, 1),
               dout = random_tensor(ctx, {rows, q}, DType::bf16, 2);
  const Tensor out = Tensor::empty(ctx, {rows, q}, DType::bf16),
               dqkv = Tensor::empty(ctx, qkv.shape(), DType::bf16),
               lse = Tensor::empty(ctx, {s.batch, s.num_heads, s.q_len}, DType::f32);
  const auto part = [&](const Tensor& t, int64_t begin, int64_t count) {
    return ops::Columns(t, begin, count);
  };
  ops::attention(ctx, s, part(qkv, 0, q), part(qkv, q, kv), part(qkv, q + kv, kv), out, lse);
  ctx.allocator().reset_peaks();
  cudnn().last_workspace = 0;
  ops::attention_backward(ctx, s, part(qkv, 0, q), part(qkv, q, kv), part(qkv, q + kv, kv), out, lse, dout,
                          part(dqkv, 0, q), part(dqkv, q, kv), part(dqkv, q + kv, kv));
  EXPECT_GE(ctx.allocator().stats().by_category[static_cast<size_t>(MemoryCategory::buffers)].peak,
            cudnn().last_workspace);
  return {to_vector(out), to_vector(dqkv)};
}

void expect_near(const std::vector<std::vector<float>>& a, const std::vector<std::vector<float>>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t t = 0; t < a.size(); ++t) {
    ASSERT_EQ(a[t].size(), b[t].size());
    for (size_t i = 0; i < a[t].size(); ++i) {
      ASSERT_NEAR(a[t][i], b[t][i], 0.01 * (1 + std::abs(b[t][i]))) << t << ", " << i;
    }
  }
}

TEST_F(AttentionByCudnn, ServesBothPassesWithItsWorkspace) {
  const auto results = both_passes(settings_of(AttentionChoice::automatic), kShape);
  EXPECT_EQ(cudnn().num_forward, 1);
  EXPECT_EQ(cudnn().num_backward, 1);
  EXPECT_EQ(cudnn().last_workspace, 2 * 256 * 256 * 2) << "an entry for each score";
  const auto own = both_passes(settings_of(AttentionChoice::own), kShape);
  EXPECT_EQ(cudnn().num_asked, 2) << "own kernels ask nobody";
  expect_near(results, own);
  EXPECT_EQ(both_passes(settings_of(AttentionChoice::cudnn), kShape), results);
}

/// The case: a deterministic way back whose workspace grows with the square of the length.
TEST_F(AttentionByCudnn, BeyondTheLimitOwnKernelsGoBack) {
  constexpr int64_t kTooLittle = 2 * 256 * 256 * 2 - 1;
  OpSettings settings = settings_of(AttentionChoice::automatic, kTooLittle);
  const auto results = both_passes(settings, kShape);
  EXPECT_EQ(cudnn().num_forward, 1);
  EXPECT_EQ(cudnn().num_backward, 0);
  expect_near(results, both_passes(settings_of(AttentionChoice::own), kShape));
  settings.deterministic = false;
  expect_near(both_passes(settings, kShape), results);
  EXPECT_EQ(cudnn().num_backward, 1) << "sums in any order take less";
  EXPECT_EQ(cudnn().last_workspace, 2 * 256 * 64 * 4);
  settings.deterministic = true;
  settings.attention = AttentionChoice::cudnn;
  expect_error(ExitCode::usage, {"0.2 MiB", "--run.deterministic off needs less"},
               [&] { both_passes(settings, kShape); });
}

TEST_F(AttentionByCudnn, WhatItRefusesOwnKernelsDo) {
  const auto own = both_passes(settings_of(AttentionChoice::own), kShape);
  cudnn().serves = false;
  EXPECT_EQ(both_passes(settings_of(AttentionChoice::automatic), kShape), own);
  EXPECT_EQ(cudnn().num_asked, 2);
  expect_error(ExitCode::usage, {"it says: not on this device"},
               [&] { both_passes(settings_of(AttentionChoice::cudnn), kShape); });
}

}  // namespace
}  // namespace trireme::test
