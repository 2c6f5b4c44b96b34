#include "models/distill/few_tokens.h"

#include <cmath>
#include <numeric>

#include <gtest/gtest.h>

#include "runtime/comm/threads/thread_communicator.h"
#include "tests/support/tensors.h"

namespace trireme::test {
namespace {

constexpr int64_t kRows = 3, kVocab = 37;

std::vector<float> all_logits(uint64_t seed) {
  std::vector<float> values(static_cast<size_t>(kRows * kVocab));
  for (size_t i = 0; i < values.size(); ++i) values[i] = 2 * philox_normal4(seed, i / 4, 0)[i % 4];
  return values;
}

/// This rank's columns.
RowTeacher teacher_of(Context& ctx, const TensorParallel& tensor, const std::vector<float>& logits) {
  const Part part = tensor.part(kVocab);
  std::vector<float> here;
  for (int64_t row = 0; row < kRows; ++row)
    here.insert(here.end(), logits.begin() + row * kVocab + part.begin,
                logits.begin() + row * kVocab + part.end);
  RowTeacher teacher;
  teacher.logits = make_tensor(ctx, {kRows, part.size()}, DType::f32, here);
  teacher.soft_cap = 5;
  teacher.states = make_tensor(ctx, {kRows, 1}, DType::f32, {1, 2, 3});
  return teacher;
}

struct Few {
  std::vector<int32_t> ids;
  std::vector<float> probabilities;
  bool has_rest = false;
};

Few few_of(Context& ctx, Communicator& group, const FewTokensOptions& options, const RowPlaces& places = {}) {
  const TensorParallel tensor(group);
  const RowTeacher few =
      few_tokens(ctx, tensor, teacher_of(ctx, tensor, all_logits(11)), kVocab, options, places);
  EXPECT_TRUE(few.states);
  return {read<int32_t>(few.ids), read<float>(few.probabilities), few.has_rest};
}

std::vector<double> probabilities_of(int64_t row, double temperature) {
  const std::vector<float> logits = all_logits(11);
  std::vector<double> p(static_cast<size_t>(kVocab));
  for (size_t c = 0; c < p.size(); ++c)
    p[c] = std::exp(5 * std::tanh(logits[static_cast<size_t>(row * kVocab) + c] / 5.0) / temperature);
  const double sum = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& x : p) x /= sum;
  return p;
}

RowPlaces places_of(Context& ctx, int64_t first_sample) {
  const Tensor places = Tensor::empty(ctx, {kRows}, DType::i32);
  write(places, std::vector<int32_t>{0, 1, 2});
  return {places, first_sample, kRows, 0};
}

TEST(FewTokens, EveryLayoutHasTheSameTokens) {
  for (const TeacherTokens kind : {TeacherTokens::top_k, TeacherTokens::sampled}) {
    const FewTokensOptions options{kind, 9, 1.5, 4};
    Few whole;
    run_thread_ranks(1, [&](Communicator& group) {
      Context ctx;
      whole = few_of(ctx, group, options, places_of(ctx, 6));
    });
    EXPECT_EQ(whole.has_rest, kind == TeacherTokens::top_k);
    for (const int ranks : {2, 3, 5}) {
      std::vector<Few> few(static_cast<size_t>(ranks));
      run_thread_ranks(ranks, [&](Communicator& group) {
        Context ctx;
        few[static_cast<size_t>(group.rank())] = few_of(ctx, group, options, places_of(ctx, 6));
      });
      for (const Few& f : few) {
        EXPECT_EQ(f.ids, whole.ids) << ranks;
        EXPECT_EQ(f.probabilities, few.front().probabilities) << ranks;
        for (size_t i = 0; i < f.probabilities.size(); ++i)
          EXPECT_NEAR(f.probabilities[i], whole.probabilities[i], 1e-7) << ranks;
      }
    }
  }
}

TEST(FewTokens, AllTokensHaveNoRest) {
  run_thread_ranks(2, [](Communicator& group) {
    Context ctx;
    const Few few = few_of(ctx, group, {TeacherTokens::top_k, 50, 1, 0});
    EXPECT_FALSE(few.has_rest);
    ASSERT_EQ(few.ids.size(), static_cast<size_t>(kRows * kVocab));
    for (int64_t row = 0; row < kRows; ++row) {
      const auto begin = few.probabilities.begin() + row * kVocab;
      EXPECT_NEAR(std::accumulate(begin, begin + kVocab, 0.0), 1, 1e-6);
    }
  });
}

// The mean over many samples' draws of an arbitrary sum, and of the gradient of KL(p || q) by the student's
// logits, q - p: each within five standard errors of that of the whole distribution.
TEST(FewTokens, DrawsAreUnbiased) {
  constexpr int64_t kSeeds = 600, kDraws = 5;
  for (const double temperature : {1.0, 2.0}) {
    run_thread_ranks(2, [&](Communicator& group) {
      Context ctx;
      std::vector<std::vector<double>> mean(kRows, std::vector<double>(kVocab));
      for (int64_t sample = 0; sample < kSeeds; ++sample) {
        const Few few =
            few_of(ctx, group, {TeacherTokens::sampled, kDraws, temperature, 9}, places_of(ctx, sample));
        for (size_t i = 0; i < few.ids.size(); ++i) {
          if (few.ids[i] >= 0)
            mean[i / kDraws][static_cast<size_t>(few.ids[i])] += few.probabilities[i] / double{kSeeds};
        }
      }
      for (int64_t row = 0; row < kRows; ++row) {
        const std::vector<double> p = probabilities_of(row, temperature);
        double sum = 0, expected = 0, square = 0;
        for (size_t c = 0; c < p.size(); ++c) {
          const double error = std::sqrt(p[c] * (1 - p[c]) / double{kSeeds * kDraws});
          EXPECT_NEAR(mean[static_cast<size_t>(row)][c], p[c], 5 * error + 1e-9) << row << ", " << c;
          const double f = std::sin(7.0 * static_cast<double>(c)) * static_cast<double>(c);
          sum += f * mean[static_cast<size_t>(row)][c];
          expected += f * p[c];
          square += f * f * p[c];
        }
        EXPECT_NEAR(sum, expected, 5 * std::sqrt((square - expected * expected) / double{kSeeds * kDraws}));
      }
    });
  }
}

class FixedRows final : public TeacherRows {
 public:
  explicit FixedRows(RowTeacher all) : all_(std::move(all)) {}
  RowTeacher rows(Context&, int64_t begin, int64_t end) const override {
    RowTeacher part;
    part.logits = all_.logits.slice(begin, end);
    part.soft_cap = all_.soft_cap;
    part.states = all_.states.slice(begin, end);
    return part;
  }

 private:
  RowTeacher all_;
};

TEST(FewTokens, PartsOfTheRowsAreAsAllAtOnce) {
  run_thread_ranks(2, [](Communicator& group) {
    Context ctx;
    const TensorParallel tensor(group);
    const FewTokensOptions options{TeacherTokens::sampled, 9, 1.5, 4};
    MicroBatch batch;
    batch.batch = 1;
    batch.seq_len = kRows;
    batch.first_sample = 6;
    batch.positions = places_of(ctx, 6).places;
    const FewTokens few(std::make_shared<FixedRows>(teacher_of(ctx, tensor, all_logits(11))), tensor, kVocab,
                        options, batch);
    const Few whole = few_of(ctx, group, options, places_of(ctx, 6));
    for (const auto& [begin, end] : {std::pair<int64_t, int64_t>{0, 2}, {1, 3}, {2, 3}}) {
      const std::vector<int32_t> ids = read<int32_t>(few.rows(ctx, begin, end).ids);
      EXPECT_TRUE(std::equal(ids.begin(), ids.end(), whole.ids.begin() + begin * 9)) << begin;
    }
  });
}

}  // namespace
}  // namespace trireme::test
