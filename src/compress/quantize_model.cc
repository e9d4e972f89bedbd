// SPDX-License-Identifier: Apache-2.0
#include "compress/quantize_model.h"

#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <limits>

#include "compress/quantize_tensor.h"
#include "core/printable.h"
#include "io/gguf_file_writer.h"
#include "kernels/packed_layout.h"
#include "model/config.h"
#include "model/row_residual.h"
#include "quant/dequantize.h"
#include "qwin/error.h"

namespace qwin {
namespace {

bool is_vocabulary_name(std::string_view name) {
  return name == "token_embd.weight" || name == "output.weight" || name == "model.embed_tokens.weight" ||
         name == "lm_head.weight";
}

bool is_ffn(std::string_view name) {
  return name.find(".ffn_") != std::string_view::npos || name.find(".mlp.") != std::string_view::npos;
}

// -1 for one that is in no layer; the head is behind the last one.
int layer_of(std::string_view name) {
  if (is_vocabulary_name(name)) return std::numeric_limits<int>::max();
  for (const std::string_view prefix : {"model.layers.", "blk."}) {
    int layer = 0;
    if (name.starts_with(prefix) &&
        std::from_chars(name.data() + prefix.size(), name.data() + name.size(), layer).ec == std::errc())
      return layer;
  }
  return -1;
}

class Quantizer {
 public:
  Quantizer(const ModelFiles& source, const QuantizeOptions& options, const std::string& path, ThreadTeam& team)
      : source_(source),
        options_(options),
        tensors_(tensors_by_layer(source)),
        quantizer_(team, options.profile.group_size),
        writer_(path) {
    for (const TensorInfo* tensor : tensors_) total_ += tensor->data.size();
    announce();
  }

  uint64_t file_bytes() const { return writer_.announced_bytes(); }

  QuantizeReport run() {
    for (const TensorInfo* tensor : tensors_) {
      convert(*tensor);
      done_ += tensor->data.size();
      report_progress(0);
    }
    if (options_.check) options_.check(writer_.readable_path());
    writer_.finish();
    uint64_t elements = 0, bytes = 0;
    for (const TensorReport& tensor : report_.tensors) elements += tensor.elements, bytes += tensor.bytes;
    report_.file_bytes = writer_.file_bytes();
    report_.bits_per_weight = 8.0 * static_cast<double>(bytes) / static_cast<double>(elements);
    report_.fp16_share = static_cast<double>(report_.file_bytes) / (2.0 * static_cast<double>(elements));
    return std::move(report_);
  }

 private:
  void announce() {
    choose_rows();
    writer_.add_uint(kOwnFormatKey, rows_.empty() ? kOwnFormatVersion : kResidualFormatVersion);
    for (const auto& [name, rows] : rows_) writer_.add_uints(residual_rows_key(name), rows);
    if (source_.format == ModelFiles::Format::safetensors) {
      announce_documents();
    } else {
      for (const auto& [key, value] : source_.gguf.entries()) {
        if (is_kept(key)) writer_.add(key, value);
      }
    }
    for (const TensorInfo* tensor : tensors_) {
      writer_.add_tensor(tensor->name, quantized_type(*tensor, options_.profile), tensor->shape);
      if (const auto rows = rows_.find(tensor->name); rows != rows_.end())
        writer_.add_tensor(residual_tensor_name(tensor->name), kResidualType, {rows->second.size(), tensor->shape[1]});
    }
  }

  void choose_rows() {
    for (const TensorInfo* tensor : tensors_) {
      const size_t count = residual_rows(*tensor, options_.profile);
      if (count == 0) continue;
      if (options_.calibration == nullptr) {
        throw Error(ErrorCode::invalid_argument,
                    "rows with residuals are chosen by what a text uses: give --calibrate FILE");
      }
      rows_[tensor->name] = options_.calibration->vocabulary_use().most_used(count);
    }
  }

  // What tells of the source's types, alignment and parts is not true of the result.
  static bool is_kept(std::string_view key) {
    return key != "general.file_type" && key != "general.quantization_version" && key != "general.alignment" &&
           key != kOwnFormatKey && !key.starts_with("split.");
  }

