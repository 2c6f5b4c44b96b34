#include "runtime/watch/channel/secret.h"

#include <cerrno>
#include <cstring>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sys/random.h>

#include "runtime/base/error.h"

namespace trireme::watch {

Secret random_secret() {
  Secret secret;
  if (::getrandom(secret.data(), secret.size(), 0) != static_cast<ssize_t>(secret.size()))
    throw_environment("the kernel gives no random numbers: {}", std::strerror(errno));
  return secret;
}

Secret sign(const Secret& key, std::string_view first, std::string_view second, std::string_view third) {
  std::string message;
  message.reserve(first.size() + second.size() + third.size());
  message.append(first).append(second).append(third);
  Secret mac;
  unsigned int size = 0;
  const unsigned char* made =
      ::HMAC(::EVP_sha256(), key.data(), static_cast<int>(key.size()),
             reinterpret_cast<const unsigned char*>(message.data()), message.size(), mac.data(), &size);
  TRIREME_CHECK(made != nullptr && size == mac.size(), "HMAC-SHA256 of libcrypto fails");
  return mac;
}

bool is_equal(const void* one, const void* other, size_t bytes) {
  return ::CRYPTO_memcmp(one, other, bytes) == 0;
}

}  // namespace trireme::watch
