#include "runtime/io/digest/xxh3.h"

#include <new>

#include <fmt/format.h>
#if defined(__x86_64__) && __has_include(<xxh_x86dispatch.h>)
#include <xxh_x86dispatch.h>  // the same functions, by the widest instructions that the machine has
#else
#include <xxhash.h>
#endif

namespace trireme {

namespace {

Hash128 converted(const XXH128_hash_t& hash) { return {hash.high64, hash.low64}; }

std::optional<uint64_t> parse_hex(std::string_view digits) {
  uint64_t value = 0;
  for (const char c : digits) {
    const bool is_digit = c >= '0' && c <= '9', is_letter = c >= 'a' && c <= 'f';
    if (!is_digit && !is_letter) return std::nullopt;
    value = value << 4 | static_cast<uint64_t>(is_digit ? c - '0' : c - 'a' + 10);
  }
  return value;
}

}  // namespace

std::string to_string(const Hash128& hash) { return fmt::format("{:016x}{:016x}", hash.high, hash.low); }

std::optional<Hash128> parse_hash128(std::string_view text) {
  constexpr size_t kDigits = 16;
  if (text.size() != 2 * kDigits) return std::nullopt;
  const auto high = parse_hex(text.substr(0, kDigits)), low = parse_hex(text.substr(kDigits));
  if (!high || !low) return std::nullopt;
  return Hash128{*high, *low};
}

Hash128 xxh3_128(std::span<const std::byte> bytes) {
  return converted(XXH3_128bits(bytes.data(), bytes.size()));
}

struct Xxh3Stream::State {
  XXH3_state_t* state = XXH3_createState();
  State() {
    if (state == nullptr) throw std::bad_alloc();
  }
  ~State() { XXH3_freeState(state); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
};

Xxh3Stream::Xxh3Stream() : state_(std::make_unique<State>()) { reset(); }
Xxh3Stream::~Xxh3Stream() = default;

void Xxh3Stream::update(std::span<const std::byte> bytes) {
  XXH3_128bits_update(state_->state, bytes.data(), bytes.size());
}

Hash128 Xxh3Stream::digest() const { return converted(XXH3_128bits_digest(state_->state)); }

void Xxh3Stream::reset() { XXH3_128bits_reset(state_->state); }

}  // namespace trireme
