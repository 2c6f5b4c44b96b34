#include "launch/doctor/facts_json.h"

namespace trireme::launch {

std::string to_text(const RankFacts& facts) {
  // Names of the system may be no UTF-8.
  return nlohmann::json(facts).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

RankFacts rank_facts_of(const std::string& text) { return nlohmann::json::parse(text).get<RankFacts>(); }

}  // namespace trireme::launch
