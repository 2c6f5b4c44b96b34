// The keys of a config.json as they are read: every mistake is collected, with key and value.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace trireme::hf {

using Json = nlohmann::ordered_json;

/// The value for messages, of bounded length.
std::string shown(const Json& value);

class HfKeys {
 public:
  /// `object` and `errors` outlive it. `prefix` stands before keys in messages ("rope_scaling.").
  HfKeys(const Json& object, std::vector<std::string>& errors, std::string prefix = "")
      : object_(object), errors_(errors), prefix_(std::move(prefix)) {}

  const Json& object() const { return object_; }
  /// Null where the key is absent, and where its value is null.
  const Json* find(std::string_view key) const;
  bool has(std::string_view key) const { return object_.contains(key); }

  // The value, and `absent` where there is none; a value of another kind is refused, and `absent` taken.
  int64_t whole(std::string_view key, int64_t absent, int64_t least = 1) const;
  double real(std::string_view key, double absent) const;
  bool flag(std::string_view key, bool absent) const;
  std::string text(std::string_view key, std::string_view absent) const;
  /// Numbers of a list; nothing where there is none or it is refused.
  std::optional<std::vector<double>> reals(std::string_view key) const;
  std::optional<std::vector<int64_t>> wholes(std::string_view key) const;
  std::optional<std::vector<std::string>> texts(std::string_view key) const;

  /// The keys of the object `key`; of none where it is no object, which is refused.
  HfKeys of(std::string_view key) const;

  /// Notes "KEY VALUE: why".
  template <class... Args>
  void refuse(std::string_view key, fmt::format_string<Args...> format, Args&&... args) const {
    add(key, fmt::format(format, std::forward<Args>(args)...));
  }

 private:
  void add(std::string_view key, const std::string& why) const;
  const Json* list(std::string_view key, std::string_view of) const;

  const Json& object_;
  std::vector<std::string>& errors_;
  std::string prefix_;
};

/// Sizes that a model can have (those that options take).
inline constexpr int64_t kMostWhole = int64_t{1} << 28, kMostLayers = int64_t{1} << 14;

}  // namespace trireme::hf
