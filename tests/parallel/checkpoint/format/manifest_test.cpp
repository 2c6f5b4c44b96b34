#include "parallel/checkpoint/format/manifest.h"

#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/base/error.h"
#include "runtime/io/json/sealed_json.h"

#include "tests/support/expect_error.h"

namespace trireme {
namespace {

using nlohmann::json;

/// Two files with two tensors, one of them in three parts.
Manifest small_manifest() {
  Manifest m;
  m.state.step = 1000;
  m.state.updates = 993;
  m.state.tokens = int64_t{1} << 40;
  m.state.data = {2, 345};
  m.state.seed = ~uint64_t{0};
  m.state.schedule = {{"optimizer.lr", "0.001"}};
  m.state.loss_scaler = LossScalerState{65536, 3, 0, 7};
  m.state.router_biases = {{"layers.0.ffn.router", {0.1f, -3e-9f, 1e30f}}};
  m.state.router_loads = {{"layers.0.ffn.router", {0.1, 2.0 / 3.0, 0}}};
  m.state.best = BestState{900, 1.0 / 3.0};
  m.state.z_scores = {{"loss", {55, 0.1, 1e-300}}};
  m.state.layout = {{"parallel.tensor", "2"}};
  m.state.config = {{"model.family", "gpt2"}, {"data.text", "a \"quoted\" path"}};
  m.proof = ProofHash({1, 2});
  m.stored.files = {{"rank-00000.safetensors", 148, 100, {3, 4}},
                    {"rank-00001.safetensors", 142, 100, {5, 6}}};
  const auto part = [](const Box& box, size_t file, int64_t begin) {
    return StoredSlice{{"w", DType::f32, {4, 5}, box}, file, begin, {7, static_cast<uint64_t>(begin)}};
  };
  m.stored.slices = {{whole_slice("b", DType::bf16, {5}), 1, 132, {9, 9}},
                     part({{0, 0}, {3, 4}}, 0, 100),
                     part({{0, 4}, {3, 1}}, 1, 100),
                     part({{3, 0}, {1, 5}}, 1, 112)};
  return m;
}

TEST(Manifest, ComesBackAsItWas) {
  const Manifest m = small_manifest();
  const Manifest back = parse_manifest(manifest_text(m), "manifest.json");
  EXPECT_EQ(back.state, m.state);
  EXPECT_EQ(back.proof, m.proof);
  EXPECT_EQ(back.stored, m.stored);
  EXPECT_EQ(manifest_text(back), manifest_text(m));
}

// The seal finds what changes by accident: these are written so, by a program with a defect or by hand.
TEST(Manifest, RefusesWithFileAndKey) {
  json good = json::parse(manifest_text(small_manifest()));
  good.erase("xxh3");
  using Change = std::function<void(json&)>;
  struct Case {
    Change change;
    const char* message;
  };
  const std::vector<Case> cases = {
      {[](json& m) { m["format"] = "other"; }, "\"format\""},
      {[](json& m) { m["version"] = 2; }, "\"version\" is 2: it was written by a newer version"},
      {[](json& m) { m["version"] = "1"; }, "\"version\" is \"1\": expected an integer"},
      {[](json& m) { m.erase("state"); }, "has no \"state\""},
      {[](json& m) { m["extra"] = 1; }, "has \"extra\", which this version does not know"},
      {[](json& m) { m["state"]["step"] = -1; }, "\"state.step\" is -1: expected an integer from 0"},
      {[](json& m) { m["state"]["step"] = 1.5; }, "\"state.step\" is 1.5"},
      {[](json& m) { m["state"]["tokens"] = ~uint64_t{0}; }, "\"state.tokens\""},
      {[](json& m) {
         m["state"]["data"] = {1, 2};
       },
       "\"state.data\" is [1,2]: expected an object"},
      {[](json& m) { m["state"]["data"].erase("epoch"); }, "\"state.data\" has no \"epoch\""},
      {[](json& m) { m["state"]["config"]["x"] = 1; }, "\"state.config.x\" is 1: expected a string"},
      {[](json& m) { m["state"]["loss_scaler"]["scale"] = 0; }, "\"state.loss_scaler.scale\" is 0"},
      {[](json& m) { m["state"]["router_biases"]["r"] = {1e300}; }, "\"state.router_biases.r[0]\" is beyond"},
      {[](json& m) { m["proof"] = "12"; }, "\"proof\" is \"12\": expected 32 hexadecimal digits"},
      {[](json& m) { m["files"] = json::object(); }, "\"files\" is {}: expected a list"},
      {[](json& m) { m["files"][0]["name"] = "../x.safetensors"; }, "\"files[0].name\" is ../x.safetensors"},
      {[](json& m) { m["files"][0]["name"] = "/x.safetensors"; }, "expected the plain name of a file"},
      {[](json& m) { m["files"][0]["name"] = "manifest.json"; }, "\"files[0].name\""},
      {[](json& m) { m["files"][0]["name"] = m["files"][1]["name"]; }, "\"files[1].name\": rank-00001"},
      {[](json& m) { m["files"][0]["head_bytes"] = 1000; }, "\"files[0].head_bytes\" is 1000"},
      {[](json& m) { m["files"][0]["bytes"] = 149; }, "\"files[0].bytes\" of rank-00000.safetensors is 149"},
      {[](json& m) { m["tensors"]["w"]["dtype"] = "f33"; }, "\"tensors.w.dtype\" is f33"},
      {[](json& m) { m["tensors"]["w"]["shape"] = {4, 5, 1, 1, 1, 1, 1}; }, "\"tensors.w.shape\" has 7 dims"},
      {[](json& m) {
         m["tensors"]["w"]["shape"] = {int64_t{1} << 40, int64_t{1} << 40};
       },
       "more bytes than 2^63"},
      {[](json& m) { m["tensors"]["w"]["slices"] = json::array(); }, "\"tensors.w.slices\" is empty"},
      {[](json& m) { m["tensors"]["w"]["slices"][0][0] = 2; }, "\"tensors.w.slices[0][0]\" is 2"},
      {[](json& m) { m["tensors"]["w"]["slices"][0][2] = {0}; }, "expected a list of 2 entries"},
      {[](json& m) {
         m["tensors"]["w"]["slices"][0][3] = {3, 6};
       },
       "\"tensors.w.slices[0]\" is not part"},
      {[](json& m) {
         m["tensors"]["w"]["slices"][0][3] = {0, 4};
       },
       "\"tensors.w.slices[0]\" is not part"},
      {[](json& m) { m["tensors"]["w"]["slices"][0][1] = 140; }, "has 48 bytes from byte 140"},
      {[](json& m) { m["tensors"]["w"]["slices"][1][1] = 104; }, "there is a gap"},
      {[](json& m) { m["tensors"]["w"]["slices"][2][1] = 108; }, "it overlaps another"},
      {[](json& m) {
         m["tensors"]["w"]["slices"][2][2] = {2, 0};
       },
       "w[0:3, 0:4] and w[2:3, 0:5] overlap"},
      {[](json& m) {
         m["tensors"]["w"]["shape"] = {5, 5};
       },
       "its slices have 20 of its 25 elements"},
      {[](json& m) { m["tensors"].erase("b"); }, "its slices end at byte 132"},
  };
  for (const Case& c : cases) {
    json changed = good;
    c.change(changed);
    SCOPED_TRACE(c.message);
    test::expect_error(ExitCode::checkpoint, {"dir/manifest.json", c.message},
                       [&] { parse_manifest(seal_json(changed), "dir/manifest.json"); });
  }
}

TEST(Manifest, EveryTruncationAndBitIsFound) {
  const std::string text = manifest_text(small_manifest());
  for (size_t i = 0; i < text.size(); i += 3) {
    test::expect_error(ExitCode::checkpoint, {"the/file"},
                       [&] { parse_manifest(text.substr(0, i), "the/file"); });
    std::string changed = text;
    changed[i] = static_cast<char>(changed[i] ^ (1 << i % 8));
    test::expect_error(ExitCode::checkpoint, {"the/file"}, [&] { parse_manifest(changed, "the/file"); });
  }
}

// With a cost that grows with the square of the number this takes minutes, and the test's time runs out.
TEST(Manifest, VeryManySlicesAreCheckedInLinearTime) {
  StoredFiles stored;
  constexpr int64_t kColumns = 400, kRows = 500;
  stored.files = {{"a.safetensors", 8 + kColumns * kRows, 8, {}}};
  for (int64_t i = 0; i < kColumns * kRows; ++i) {
    Slice slice = whole_slice("w", DType::u8, {kRows, kColumns});
    slice.box = {{i / kColumns, i % kColumns}, {1, 1}};
    stored.slices.push_back({slice, 0, 8 + i, {}});
  }
  check_stored(stored, "manifest");
  stored.slices[77'777].slice.box.offset = {77'776 / kColumns, 77'776 % kColumns};
  test::expect_error(ExitCode::checkpoint, {"\"tensors.w\" is incomplete"},
                     [&] { check_stored(stored, "manifest"); });
}

}  // namespace
}  // namespace trireme
