#include "models/inference/speculation/draft_texts.h"

#include <algorithm>

namespace trireme {

DraftState* DraftTexts::at(int64_t request, std::span<const int32_t> tokens, int64_t length) {
  const auto [place, is_new] = states_.try_emplace(request);
  DraftState& state = place->second;
  state.last_used = now_;
  const auto computed = tokens.first(tokens.size() - 1);
  if (is_new) {
    state.blocks = pool_.find(computed);
    state.num_remembered = std::ssize(state.blocks);
    const auto found = static_cast<size_t>(state.num_remembered * pool_.block_tokens());
    state.tokens.assign(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(found));
  }
  // From the end: a text that goes on differs only in what was drafted.
  state.tokens.resize(std::min(state.tokens.size(), computed.size()));
  const auto differs = std::ranges::mismatch(state.tokens, computed).in1;
  state.tokens.erase(differs, state.tokens.end());
  if (reserve(state, length)) return &state;
  forget(request);
  return nullptr;
}

bool DraftTexts::reserve(DraftState& state, int64_t length) {
  const auto wanted = static_cast<size_t>((length + pool_.block_tokens() - 1) / pool_.block_tokens());
  while (state.blocks.size() < wanted) {
    const auto block = pool_.take();
    if (block) state.blocks.push_back(*block);
    if (!block && !make_room()) return false;
  }
  return true;
}

// The text that was not asked for the longest time goes.
bool DraftTexts::make_room() {
  auto oldest = states_.end();
  for (auto state = states_.begin(); state != states_.end(); ++state) {
    if (state->second.last_used == now_) continue;
    const auto age = [](const auto& s) { return std::pair(s->second.last_used, s->first); };
    if (oldest == states_.end() || age(state) < age(oldest)) oldest = state;
  }
  if (oldest == states_.end()) return false;
  give_back(oldest->second);
  states_.erase(oldest);
  return true;
}

void DraftTexts::remember(DraftState& state, int64_t num_tokens) {
  const int64_t width = pool_.block_tokens();
  for (int64_t& i = state.num_remembered; (i + 1) * width <= num_tokens; ++i) {
    const auto at = static_cast<size_t>(i);
    const auto tokens = std::span<const int32_t>(state.tokens)
                            .subspan(at * static_cast<size_t>(width), static_cast<size_t>(width));
    pool_.remember(state.blocks[at], i == 0 ? -1 : state.blocks[at - 1], tokens);
  }
}

void DraftTexts::give_back(DraftState& state) {
  for (auto block = state.blocks.rbegin(); block != state.blocks.rend(); ++block) pool_.release(*block);
  state.blocks.clear();
}

void DraftTexts::forget(int64_t request) {
  const auto state = states_.find(request);
  if (state == states_.end()) return;
  give_back(state->second);
  states_.erase(state);
}

}  // namespace trireme
