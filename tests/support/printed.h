// What a function prints to a file, as text.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

namespace trireme::test {

/// `print` gets a file that is open for writing. What it throws continues, and nothing is left behind.
template <class F>
std::string printed(F&& print) {
  struct Memory {
    char* text = nullptr;
    size_t size = 0;
    ~Memory() { std::free(text); }
  } memory;
  {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> out(::open_memstream(&memory.text, &memory.size),
                                                              std::fclose);
    print(out.get());
  }
  return {memory.text, memory.size};
}

}  // namespace trireme::test
