#include "models/distill/teacher_codes.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include <gtest/gtest.h>

namespace trireme::test {
namespace {

struct Row {
  std::vector<int32_t> ids;
  std::vector<float> probabilities;
};

/// `count` tokens of the vocabulary in any order, the last places empty.
Row drawn_row(const TeacherCode& code, int64_t count, std::mt19937_64& random) {
  const auto width = static_cast<size_t>(code.width());
  Row row{std::vector<int32_t>(width, -1), std::vector<float>(width)};
  std::vector<int32_t> all(static_cast<size_t>(code.vocab_size));
  std::iota(all.begin(), all.end(), 0);
  for (int64_t i = 0; i < count; ++i) {  // the last one too, now and then
    const auto other = static_cast<size_t>(i) + random() % (all.size() - static_cast<size_t>(i));
    std::swap(all[static_cast<size_t>(i)], all[other]);
  }
  std::copy_n(all.begin(), count, row.ids.begin());
  if (code.kind == TeacherTokens::sampled) {
    int64_t left = code.num_tokens - count;
    for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
      const bool is_last = i + 1 == static_cast<size_t>(count);
      const int64_t more = is_last ? left : static_cast<int64_t>(random() % static_cast<uint64_t>(left + 1));
      left -= more;
      row.probabilities[i] = static_cast<float>(1 + more) / static_cast<float>(code.num_tokens);
    }
    return row;
  }
  double sum = 0;
  std::vector<double> weights(static_cast<size_t>(count));
  for (double& weight : weights) sum += weight = std::exp(-static_cast<double>(random() % 2000) / 100.0);
  if (code.has_rest()) sum *= 1 + static_cast<double>(random() % 1000) * 1e-5;
  for (size_t i = 0; i < weights.size(); ++i) row.probabilities[i] = static_cast<float>(weights[i] / sum);
  return row;
}

void expect_same(const TeacherCode& code, const Row& row, const Row& read) {
  std::vector<std::pair<int32_t, float>> tokens;
  for (size_t i = 0; i < row.ids.size(); ++i) {
    if (row.ids[i] >= 0) tokens.emplace_back(row.ids[i], row.probabilities[i]);
  }
  std::ranges::sort(tokens);
  for (size_t i = 0; i < read.ids.size(); ++i) {
    const bool is_there = i < tokens.size();
    ASSERT_EQ(read.ids[i], is_there ? tokens[i].first : -1) << i;
    const float expected = is_there ? tokens[i].second : 0;
    if (code.kind == TeacherTokens::sampled)
      ASSERT_EQ(read.probabilities[i], expected) << i;
    else
      ASSERT_NEAR(read.probabilities[i], expected, 4e-4 * expected + 1e-9) << i;
  }
  const double sum = std::accumulate(read.probabilities.begin(), read.probabilities.end(), 0.0);
  const double whole = std::accumulate(row.probabilities.begin(), row.probabilities.end(), 0.0);
  EXPECT_NEAR(1 - sum, 1 - whole, 4e-4 * std::abs(1 - whole) + 4e-7);
}

TEST(TeacherCodes, RowsComeBack) {
  std::mt19937_64 random(5);
  for (const TeacherTokens kind : {TeacherTokens::top_k, TeacherTokens::sampled}) {
    for (const auto& [vocab, num] : {std::pair<int64_t, int64_t>{1, 1},
                                     {2, 1},
                                     {7, 7},
                                     {7, 50},
                                     {1000, 64},
                                     {1024, 1024},
                                     {49152, 50},
                                     {151936, 64},
                                     {300, 299}}) {
      const TeacherCode code{kind, num, vocab};
      const int64_t most = std::min(num, vocab);
      std::vector<Row> rows;
      BitWriter writer;
      for (const int64_t count : {most, int64_t{1}, (most + 1) / 2, most}) {
        rows.push_back(drawn_row(code, count, random));
        encode_row(code, rows.back().ids, rows.back().probabilities, writer);
      }
      const std::vector<std::byte> bytes = writer.take();
      BitReader reader(bytes);
      for (const Row& row : rows) {
        Row read{std::vector<int32_t>(row.ids.size(), 77), std::vector<float>(row.ids.size(), 7)};
        ASSERT_TRUE(decode_row(code, reader, read.ids, read.probabilities)) << vocab << ", " << num;
        expect_same(code, row, read);
      }
      EXPECT_TRUE(reader.is_at_end());
    }
  }
}

TEST(TeacherCodes, ASmallRestKeepsItsDigits) {
  const TeacherCode code{TeacherTokens::top_k, 2, 10};
  BitWriter writer;
  encode_row(code, std::vector<int32_t>{4, 1}, std::vector<float>{0.75f, 0.25f - 0x1p-16f}, writer);
  const std::vector<std::byte> bytes = writer.take();
  BitReader reader(bytes);
  Row read{std::vector<int32_t>(2), std::vector<float>(2)};
  ASSERT_TRUE(decode_row(code, reader, read.ids, read.probabilities));
  const double rest = 1 - double{read.probabilities[0]} - double{read.probabilities[1]};
  EXPECT_NEAR(rest, 0x1p-16, 0x1p-16 * 0.01);
}

TEST(TeacherCodes, SixteenBitsOfAProbability) {
  for (double p = 1; p > 0x1p-31; p *= 0.7) {
    const double read = probability_of_code(code_of_probability(p));
    EXPECT_NEAR(read, p, 1.8e-4 * p);
  }
  EXPECT_EQ(probability_of_code(code_of_probability(0)), 0);
  EXPECT_EQ(probability_of_code(code_of_probability(1)), 1);
  EXPECT_EQ(probability_of_code(code_of_probability(1.0001)), 1);
}

// Ids in fewer bits than plain ones take, counts in about one each where all are one.
TEST(TeacherCodes, Sizes) {
  std::mt19937_64 random(3);
  const auto bits_a_token = [&](const TeacherCode& code, int64_t count, int rows) {
    BitWriter writer;
    for (int i = 0; i < rows; ++i) {
      const Row row = drawn_row(code, count, random);
      encode_row(code, row.ids, row.probabilities, writer);
    }
    return 8.0 * static_cast<double>(writer.take().size()) / static_cast<double>(rows * count);
  };
  const double top = bits_a_token({TeacherTokens::top_k, 64, 49152}, 64, 20);
  EXPECT_LT(top, 16 + 9.6 + 2.3);  // log2(V / k) = 9.6
  EXPECT_LT(bits_a_token({TeacherTokens::sampled, 50, 49152}, 50, 20), 9 + 2.6 + 1.3);
}

// Whatever the bytes, nothing is read or written out of bounds, and what is decoded is in range.
TEST(TeacherCodes, DamagedBytes) {
  std::mt19937_64 random(9);
  for (const TeacherTokens kind : {TeacherTokens::top_k, TeacherTokens::sampled}) {
    const TeacherCode code{kind, 20, 1000};
    BitWriter writer;
    const Row row = drawn_row(code, 20, random);
    encode_row(code, row.ids, row.probabilities, writer);
    const std::vector<std::byte> whole = writer.take();
    for (int trial = 0; trial < 2000; ++trial) {
      std::vector<std::byte> bytes(whole.begin(),
                                   whole.begin() + static_cast<ptrdiff_t>(random() % (whole.size() + 1)));
      if (trial % 2 == 0 && !bytes.empty()) bytes[random() % bytes.size()] ^= std::byte{1} << (random() % 8);
      if (trial % 5 == 0) std::ranges::generate(bytes, [&] { return static_cast<std::byte>(random()); });
      if (trial % 7 == 0) bytes.assign(bytes.size(), std::byte{0});
      BitReader reader(bytes);
      Row read{std::vector<int32_t>(20), std::vector<float>(20)};
      if (!decode_row(code, reader, read.ids, read.probabilities)) continue;
      double sum = 0;
      for (size_t i = 0; i < read.ids.size(); ++i) {
        ASSERT_LT(read.ids[i], 1000);
        ASSERT_GE(read.probabilities[i], 0);
        sum += double{read.probabilities[i]};
      }
      ASSERT_LE(sum, 1 + 1e-5);
    }
  }
}

}  // namespace
}  // namespace trireme::test
