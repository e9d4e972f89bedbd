// SPDX-License-Identifier: Apache-2.0
#include "hub/hub_api.h"

#include <algorithm>
#include <cstdlib>

#include "hub/http.h"
#include "io/json.h"
#include "qwin/error.h"

namespace qwin {
namespace {

constexpr std::string_view kPublicHub = "https://huggingface.co";
constexpr std::string_view kPreferredQuantization = "q4_k_m";
constexpr size_t kMaxPageBytes = size_t{16} << 20;
constexpr int kMaxPages = 50;
constexpr size_t kMaxChoicesShown = 40;

std::string percent_encoded(std::string_view path) {
  std::string result;
  for (char c : path) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                       std::string_view("-._~/").find(c) != std::string_view::npos;
    if (plain) {
      result += c;
      continue;
    }
    result += '%';
    result += "0123456789ABCDEF"[static_cast<unsigned char>(c) >> 4];
    result += "0123456789ABCDEF"[static_cast<unsigned char>(c) & 15];
  }
  return result;
}

// A revision is one path component: refs/pr/1 becomes refs%2Fpr%2F1.
std::string encoded_revision(std::string_view revision) {
  std::string result;
  for (char c : revision) result += c == '/' ? std::string("%2F") : percent_encoded({&c, 1});
  return result;
}

// The address in `Link: <…>; rel="next"`, or an empty string.
std::string next_page(const std::string& link) {
  const size_t open = link.find('<'), close = link.find('>');
  if (open == std::string::npos || close == std::string::npos || close < open) return "";
  return link.find("rel=\"next\"", close) == std::string::npos ? "" : link.substr(open + 1, close - open - 1);
}

bool is_hex(const std::string& text, size_t length) {
  return text.size() == length && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

bool is_gguf(const std::string& path) { return ascii_lower(path).ends_with(".gguf"); }

std::string list_choices(const std::vector<std::string>& names, const ModelName& model) {
  ModelName choice = model;
  std::string text;
  for (size_t i = 0; i < names.size() && i < kMaxChoicesShown; ++i) {
    choice.file = names[i];
    text += (i == 0 ? " hf:" : ", hf:") + choice.text();
  }
  if (names.size() > kMaxChoicesShown) text += " and " + std::to_string(names.size() - kMaxChoicesShown) + " more";
  return text;
}

// Every GGUF model of the repository by its file, split ones by their first part; projectors are no models.
std::vector<std::string> gguf_models(const std::vector<HubFile>& files) {
  std::vector<std::string> models;
  for (const HubFile& file : files) {
    const std::string base = file.path.substr(file.path.rfind('/') + 1);
    if (is_gguf(file.path) && !ascii_lower(base).starts_with("mmproj") && split_file_names(file.path)[0] == file.path) {
      models.push_back(file.path);
    }
  }
  return models;
}

std::vector<HubFile> pick(const std::vector<HubFile>& files, const std::vector<std::string>& paths,
                          const ModelName& name) {
  std::vector<HubFile> picked;
  for (const std::string& path : paths) {
    const auto found = std::find_if(files.begin(), files.end(), [&](const HubFile& file) { return file.path == path; });
    if (found == files.end()) {
      const std::vector<std::string> models = gguf_models(files);
      throw Error(ErrorCode::invalid_argument, name.repository() + " has no file '" + path + "'" +
                                                   (models.empty() ? "" : "; it has" + list_choices(models, name)));
    }
    picked.push_back(*found);
  }
  return picked;
}

std::vector<HubFile> pick_safetensors(const std::vector<HubFile>& files, const ModelName& name) {
  constexpr std::string_view kWanted[] = {"config.json",         "generation_config.json",
                                          "tokenizer.json",      "tokenizer_config.json",
                                          "chat_template.jinja", "model.safetensors.index.json"};
  std::vector<HubFile> picked;
  bool has_config = false, has_weights = false;
  for (const HubFile& file : files) {
    const bool shard = file.path.starts_with("model") && file.path.ends_with(".safetensors") &&
                       file.path.find('/') == std::string::npos;
    if (!shard && std::find(std::begin(kWanted), std::end(kWanted), file.path) == std::end(kWanted)) continue;
    has_config |= file.path == "config.json";
    has_weights |= shard;
    picked.push_back(file);
  }
  if (has_config && has_weights) return picked;
  throw Error(ErrorCode::invalid_argument,
              name.repository() + " has neither a GGUF file nor config.json with model*.safetensors");
}

}  // namespace

HubEndpoint hub_endpoint() {
  const char* mirror = std::getenv("HF_ENDPOINT");
  const char* token = std::getenv("HF_TOKEN");
  HubEndpoint endpoint{mirror && *mirror ? mirror : std::string(kPublicHub), token ? token : ""};
  while (endpoint.address.ends_with('/')) endpoint.address.pop_back();
  if (!endpoint.address.starts_with("https://") && !endpoint.address.starts_with("http://")) {
    throw Error(ErrorCode::invalid_argument, "HF_ENDPOINT must be an http:// or https:// address");
  }
  for (char c : endpoint.token) {
    if (static_cast<unsigned char>(c) <= ' ' || c == 0x7f) {
      throw Error(ErrorCode::invalid_argument, "HF_TOKEN holds white space or a control character");
    }
  }
  return endpoint;
}

std::string resolve_url(const HubEndpoint& endpoint, std::string_view repository, std::string_view revision,
                        std::string_view file) {
  return endpoint.address + "/" + percent_encoded(repository) + "/resolve/" + encoded_revision(revision) + "/" +
         percent_encoded(file);
}

std::vector<HubFile> parse_hub_files(std::string_view text) {
  const Json json = parse_json(text, "the hub's file list", ErrorCode::network);
  if (!json.is_array()) throw Error(ErrorCode::network, "the hub's file list is no JSON array");
  std::vector<HubFile> files;
  try {
    for (const Json& entry : json) {
      if (entry.value("type", "") != "file") continue;
      HubFile file{entry.at("path").get<std::string>(), entry.at("size").get<uint64_t>(), "", entry.value("oid", "")};
      if (const auto lfs = entry.find("lfs"); lfs != entry.end() && lfs->is_object()) {
        file.sha256 = lfs->at("oid").get<std::string>();
        file.bytes = lfs->at("size").get<uint64_t>();
        if (!is_hex(file.sha256, 64))
          throw Error(ErrorCode::network, "the hub's checksum of " + file.path + " is none");
      }
      if (!is_safe_relative_path(file.path))
        throw Error(ErrorCode::path, "the hub lists a file outside its repository");
      if (file.bytes > uint64_t{1} << 50)
        throw Error(ErrorCode::network, "the hub's size of " + file.path + " is none");
      if (file.sha256.empty() && !is_hex(file.git_blob_id, 40)) {
        throw Error(ErrorCode::network, "the hub gives no checksum of " + file.path);
      }
      files.push_back(std::move(file));
    }
  } catch (const Json::exception& error) {
    throw Error(ErrorCode::network, std::string("the hub's file list is not understood: ") + error.what());
  }
  return files;
}

std::vector<HubFile> list_hub_files(const HubEndpoint& endpoint, const ModelName& name, const FetchOptions& options) {
  std::string url = endpoint.address + "/api/models/" + percent_encoded(name.repository()) + "/tree/" +
                    encoded_revision(name.revision) + "?recursive=true";
  std::vector<HubFile> files;
  for (int page = 0; page < kMaxPages && !url.empty(); ++page) {
    // A next page elsewhere would be handed our token.
    if (!url.starts_with(endpoint.address + "/"))
      throw Error(ErrorCode::network, "the hub's list leads to another host");
    const HttpResponse response = http_get(url, endpoint.token, "", options, kMaxPageBytes);
    const std::string where = printable_url(url) + ": ";
    if (response.code != CURLE_OK) throw Error(ErrorCode::network, where + response.failure);
    if (response.headers.status() != 200) {
      throw Error(ErrorCode::network, where + explain_status(response.headers, !endpoint.token.empty()));
    }
    if (response.body_cut) throw Error(ErrorCode::network, where + "the file list is too long");
    for (HubFile& file : parse_hub_files(response.body)) files.push_back(std::move(file));
    url = next_page(response.headers.get("link"));
  }
  return files;
}

std::vector<HubFile> choose_hub_files(const std::vector<HubFile>& files, const ModelName& name) {
  if (!name.file.empty()) return pick(files, split_file_names(name.file), name);
  const std::vector<std::string> models = gguf_models(files);
  if (models.empty()) return pick_safetensors(files, name);
  std::vector<std::string> preferred;
  for (const std::string& model : models) {
    if (ascii_lower(model).find(kPreferredQuantization) != std::string::npos) preferred.push_back(model);
  }
  if (preferred.empty() && models.size() == 1) preferred = models;
  if (preferred.size() == 1) return pick(files, split_file_names(preferred[0]), name);
  throw Error(ErrorCode::invalid_argument,
              name.repository() + " has several models; choose one:" + list_choices(models, name));
}

}  // namespace qwin
