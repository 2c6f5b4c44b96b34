#include "models/distill/teacher_codes.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

#include "runtime/base/error.h"

namespace trireme {

namespace {

constexpr int kProbabilityBits = 16, kWidthBits = 4;
constexpr double kStepsOfLog = 2048;
constexpr uint16_t kNothing = 0xffff;

/// Bits of the numbers from 0 to `most`.
int bits_for(int64_t most) { return std::bit_width(static_cast<uint64_t>(most)); }

/// Elias and Fano's: the lowest bits of each id lie as they are.
int low_bits(int64_t vocab_size, int64_t count) {
  return count == 0 || vocab_size <= count ? 0 : bits_for(vocab_size / count) - 1;
}

using Token = std::pair<int32_t, float>;

void encode_ids(const TeacherCode& code, std::span<const Token> tokens, BitWriter& to) {
  const int low = low_bits(code.vocab_size, std::ssize(tokens)), fixed = bits_for(code.vocab_size - 1);
  const int64_t count = std::ssize(tokens), high = tokens.empty() ? 0 : tokens.back().first >> low;
  const bool is_split = count * (low + 1) + high < count * fixed;
  to.put(is_split ? 1 : 0, 1);
  int64_t before = 0;
  for (const auto& [id, p] : tokens) {
    if (is_split) to.put_unary((id >> low) - std::exchange(before, id >> low));
    to.put(static_cast<uint64_t>(id), is_split ? low : fixed);
  }
}

bool decode_ids(const TeacherCode& code, BitReader& from, std::span<int32_t> ids) {
  const int low = low_bits(code.vocab_size, std::ssize(ids)), fixed = bits_for(code.vocab_size - 1);
  const bool is_split = from.get(1) != 0;
  int64_t high = 0, last = -1;
  for (int32_t& id : ids) {
    if (is_split) high += from.get_unary();
    const int64_t value = is_split ? (high << low) + from.get(low) : from.get(fixed);
    if (from.is_over() || value <= last || value >= code.vocab_size) return false;
    id = static_cast<int32_t>(last = value);
  }
  return !from.is_over();
}

/// Elias' gamma code, from 1 on, or the same number of bits for all.
void encode_counts(std::span<const int64_t> counts, BitWriter& to) {
  int64_t by_gamma = 0, most = 1;
  for (const int64_t count : counts) {
    by_gamma += 2 * bits_for(count) - 1;
    most = std::max(most, count);
  }
  const int width = bits_for(most - 1);
  const bool is_gamma = by_gamma <= kWidthBits + width * std::ssize(counts);
  to.put(is_gamma ? 1 : 0, 1);
  if (!is_gamma) to.put(static_cast<uint64_t>(width), kWidthBits);
  for (const int64_t count : counts) {
    if (is_gamma) to.put_unary(bits_for(count) - 1);
    const int64_t rest = is_gamma ? count - (int64_t{1} << (bits_for(count) - 1)) : count - 1;
    to.put(static_cast<uint64_t>(rest), is_gamma ? bits_for(count) - 1 : width);
  }
}

bool decode_counts(int64_t total, BitReader& from, std::span<float> probabilities) {
  const bool is_gamma = from.get(1) != 0;
  const auto width = is_gamma ? 0 : static_cast<int>(from.get(kWidthBits));
  int64_t left = total;
  for (float& p : probabilities) {
    int64_t count = 0;
    if (is_gamma) {
      const int64_t bits = from.get_unary();
      if (bits > bits_for(total)) return false;
      count = (int64_t{1} << bits) + from.get(static_cast<int>(bits));
    } else {
      count = int64_t{1} + from.get(width);
    }
    left -= count;
    p = static_cast<float>(count) / static_cast<float>(total);
  }
  return left == 0 && !from.is_over();
}

void encode_probabilities(const TeacherCode& code, std::span<const Token> tokens, BitWriter& to) {
  double rest = 1;
  for (const auto& [id, p] : tokens) {
    to.put(code_of_probability(double{p}), kProbabilityBits);
    rest -= double{p};
  }
  if (code.has_rest()) to.put(code_of_probability(std::max(rest, 0.0)), kProbabilityBits);
}

bool decode_probabilities(const TeacherCode& code, BitReader& from, std::span<float> probabilities) {
  double sum = 0;
  for (float& p : probabilities)
    sum += double{
        p = static_cast<float>(probability_of_code(static_cast<uint16_t>(from.get(kProbabilityBits))))};
  const double rest =
      code.has_rest() ? probability_of_code(static_cast<uint16_t>(from.get(kProbabilityBits))) : 0;
  if (from.is_over() || !(sum > 0)) return false;
  for (float& p : probabilities) p = static_cast<float>(double{p} / sum * (1 - rest));
  return true;
}

}  // namespace

void BitWriter::put(uint64_t value, int count) {
  pending_ |= (value & ((uint64_t{1} << count) - 1)) << num_pending_;
  num_pending_ += count;
  for (; num_pending_ >= 8; num_pending_ -= 8, pending_ >>= 8)
    bytes_.push_back(static_cast<std::byte>(pending_));
}

void BitWriter::put_unary(int64_t zeros) {
  for (; zeros >= 32; zeros -= 32) put(0, 32);
  put(uint64_t{1} << zeros, static_cast<int>(zeros) + 1);
}

std::vector<std::byte> BitWriter::take() {
  if (num_pending_ > 0) put(0, 8 - num_pending_);
  return std::exchange(bytes_, {});
}

uint64_t BitReader::peek() const {
  uint64_t word = 0;
  const size_t byte = at_ / 8;
  if (byte < bytes_.size())
    std::memcpy(&word, bytes_.data() + byte, std::min(sizeof(word), bytes_.size() - byte));
  return word >> (at_ % 8);
}

uint32_t BitReader::get(int count) {
  const uint64_t word = peek();
  at_ += static_cast<size_t>(count);
  return static_cast<uint32_t>(word & ((uint64_t{1} << count) - 1));
}

int64_t BitReader::get_unary() {
  constexpr int kSeen = 57;
  for (int64_t zeros = 0; !is_over(); zeros += kSeen) {
    const uint64_t word = peek() & ((uint64_t{1} << kSeen) - 1);
    if (word != 0) {
      const int more = std::countr_zero(word);
      at_ += static_cast<size_t>(more) + 1;
      return zeros + more;
    }
    at_ += kSeen;
  }
  return 0;
}

uint16_t code_of_probability(double p) {
  if (!(p > 0)) return kNothing;
  const double steps = std::round(-std::log2(p) * kStepsOfLog);
  return steps >= kNothing ? kNothing : static_cast<uint16_t>(std::max(steps, 0.0));
}

double probability_of_code(uint16_t code) {
  return code == kNothing ? 0 : std::exp2(-static_cast<double>(code) / kStepsOfLog);
}

void encode_row(const TeacherCode& code, std::span<const int32_t> ids, std::span<const float> probabilities,
                BitWriter& to) {
  std::vector<Token> tokens;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0) continue;
    TRIREME_CHECK(ids[i] < code.vocab_size && probabilities[i] >= 0 && probabilities[i] <= 1.001f,
                  "token {} of {}, probability {}", ids[i], code.vocab_size, probabilities[i]);
    tokens.emplace_back(ids[i], probabilities[i]);
  }
  std::ranges::sort(tokens);
  const int64_t most = code.width(), count = std::ssize(tokens);
  TRIREME_CHECK(count <= most, "{} tokens of {}", count, most);
  to.put(count == most ? 1 : 0, 1);
  if (count < most) to.put(static_cast<uint64_t>(count), bits_for(most - 1));
  encode_ids(code, tokens, to);
  if (code.kind == TeacherTokens::top_k) return encode_probabilities(code, tokens, to);
  std::vector<int64_t> counts;
  for (const auto& [id, p] : tokens)
    counts.push_back(std::llround(double{p} * static_cast<double>(code.num_tokens)));
  encode_counts(counts, to);
}

bool decode_row(const TeacherCode& code, BitReader& from, std::span<int32_t> ids,
                std::span<float> probabilities) {
  const int64_t most = code.width();
  TRIREME_CHECK(std::ssize(ids) == most && std::ssize(probabilities) == most);
  const int64_t count = from.get(1) != 0 ? most : int64_t{from.get(bits_for(most - 1))};
  if (count > most || count == 0 || from.is_over()) return false;
  const auto n = static_cast<size_t>(count);
  std::ranges::fill(ids.subspan(n), -1);
  std::ranges::fill(probabilities.subspan(n), 0.0f);
  if (!decode_ids(code, from, ids.first(n))) return false;
  if (code.kind == TeacherTokens::top_k) return decode_probabilities(code, from, probabilities.first(n));
  return decode_counts(code.num_tokens, from, probabilities.first(n));
}

}  // namespace trireme
