// SPDX-License-Identifier: Apache-2.0
#include "model/head_ranks.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <sstream>

#include "io/json.h"
#include "io/output_file.h"

namespace qwin {

namespace {

constexpr int kVersion = 1;

[[noreturn]] void refuse(const std::string& file, const std::string& why) {
  throw Error(ErrorCode::bad_config, file + " " + why + "; `qwin calibrate-heads` writes it anew");
}

}  // namespace

std::string heads_file(const std::string& path) {
  const std::filesystem::path model(path);
  return std::filesystem::is_directory(model) ? (model / "qwin_heads.json").string() : path + ".heads.json";
}

void write_heads(const std::string& file, const ModelConfig& config, const HeadMeasurement& heads) {
  Json lost = Json::array();
  for (uint32_t layer = 0; layer < config.num_layers; ++layer) {
    const auto begin = heads.lost.begin() + layer * config.num_kv_heads;
    lost.push_back(std::vector<double>(begin, begin + config.num_kv_heads));
  }
  const Json document{{"version", kVersion},
                      {"num_layers", config.num_layers},
                      {"num_kv_heads", config.num_kv_heads},
                      {"num_tokens", heads.num_tokens},
                      {"window", heads.window},
                      {"num_sink_tokens", heads.num_sink_tokens},
                      {"memory_top_k", heads.memory_top_k},
                      {"lost", std::move(lost)}};
  const std::string text = document.dump() + "\n";
  OutputFile out(file);
  out.write(text.data(), text.size());
  out.commit();
}

std::optional<std::vector<int32_t>> read_head_ranks(const std::string& file, const ModelConfig& config) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) return std::nullopt;
  std::ostringstream text;
  text << stream.rdbuf();
  std::vector<double> lost;
  try {
    const Json document = parse_json(text.view(), "heads", ErrorCode::bad_config);
    if (document.at("version") != kVersion) refuse(file, "is of another version");
    if (document.at("num_layers") != config.num_layers || document.at("num_kv_heads") != config.num_kv_heads)
      refuse(file, "belongs to another model");
    for (const Json& layer : document.at("lost")) {
      for (const Json& head : layer) lost.push_back(head.get<double>());
    }
  } catch (const Json::exception&) {
    refuse(file, "is damaged");
  }
  if (lost.size() != size_t{config.num_layers} * config.num_kv_heads) refuse(file, "is damaged");
  std::vector<int32_t> order(lost.size()), ranks(lost.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, std::greater<>(), [&](int32_t head) { return lost[static_cast<size_t>(head)]; });
  for (size_t place = 0; place < order.size(); ++place)
    ranks[static_cast<size_t>(order[place])] = static_cast<int32_t>(place);
  return ranks;
}

}  // namespace qwin
