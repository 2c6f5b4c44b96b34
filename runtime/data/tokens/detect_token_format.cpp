// Which format a token file has. Only nanoGPT's files have no header: what is taken for one must look like
// it.
#include <array>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "runtime/base/error.h"
#include "runtime/data/tokens/token_format.h"
#include "runtime/io/digest/file_signs.h"

namespace trireme {
namespace {

constexpr std::string_view kAdvice =
    "detected are .tok, llm.c and Megatron files by their headers, and nanoGPT files (16-bit ids "
    "without a header) by the extension .bin; to read any bytes as 16-bit ids, give the format "
    "nanogpt by name";

template <class T>
T value_at(std::string_view bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

int bits_that_differ(std::string_view a, std::string_view b) {
  int bits = 0;
  for (size_t i = 0; i < a.size(); ++i) bits += std::popcount(static_cast<uint8_t>(a[i] ^ b[i]));
  return bits;
}

bool is_zero(std::string_view bytes) { return bytes.find_first_not_of('\0') == std::string_view::npos; }

// llm.c's magic numbers are dates; its headers are 256 numbers of which a few are used. No ids look like
// that.
bool resembles_llmc(std::string_view bytes) {
  if (bytes.size() < 1024) return false;
  const auto magic = value_at<uint32_t>(bytes, 0);
  const bool is_date = magic >= 20200101 && magic <= 20991231;
  const bool is_near = std::popcount(magic ^ 20240520u) <= 2 || std::popcount(magic ^ 20240801u) <= 2;
  const bool is_mostly_zero = is_zero(bytes.substr(64, 960));
  const auto count = value_at<uint32_t>(bytes, 8);
  const uint64_t body = bytes.size() - 1024;
  const bool counts = count > 0 && (body == uint64_t{count} * 2 || body == uint64_t{count} * 4);
  return (is_date || is_near || counts) && is_mostly_zero;
}

/// 16-bit words of the sample, by whether they stand at even or odd places.
struct Halves {
  uint16_t most[2] = {0, 0};
};

Halves halves_of(std::string_view sample) {
  Halves halves;
  for (size_t i = 0; i + 2 <= sample.size(); i += 2) {
    uint16_t& most = halves.most[i / 2 % 2];
    most = std::max(most, value_at<uint16_t>(sample, i));
  }
  return halves;
}

// How differently bytes at even and odd places are distributed, from 0 to 1. Low and high bytes of ids differ
// much (uniform ids below 50257: 0.23; of texts: over 0.5); those of 8-bit, compressed or encrypted data do
// not.
double distance_of_halves(std::string_view sample) {
  std::array<int64_t, 256> even{}, odd{};
  for (size_t i = 0; i + 1 < sample.size(); i += 2) {
    ++even[static_cast<uint8_t>(sample[i])];
    ++odd[static_cast<uint8_t>(sample[i + 1])];
  }
  int64_t sum = 0;
  for (size_t b = 0; b < 256; ++b) sum += std::abs(even[b] - odd[b]);
  return static_cast<double>(sum) / static_cast<double>(sample.size());
}

std::string why_not_sixteen_bits(std::string_view bytes) {
  constexpr size_t kFewBytes = 32, kManyBytes = size_t{1} << 14;
  const std::string sample = sample_of(bytes);
  if (sample.size() < kFewBytes) return "";
  if (is_zero(sample)) return "it holds nothing but zeros";
  const Halves halves = halves_of(sample);
  // The upper half of a 32-bit id is small, and the lower half is not.
  const auto is_upper = [&](int half) {
    return halves.most[half] == 0 || (halves.most[half] < 32 && halves.most[1 - half] > 4096);
  };
  if (is_upper(1)) return "every second 16-bit value is 0 or small: these are 32- or 64-bit ids";
  if (is_upper(0)) {
    return "every second 16-bit value is 0 or small: these are 32- or 64-bit ids, most significant bytes "
           "first";
  }
  if (sample.size() >= kManyBytes && distance_of_halves(sample) < 0.1) {
    return "low and high bytes are distributed alike, which is so in 8-bit, compressed or encrypted data and "
           "never in 16-bit ids";
  }
  return "";
}

bool is_megatron_name(std::string_view path) {
  return path.ends_with("_document.bin") || path.ends_with("_sentence.bin");
}

}  // namespace

std::string why_not_nanogpt(std::string_view bytes) {
  if (bytes.empty()) return "it is empty";
  if (bytes.size() >= 8 && bits_that_differ(bytes.substr(0, 8), kTokMagic) <= 8) {
    return "its first bytes are almost those of a .tok file: its header is damaged";
  }
  if (resembles_llmc(bytes)) {
    return fmt::format(
        "it has a header like llm.c's, but begins with {}, not with 20240520 or 20240801: it is damaged, or "
        "of another kind",
        value_at<uint32_t>(bytes, 0));
  }
  if (const auto name = signature_of(bytes); !name.empty()) return fmt::format("it is {}", name);
  if (looks_like_text(bytes)) {
    const char* what = begins_with_json_line(bytes) ? "JSON lines"
                       : begins_like_json(bytes)    ? "JSON"
                                                    : "text";
    return fmt::format("it is {}, not token ids: for text use --data.text or trireme data build", what);
  }
  return why_not_sixteen_bits(bytes);
}

TokenFormat detect_token_format(const MappedFile& file) {
  const std::string_view path = file.path(), bytes = file.text();
  if (bytes.starts_with(kTokMagic) || path.ends_with(".tok")) return TokenFormat::trireme;
  std::error_code ignored;
  if (path.ends_with(".bin") && std::filesystem::exists(megatron_index_path(file.path()), ignored)) {
    return TokenFormat::megatron;
  }
  if (has_llmc_magic(file)) return TokenFormat::llmc;
  if (is_megatron_name(path)) {
    throw_bad_input("{} is named like Megatron data, but its index {} is missing", path,
                    megatron_index_path(file.path()));
  }
  std::string why = why_not_nanogpt(bytes);
  if (why.empty() && !path.ends_with(".bin")) why = "it has no header, and its name does not end in .bin";
  if (!why.empty()) throw_bad_input("{} is not a token file: {} ({})", path, why, kAdvice);
  return TokenFormat::nanogpt;
}

}  // namespace trireme
