#include "parallel/checkpoint/format/manifest.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "parallel/checkpoint/format/strict_members.h"
#include "runtime/base/error.h"
#include "runtime/io/json/sealed_json.h"

namespace trireme {

using nlohmann::json;

namespace {

constexpr const char* kFormat = "trireme checkpoint";

json state_json(const TrainingState& state) {
  json value = {{"step", state.step},
                {"updates", state.updates},
                {"tokens", state.tokens},
                {"data", {{"epoch", state.data.epoch}, {"sample", state.data.sample}}},
                {"seed", state.seed},
                {"schedule", json(state.schedule)},
                {"router_biases", json(state.router_biases)},
                {"router_loads", json(state.router_loads)},
                {"z_scores", json::object()},
                {"layout", json(state.layout)},
                {"config", json(state.config)}};
  for (const auto& [name, biases] : state.router_biases) {
    for (const float bias : biases) TRIREME_CHECK(std::isfinite(bias), "bias {} of {}", bias, name);
  }
  for (const auto& [name, loads] : state.router_loads) {
    for (const double load : loads) TRIREME_CHECK(std::isfinite(load), "load {} of {}", load, name);
  }
  if (state.best) {
    TRIREME_CHECK(std::isfinite(state.best->loss));
    value["best"] = {{"step", state.best->step}, {"loss", state.best->loss}};
  }
  for (const auto& [name, series] : state.z_scores) {
    TRIREME_CHECK(std::isfinite(series.mean) && std::isfinite(series.variance), "{}", name);
    value["z_scores"][name] = {{"count", series.count}, {"mean", series.mean}, {"variance", series.variance}};
  }
  if (const auto& scaler = state.loss_scaler) {
    TRIREME_CHECK(std::isfinite(scaler->scale), "loss scale {}", scaler->scale);
    value["loss_scaler"] = {{"scale", scaler->scale},
                            {"clean_steps", scaler->clean_steps},
                            {"skips_in_a_row", scaler->skips_in_a_row},
                            {"skips", scaler->skips}};
  }
  return value;
}

LossScalerState read_loss_scaler(const JsonPlace& place) {
  place.allow_only({"scale", "clean_steps", "skips_in_a_row", "skips"});
  LossScalerState state{.scale = place.at("scale").number(),
                        .clean_steps = place.at("clean_steps").integer(),
                        .skips_in_a_row = place.at("skips_in_a_row").integer(),
                        .skips = place.at("skips").integer()};
  if (!(state.scale > 0 && state.scale <= LossScaler::kLargest))
    place.at("scale").refuse("is {}: expected more than 0 and at most 2^64", state.scale);
  return state;
}

SeriesState read_series(const JsonPlace& place) {
  place.allow_only({"count", "mean", "variance"});
  return {place.at("count").integer(), place.at("mean").number(), place.at("variance").number()};
}

TrainingState read_state(const JsonPlace& place) {
  place.allow_only({"step", "updates", "tokens", "data", "seed", "schedule", "loss_scaler", "router_biases",
                    "router_loads", "z_scores", "best", "layout", "config"});
  TrainingState state;
  state.step = place.at("step").integer();
  state.updates = place.at("updates").integer();
  state.tokens = place.at("tokens").integer();
  const JsonPlace data = place.at("data");
  data.allow_only({"epoch", "sample"});
  state.data = {data.at("epoch").integer(), data.at("sample").integer()};
  state.seed = place.at("seed").unsigned_integer();
  state.schedule = place.at("schedule").texts();
  state.layout = place.at("layout").texts();
  state.config = place.at("config").texts();
  if (place.has("loss_scaler")) state.loss_scaler = read_loss_scaler(place.at("loss_scaler"));
  for (const auto& [name, biases] : place.at("router_biases").entries()) {
    std::vector<float>& values = state.router_biases[name];
    for (const JsonPlace& bias : biases.list()) {
      values.push_back(static_cast<float>(bias.number()));
      if (!std::isfinite(values.back())) bias.refuse("is beyond the numbers of 32 bits");
    }
  }
  for (const auto& [name, loads] : place.at("router_loads").entries()) {
    for (const JsonPlace& load : loads.list()) state.router_loads[name].push_back(load.number());
  }
  if (place.has("best")) {
    const JsonPlace best = place.at("best");
    best.allow_only({"step", "loss"});
    state.best = BestState{best.at("step").integer(), best.at("loss").number()};
  }
  for (const auto& [name, series] : place.at("z_scores").entries())
    state.z_scores[name] = read_series(series);
  return state;
}

}  // namespace

std::string manifest_text(const Manifest& manifest) {
  const json stored = to_json(manifest.stored);
  return seal_json({{"format", kFormat},
                    {"version", kCheckpointVersion},
                    {"state", state_json(manifest.state)},
                    {"proof", to_string(manifest.proof)},
                    {"files", stored.at("files")},
                    {"tensors", stored.at("tensors")}});
}

Manifest parse_manifest(const std::string& text, const std::string& path) {
  json object = open_sealed_json(text, path);
  const JsonPlace root(object, path, "");
  if (root.at("format").text() != kFormat)
    root.at("format").refuse("is {}: expected \"{}\"", root.at("format").text(), kFormat);
  const int64_t version = root.at("version").integer(1);
  if (version > kCheckpointVersion) {
    root.at("version").refuse(
        "is {}: it was written by a newer version of this program, which reads up to {}", version,
        kCheckpointVersion);
  }
  root.allow_only({"format", "version", "state", "proof", "files", "tensors"});
  Manifest manifest;
  manifest.state = read_state(root.at("state"));
  const Hash128 proof = root.at("proof").hash();
  manifest.proof = ProofHash({proof.high, proof.low});
  json stored = json::object();  // moved: it may be large
  for (const char* name : {"files", "tensors"}) {
    root.at(name);
    stored[name] = std::move(object[name]);
  }
  manifest.stored = stored_from_json(stored, path);
  check_stored(manifest.stored, path);
  return manifest;
}

}  // namespace trireme