  void announce_documents() {
    const auto add_json = [&](const DocumentKey& key, const Json& document) {
      if (!document.is_null()) writer_.add_string(key.key, document.dump());
    };
    add_json(kConfigKey, source_.config);
    add_json(kGenerationConfigKey, source_.generation_config);
    add_json(kTokenizerConfigKey, source_.tokenizer_config);
    if (source_.tokenizer_json) writer_.add_string(kTokenizerKey.key, *source_.tokenizer_json);
    if (source_.chat_template) writer_.add_string(kChatTemplateKey.key, *source_.chat_template);
  }

  void convert(const TensorInfo& tensor) {
    TensorReport report{.name = tensor.name, .from = tensor.dtype, .to = quantized_type(tensor, options_.profile)};
    report.elements = tensor.num_elements();
    report.bytes = tensor_bytes(tensor.name, report.to, tensor.shape);
    const TensorCalibration calibration =
        options_.calibration == nullptr ? TensorCalibration{} : options_.calibration->of(tensor.name);
    const bool is_vector = tensor.shape.size() == 1;
    if (is_vector || (report.to == tensor.dtype && calibration.factors == nullptr)) {
      is_vector ? write_vector(tensor, calibration.factors) : writer_.write_tensor(tensor.data.data(), report.bytes);
      report_.tensors.push_back(std::move(report));
      return;
    }
    const uint64_t stored_row = tensor.data.size() / tensor.shape[0];
    const auto [blocks, squares] =
        quantizer_.quantize(tensor, report.to, calibration, [&](size_t rows) { report_progress(rows * stored_row); });
    report.relative_error = squares.weights > 0 ? squares.error / squares.weights : 0;
    writer_.write_tensor(blocks.data(), blocks.size());
    const DType type = report.to;
    report_.tensors.push_back(std::move(report));
    if (const auto rows = rows_.find(tensor.name); rows != rows_.end())
      convert_residual(tensor, rows->second, blocks, type, calibration);
  }

  void write_vector(const TensorInfo& tensor, const ChannelFactors* factors) {
    std::vector<float> values(tensor.shape[0]);
    dequantize(tensor.dtype, tensor.data.data(), values.size(), values.data());
    for (size_t i = 0; i < values.size(); ++i) apply_factors(factors, i, {&values[i], 1});
    writer_.write_tensor(reinterpret_cast<const std::byte*>(values.data()), values.size() * sizeof(float));
  }

  // What `blocks` [all rows of the tensor] of type `base` have lost of some of its rows.
  void convert_residual(const TensorInfo& tensor, const std::vector<int32_t>& rows, std::span<const std::byte> blocks,
                        DType base, const TensorCalibration& calibration) {
    const size_t columns = tensor.shape[1];
    std::vector<float> lost(rows.size() * columns), kept(columns);
    for (size_t i = 0; i < rows.size(); ++i) {
      const auto row = static_cast<size_t>(rows[i]);
      float* out = &lost[i * columns];
      read_row(tensor, row, out);
      dequantize(base, blocks.data() + row * row_bytes(base, columns), columns, kept.data());
      for (size_t k = 0; k < columns; ++k) out[k] -= kept[k];
    }
    const TensorInfo residual{.name = residual_tensor_name(tensor.name),
                              .dtype = DType::f32,
                              .shape = {rows.size(), columns},
                              .data = FileSpan::of_memory(lost.data(), lost.size() * sizeof(float))};
    const auto [stored, squares] = quantizer_.quantize(residual, kResidualType, calibration);
    report_.tensors.push_back({.name = residual.name,
                               .from = tensor.dtype,
                               .to = kResidualType,
                               .elements = 0,  // weights that are counted already
                               .bytes = stored.size(),
                               .relative_error = squares.weights > 0 ? squares.error / squares.weights : 0});
    writer_.write_tensor(stored.data(), stored.size());
  }

  // `bytes` of the tensor in work are read.
  void report_progress(uint64_t bytes) {
    if (options_.progress) options_.progress(done_ + bytes, total_);
  }

