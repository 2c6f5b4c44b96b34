// What only the processes of one job know, and how they prove it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace trireme::watch {

using Secret = std::array<unsigned char, 32>;

/// 256 random bits of the kernel. Throws EnvironmentError where it has none.
Secret random_secret();

/// HMAC-SHA256 (RFC 2104) of the parts one after the other.
Secret sign(const Secret& key, std::string_view first, std::string_view second = {},
            std::string_view third = {});

/// Takes equally long wherever they differ.
bool is_equal(const void* one, const void* other, size_t bytes);

inline std::string_view bytes_of(const Secret& secret) {
  return {reinterpret_cast<const char*>(secret.data()), secret.size()};
}

}  // namespace trireme::watch
