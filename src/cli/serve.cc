// SPDX-License-Identifier: Apache-2.0
// `qwin serve`: the HTTP server.
#include <toml++/toml.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "cli/engine_options.h"
#include "hub/model_store.h"
#include "io/json.h"
#include "server/server.h"

namespace qwin {
namespace {

namespace fs = std::filesystem;

struct ServeOptions {
  ModelOptions model;
  EngineOptions engine;
  double batch_timeout_ms = 0;
  bool no_prefix_cache = false;
  server::ServerOptions server;
  std::string chat_database = "default";
  std::string config_file;
};

// The values of a config file for flags that neither the command line nor the environment gave.
void read_config(CLI::App& command, const std::string& file) {
  toml::table table;
  try {
    table = toml::parse_file(file);
  } catch (const toml::parse_error& error) {
    throw Error(ErrorCode::invalid_argument,
                file + ", line " + std::to_string(error.source().begin.line) + ": " + std::string(error.description()));
  }
  for (const auto& [key, node] : table) {
    const std::string flag = "--" + std::string(key.str());
    CLI::Option* option = command.get_option_no_throw(flag);
    if (option == nullptr || flag == "--config" || flag == "--help") {
      throw Error(ErrorCode::invalid_argument, file + ": there is no flag " + flag + "; see `qwin serve --help`");
    }
    if (option->count() > 0) continue;
    const auto add = [&, name = &flag](const toml::node& value) {
      if (const auto text = value.value<std::string>())
        option->add_result(*text);
      else if (value.is_boolean())
        option->add_result(*value.value<bool>() ? "true" : "false");
      else if (const auto integer = value.value<int64_t>(); integer && value.is_integer())
        option->add_result(std::to_string(*integer));
      else if (const auto number = value.value<double>())
        option->add_result(std::to_string(*number));
      else
        throw Error(ErrorCode::invalid_argument, file + ": " + *name + " takes a text, a number or a list of them");
    };
    if (const toml::array* list = node.as_array()) {
      for (const toml::node& value : *list) add(value);
    } else {
      add(node);
    }
    option->run_callback();
  }
}

std::string default_chat_database() {
  const fs::path home = store_home();
  std::error_code ignored;
  fs::create_directories(home, ignored);
  return (home / "chats.sqlite").string();
}

// What MODEL is called in public: its name, or the last part of its path. No other part of a path leaves this machine.
std::string public_name(const std::string& model) {
  const fs::path path = fs::path(model).lexically_normal();
  const fs::path last = path.has_filename() ? path.filename() : path.parent_path().filename();
  return last.extension() == ".gguf" ? last.stem().string() : last.string();
}

void serve(CLI::App& command, ServeOptions& options) {
  if (!options.config_file.empty()) read_config(command, options.config_file);
  if (const char* key = std::getenv("QWIN_API_KEY")) options.server.api_key = key;
  options.server.chat_database = options.chat_database == "default"  ? default_chat_database()
                                 : options.chat_database == "memory" ? ""
                                                                     : options.chat_database;
  options.engine.batch_timeout_seconds = options.batch_timeout_ms * 1e-3;
  options.engine.prefix_cache = !options.no_prefix_cache;
  if (options.server.model_name.empty()) options.server.model_name = public_name(options.model.model);
  options.model.model = resolve_model(options.model.model);
  check_model_options(options.model);
  server::Server http(options.server);
  std::fprintf(stderr, "listening on %s, loading the model\n", http.url().c_str());
  http.set_engine(load_engine(options.model, options.engine, [&] { return http.stopping(); }));
  if (options.model.json) {
    std::printf("%s\n", Json{{"url", http.url()}, {"port", http.port()}}.dump().c_str());
    std::fflush(stdout);
  }
  std::fprintf(stderr, "ready: chat at %s/, OpenAI's API at %s/v1\n", http.url().c_str(), http.url().c_str());
  http.wait();
  if (http.failed()) throw Error(ErrorCode::broken, "a step of the engine failed; the log says why");
}

void add_limits(CLI::App& command, server::Limits& limits) {
  for (const server::LimitRow& row : server::limit_rows()) {
    const std::string unit = *row.unit ? std::string(row.unit) + " " : "";
    add_option(command, row.flag, limits.*row.value, unit + row.meaning)
        ->check(CLI::Range(row.low, row.high))
        ->group("Limits");
  }
}

}  // namespace

void register_serve(CLI::App& app) {
  const auto options = std::make_shared<ServeOptions>();
  CLI::App* command = app.add_subcommand("serve", "Answer over HTTP: OpenAI's API, /chat, a chat page");
  add_model_options(*command, options->model);
  server::ServerOptions& server = options->server;
  EngineOptions& engine = options->engine;
  add_option(*command, "--host", server.host, "address to listen on; others than this machine's own need an API key");
  add_option(*command, "--port", server.port, "port to listen on; 0: any free one")->check(CLI::Range(0, 65535));
  add_option(*command, "--name", server.model_name,
             "what clients call the model; empty: MODEL, without its folder and .gguf");
  add_option(*command, "--api-key-file", server.api_key_file,
             "API keys, one a line; SIGHUP reads it again (a single key: QWIN_API_KEY)");
  add_switch(*command, "--allow-no-auth", server.allow_no_auth, "serve other machines without an API key");
  add_option(*command, "--allow-origin", server.allowed_origins,
             "pages of this origin may use the server; may be given several times")
      ->take_all();
  add_option(*command, "--chat-db", options->chat_database,
             "where /chat keeps conversations: default ($QWIN_HOME/chats.sqlite), memory, or a file");
  add_option(*command, "--max-batch-size", engine.max_batch_size, "requests that run at once")
      ->check(CLI::Range(1, 1024));
  add_option(*command, "--batch-timeout", options->batch_timeout_ms,
             "ms an idle engine holds a first request so that others can join it")
      ->check(CLI::Range(0.0, 60000.0));
  add_option(*command, "--queue", engine.max_queue_length, "requests that wait for a place; more get 429")
      ->check(CLI::Range(0, 1 << 20));
  add_kv_memory_flags(*command, engine);
  add_option(*command, "--cache-dir", engine.cache_directory,
             "where the prefix cache lives on across restarts; empty: in memory alone");
  add_option(*command, "--cache-max-bytes", engine.cache_max_bytes, "bytes of files in --cache-dir");
  add_switch(*command, "--no-prefix-cache", options->no_prefix_cache,
             "keep nothing of what was read for later requests");
  add_option(*command, "--config", options->config_file,
             "a TOML file of flags, written without --; the command line and the environment win");
  add_limits(*command, server.limits);
  command->callback([options, command] { serve(*command, *options); });
}

}  // namespace qwin