  const ModelFiles& source_;
  const QuantizeOptions& options_;
  const std::vector<const TensorInfo*> tensors_;
  std::map<std::string, std::vector<int32_t>> rows_;  // with residuals
  TensorQuantizer quantizer_;
  GgufFileWriter writer_;
  QuantizeReport report_;
  uint64_t done_ = 0, total_ = 0;
};

}  // namespace

QuantizeProfile quantize_profile(std::string_view name) {
  if (name == "q4") return {};
  if (name == "q4-ffn8") return {.attention = DType::q4, .ffn = DType::q8, .head = DType::q8};
  if (name == "q8") return {.attention = DType::q8, .ffn = DType::q8, .head = DType::q8};
  throw Error(ErrorCode::invalid_argument, "there is no profile " + std::string(name) + "; use q4, q4-ffn8 or q8");
}

std::vector<const TensorInfo*> tensors_by_layer(const ModelFiles& source) {
  std::vector<const TensorInfo*> tensors;
  for (const TensorInfo& tensor : source.tensors.tensors()) tensors.push_back(&tensor);
  std::ranges::stable_sort(tensors, {}, [](const TensorInfo* tensor) { return layer_of(tensor->name); });
  return tensors;
}

bool is_quantizable(const TensorInfo& tensor) {
  return tensor.shape.size() == 2 && tensor.shape[1] % dtype_info(DType::q4).block_elements == 0;
}

DType quantized_type(const TensorInfo& tensor, const QuantizeProfile& profile) {
  if (tensor.shape.size() == 1) return DType::f32;
  if (!is_quantizable(tensor)) return tensor.dtype;
  if (const auto planned = profile.types.find(tensor.name); planned != profile.types.end()) return planned->second;
  if (is_vocabulary(tensor)) return profile.head;
  return is_ffn(tensor.name) ? profile.ffn : profile.attention;
}

bool is_vocabulary(const TensorInfo& tensor) { return is_vocabulary_name(tensor.name); }

size_t rows_of_part(const TensorInfo& tensor, size_t part) { return tensor.shape[0] / part / kTileRows * kTileRows; }

size_t residual_rows(const TensorInfo& tensor, const QuantizeProfile& profile) {
  if (profile.types.contains(tensor.name)) {
    const auto planned = profile.residual_rows.find(tensor.name);
    return planned == profile.residual_rows.end() ? 0 : planned->second;
  }
  const bool may = is_vocabulary(tensor) && profile.head == DType::q4 && is_quantizable(tensor);
  return may && profile.residual_part > 0 ? rows_of_part(tensor, profile.residual_part) : 0;
}

uint64_t residual_bytes(const TensorInfo& tensor, size_t num_rows) {
  return num_rows == 0 ? 0 : num_rows * (row_bytes(kResidualType, tensor.shape[1]) + sizeof(uint32_t));
}

uint64_t quantized_bytes(const ModelFiles& source, const QuantizeProfile& profile, const std::string& path,
                         ThreadTeam& team) {
  QuantizeProfile bare = profile;
  bare.residual_part = 0;
  bare.residual_rows.clear();
  return Quantizer(source, {.profile = bare}, path, team).file_bytes();
}

void check_source(const ModelFiles& source) {
  for (const TensorInfo& tensor : source.tensors.tensors()) {
    if (source.tensors.find(residual_tensor_name(tensor.name)) != nullptr) {
      throw Error(ErrorCode::invalid_argument, "the source was quantized with a residual of " + printable(tensor.name) +
                                                   "; quantize the model it was made of");
    }
  }
}

void check_destination(const ModelFiles& source, const std::string& path) {
  struct stat destination, file;
  if (stat(path.c_str(), &destination) != 0) return;
  for (const auto& mapped : source.files) {
    if (stat(mapped->path().c_str(), &file) == 0 && file.st_dev == destination.st_dev &&
        file.st_ino == destination.st_ino) {
      throw Error(ErrorCode::invalid_argument, path + " is the model that is read; give another name");
    }
  }
}

QuantizeReport quantize_model(const ModelFiles& source, const QuantizeOptions& options, const std::string& path,
                              ThreadTeam& team) {
  check_tensors(read_model_config(source), source);
  check_source(source);
  check_destination(source, path);
  return Quantizer(source, options, path, team).run();
}

}  // namespace qwin
