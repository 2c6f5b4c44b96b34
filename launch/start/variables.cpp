#include "launch/start/variables.h"

#include <charconv>
#include <cstring>
#include <string_view>

#include <unistd.h>

namespace trireme::launch {

Variables own_variables() {
  Variables variables;
  for (char** one = environ; *one != nullptr; ++one) {
    const char* equals = std::strchr(*one, '=');
    if (equals != nullptr)
      variables.emplace(std::string(*one, static_cast<size_t>(equals - *one)), equals + 1);
  }
  return variables;
}

std::string text_of(const Variables& variables, const std::string& name) {
  const auto found = variables.find(name);
  return found == variables.end() ? "" : found->second;
}

int number_of(const Variables& variables, const std::string& name) {
  const std::string text = text_of(variables, name);
  int number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

std::vector<std::string> for_other_hosts(const Variables& variables) {
  std::vector<std::string> names;
  for (const auto& [name, value] : variables) {
    for (const std::string_view prefix : {"NCCL_", "UCX_", "OMP_", "GOMP_", "TRIREME_"}) {
      if (name.starts_with(prefix)) names.push_back(name);
    }
  }
  return names;
}

Variables without_place(Variables variables) {
  std::erase_if(variables, [](const auto& variable) {
    const std::string_view name = variable.first;
    for (const std::string_view prefix :
         {"PMIX_", "PMI_", "OMPI_COMM_WORLD_", "OMPI_UNIVERSE_SIZE", "OMPI_APP_CTX", "OMPI_FIRST_RANKS"}) {
      if (name.starts_with(prefix)) return !name.starts_with("PMIX_MCA_");
    }
    return false;
  });
  return variables;
}

}  // namespace trireme::launch
