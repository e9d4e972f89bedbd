// SPDX-License-Identifier: Apache-2.0
#include "io/safetensors.h"

#include <algorithm>
#include <map>
#include <set>

#include "core/printable.h"
#include "io/json.h"
#include "io/safetensors_header.h"
#include "qwin/error.h"

namespace qwin {
namespace {

constexpr char kSingleName[] = "model.safetensors";
constexpr char kIndexName[] = "model.safetensors.index.json";
constexpr uint64_t kMaxIndexBytes = 4u << 20;

using WeightMap = std::map<std::string, std::string>;  // tensor -> shard

std::string_view header_text(SpanReader& reader, const std::string& label, uint64_t& header_bytes_left) {
  const uint64_t length = reader.read<uint64_t>((label + ": header length").c_str());
  if (length > header_bytes_left) {
    throw Error(ErrorCode::too_large, label + ": a header of " + std::to_string(length) +
                                          " bytes; all headers together may have " +
                                          std::to_string(kMaxSafetensorsHeaderBytes));
  }
  header_bytes_left -= length;
  return reader.read_span(length, (label + ": header").c_str()).text();
}

// Each tensor must begin where the one before ended, and the last must end with the buffer.
void check_cover(const std::vector<SafetensorsEntry>& entries, uint64_t buffer_bytes, const std::string& label) {
  std::vector<const SafetensorsEntry*> by_offset;
  by_offset.reserve(entries.size());
  for (const SafetensorsEntry& entry : entries) by_offset.push_back(&entry);
  std::sort(by_offset.begin(), by_offset.end(), [](auto* a, auto* b) { return a->begin < b->begin; });
  uint64_t end = 0;
  for (const SafetensorsEntry* entry : by_offset) {
    if (entry->begin != end || entry->end < entry->begin) {
      throw Error(ErrorCode::out_of_file, label + ": tensor " + printable(entry->name) +
                                              " overlaps another or leaves a hole before it: data_offsets " +
                                              std::to_string(entry->begin) + " to " + std::to_string(entry->end));
    }
    end = entry->end;
  }
  if (end != buffer_bytes) {
    throw Error(ErrorCode::out_of_file, label + ": the tensors end at " + std::to_string(end) + " but the file has " +
                                            std::to_string(buffer_bytes) + " bytes of data");
  }
}

// Sizes before ranges: what a shape needs must be what its offsets give.
void check_size(const SafetensorsEntry& entry, const std::string& label) {
  const uint64_t bytes = tensor_bytes(entry.name, entry.dtype, entry.shape);
  if (entry.end < entry.begin || entry.end - entry.begin != bytes) {
    throw Error(ErrorCode::bad_shape, label + ": tensor " + printable(entry.name) + " needs " + std::to_string(bytes) +
                                          " bytes but has data_offsets " + std::to_string(entry.begin) + " to " +
                                          std::to_string(entry.end));
  }
}

WeightMap read_index(const ModelDirectory& directory) {
  const std::optional<std::string> text = directory.read_text(kIndexName, kMaxIndexBytes);
  const Json index = parse_json(*text, kIndexName, ErrorCode::bad_config);
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object()) {
    throw Error(ErrorCode::bad_config, std::string(kIndexName) + ": no weight_map");
  }
  WeightMap shard_of;
  for (const auto& [tensor, shard] : index["weight_map"].items()) {
    if (!shard.is_string()) {
      throw Error(ErrorCode::bad_config,
                  std::string(kIndexName) + ": the shard of " + printable(tensor) + " is no string");
    }
    shard_of.emplace(tensor, shard.get<std::string>());
  }
  return shard_of;
}

// Every name is judged before the first file is opened.
std::set<std::string> shard_names(const WeightMap& shard_of) {
  std::set<std::string> names;
  for (const auto& [tensor, shard] : shard_of) names.insert(shard);
  if (names.size() > kMaxShards) throw Error(ErrorCode::too_large, std::to_string(names.size()) + " shards");
  for (const std::string& name : names) {
    check_file_name(name);
    if (!name.ends_with(".safetensors")) {
      throw Error(ErrorCode::path, std::string(kIndexName) + ": " + printable(name) + " is no .safetensors file");
    }
  }
  return names;
}

void check_against_index(const WeightMap& shard_of, const TensorTable& table, const std::string& shard) {
  for (const TensorInfo& tensor : table.tensors()) {
    const std::string& name = tensor.name;
    const auto entry = shard_of.find(name);
    if (entry != shard_of.end() && entry->second != shard) {
      throw Error(ErrorCode::missing_tensor, printable(shard) + " holds tensor " + printable(name) +
                                                 ", which the index places in " + printable(entry->second));
    }
  }
}

}  // namespace

void read_safetensors(FileSpan file, const std::string& label, uint64_t& header_bytes_left, TensorTable& table) {
  SpanReader reader(file);
  const std::string_view header = header_text(reader, label, header_bytes_left);
  std::vector<SafetensorsEntry> entries = parse_safetensors_header(header, label);
  const FileSpan buffer = reader.read_span(reader.remaining(), label.c_str());
  for (const SafetensorsEntry& entry : entries) check_size(entry, label);
  check_cover(entries, buffer.size(), label);
  for (SafetensorsEntry& entry : entries) {
    const FileSpan data = buffer.sub(entry.begin, entry.end - entry.begin, label.c_str());
    table.add({std::move(entry.name), entry.dtype, std::move(entry.shape), data});
  }
}

SafetensorsFiles open_safetensors_directory(const ModelDirectory& directory) {
  SafetensorsFiles out;
  uint64_t header_bytes_left = kMaxSafetensorsHeaderBytes;
  if (directory.contains(kSingleName)) {
    out.files.push_back(directory.open(kSingleName));
    read_safetensors(out.files.back()->span(), kSingleName, header_bytes_left, out.tensors);
    return out;
  }
  if (!directory.contains(kIndexName)) {
    throw Error(ErrorCode::missing_tensor, directory.path() + ": neither " + kSingleName + " nor " + kIndexName);
  }
  const WeightMap shard_of = read_index(directory);
  for (const std::string& shard : shard_names(shard_of)) {
    if (!directory.contains(shard)) throw Error(ErrorCode::missing_tensor, "shard " + printable(shard) + " is missing");
    TensorTable table;
    out.files.push_back(directory.open(shard));
    read_safetensors(out.files.back()->span(), shard, header_bytes_left, table);
    check_against_index(shard_of, table, shard);
    for (const TensorInfo& tensor : table.tensors()) out.tensors.add(tensor);
  }
  for (const auto& [tensor, shard] : shard_of) {
    if (out.tensors.find(tensor) == nullptr) {
      throw Error(ErrorCode::missing_tensor, printable(shard) + " does not hold tensor " + printable(tensor));
    }
  }
  return out;
}

}  // namespace qwin
