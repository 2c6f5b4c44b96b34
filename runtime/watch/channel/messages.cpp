#include "runtime/watch/channel/messages.h"

#include <cstring>

namespace trireme::watch {

namespace {

constexpr char kHeartbeat = 'h', kPing = 'p', kObject = 'o';

struct Packed {
  int64_t step, progress;
  double quiet, limit;
  int32_t micro_batch, layer;
  int32_t phase, unused;
};

}  // namespace

std::string encode(const Heartbeat& h) {
  const Packed packed{h.site.step,
                      h.progress,
                      h.quiet,
                      h.limit,
                      h.site.micro_batch,
                      h.site.layer,
                      static_cast<int32_t>(h.site.phase),
                      0};
  return std::string(1, kHeartbeat).append(reinterpret_cast<const char*>(&packed), sizeof packed);
}

std::optional<Heartbeat> decode_heartbeat(std::string_view message) {
  Packed packed;
  if (message.size() != 1 + sizeof packed || message[0] != kHeartbeat) return std::nullopt;
  std::memcpy(&packed, message.data() + 1, sizeof packed);
  if (packed.phase < 0 || packed.phase >= static_cast<int32_t>(kNumPhases)) return std::nullopt;
  return Heartbeat{{static_cast<Phase>(packed.phase), packed.step, packed.micro_batch, packed.layer},
                   packed.progress,
                   packed.quiet,
                   packed.limit};
}

std::string encode_ping(bool judges) { return {kPing, judges ? '1' : '0'}; }

std::optional<bool> decode_ping(std::string_view message) {
  if (message.size() != 2 || message[0] != kPing) return std::nullopt;
  return message[1] == '1';
}

std::string encode(const nlohmann::json& message) {
  std::string text(1, kObject);
  nlohmann::json::to_cbor(message, text);
  return text;
}

nlohmann::json decode(std::string_view message) {
  if (message.empty() || message[0] != kObject) return nullptr;
  message.remove_prefix(1);
  nlohmann::json object = nlohmann::json::from_cbor(message, true, false);
  return object.is_object() && object.contains("say") ? object : nlohmann::json(nullptr);
}

}  // namespace trireme::watch
