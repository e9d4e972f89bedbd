// SPDX-License-Identifier: Apache-2.0
#include "engine/cache_identity.h"

#include <algorithm>
#include <future>
#include <sstream>

#include "kv_store/page_file.h"
#include "qwin/version.h"

namespace qwin {

namespace {

// Raised whenever K and V of the same model come out in other bits or another order.
constexpr int kKvVersion = 6;
constexpr uint64_t kPieceBytes = uint64_t{64} << 20;

// Digests of all pieces of all tensors, in the order of the file.
std::vector<PageDigest> content_digests(const ModelFiles& files) {
  std::vector<std::future<PageDigest>> pieces;
  std::vector<PageDigest> digests;
  const auto collect = [&](size_t most) {
    while (pieces.size() > most) {
      digests.push_back(pieces.front().get());
      pieces.erase(pieces.begin());
    }
  };
  for (const TensorInfo& tensor : files.tensors.tensors()) {
    for (uint64_t offset = 0; offset < tensor.data.size(); offset += kPieceBytes) {
      const FileSpan piece =
          tensor.data.sub(offset, std::min(kPieceBytes, tensor.data.size() - offset), tensor.name.c_str());
      pieces.push_back(std::async(std::launch::async, [piece] { return sha256({piece.data(), piece.size()}); }));
      collect(1);
    }
  }
  collect(0);
  return digests;
}

}  // namespace

std::string cache_identity(const ModelConfig& config, const ModelFiles& files, const KvShape& shape,
                           const std::string& arithmetic) {
  std::ostringstream text;
  text.precision(17);
  text << kVersion << ' ' << kKvVersion << ' ' << arithmetic << ' ' << shape.num_layers << ' ' << shape.num_kv_heads
       << ' ' << shape.head_dim << ' ' << static_cast<int>(shape.type) << ' ' << kPageSize << ' ' << config.architecture
       << ' ' << config.num_heads << ' ' << config.rms_norm_eps << ' ' << config.rope_theta << ' '
       << config.yarn.enabled << ' ' << config.yarn.factor << ' ' << config.yarn.beta_fast << ' '
       << config.yarn.beta_slow << ' ' << config.yarn.attention_factor << ' ' << config.yarn.original_max_positions
       << ' ' << config.yarn.truncate;
  if (const DualChunkConfig& chunk = config.dual_chunk; chunk.enabled())
    text << ' ' << chunk.chunk_size << ' ' << chunk.local_size << ' ' << chunk.original_max_positions;
  for (const uint32_t window : config.layer_window) text << ' ' << window;
  for (const TensorInfo& tensor : files.tensors.tensors()) {
    text << '\n' << tensor.name << ' ' << static_cast<int>(tensor.dtype);
    for (const uint64_t d : tensor.shape) text << ' ' << d;
  }
  const std::vector<PageDigest> digests = content_digests(files);
  const PageDigest content = sha256(std::as_bytes(std::span(digests)));
  text << '\n' << page_file_name(content);
  return text.str();
}

}  // namespace qwin
