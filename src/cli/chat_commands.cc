// SPDX-License-Identifier: Apache-2.0
#include "cli/chat_commands.h"

#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "cli/chat_settings.h"
#include "cli/progress_bar.h"
#include "cli/terminal_output.h"
#include "core/printable.h"
#include "hub/files.h"

namespace qwin {

namespace {

constexpr size_t kMaxChatFileBytes = 64 << 20;

struct Command {
  const char* name;
  const char* alias;
  const char* argument;
  const char* help;
  ChatAction (*run)(ChatSession& session, const std::string& argument);
};

std::string count_text(size_t count, const char* what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

std::filesystem::path user_path(const std::string& argument) {
  if (argument.empty()) throw Error(ErrorCode::invalid_argument, "give the name of a file");
  const char* home = std::getenv("HOME");
  return argument.starts_with("~/") && home != nullptr ? home + argument.substr(1) : argument;
}

Json read_chat(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(kMaxChatFileBytes + 1, '\0');
  if (!file || std::filesystem::is_directory(path)) throw Error(ErrorCode::io, "cannot read " + path.string());
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  if (text.size() > kMaxChatFileBytes) throw Error(ErrorCode::too_large, path.string() + " is too long for a chat");
  Json json = parse_json(text, path.c_str(), ErrorCode::invalid_argument);
  if (json.is_object() && json.contains("messages")) return json["messages"];
  return json;
}

ChatAction clear(ChatSession& session, const std::string&) {
  session.clear();
  print_remark(session.system().empty() ? "A new chat." : "A new chat; the system message stays.");
  return ChatAction::go_on;
}

ChatAction system(ChatSession& session, const std::string& argument) {
  if (session.raw()) throw Error(ErrorCode::invalid_argument, "with --raw there is no system message");
  if (argument == "none") {
    session.set_system("");
    print_remark("No system message of your own; the model's template may have one.");
  } else if (!argument.empty()) {
    session.set_system(argument);
    print_remark("The system message holds from the next answer on.");
  } else {
    print_remark(session.system().empty() ? "No system message of your own." : terminal_text(session.system()));
  }
  return ChatAction::go_on;
}

ChatAction set(ChatSession& session, const std::string& argument) {
  std::istringstream words(argument);
  std::string name, value;
  words >> name >> value;
  if (!name.empty()) {
    if (value.empty()) throw Error(ErrorCode::invalid_argument, "/set NAME VALUE, or /set NAME default");
    change_setting(session.params(), session.default_params(), name, value);
  }
  print_remark(settings_text(session.params()));
  return ChatAction::go_on;
}

ChatAction retry(ChatSession& session, const std::string&) {
  if (!session.retry()) throw Error(ErrorCode::invalid_argument, "there is nothing to answer again");
  if (session.params().temperature == 0)
    print_remark("At temperature 0 the answer will be the same; try /set temperature 0.7");
  return ChatAction::answer;
}

ChatAction undo(ChatSession& session, const std::string&) {
  if (!session.undo()) throw Error(ErrorCode::invalid_argument, "there is nothing to take back");
  print_remark("The last turn was taken back; " + count_text(session.num_turns(), "turn") + " left.");
  return ChatAction::go_on;
}

ChatAction save(ChatSession& session, const std::string& argument) {
  const std::filesystem::path path = user_path(argument);
  if (std::filesystem::exists(path)) {
    try {
      ChatSession::check_messages(read_chat(path));
    } catch (const Error&) {
      throw Error(ErrorCode::invalid_argument, path.string() + " exists and holds no chat; choose another name");
    }
  }
  const Json messages = session.to_json();
  write_file_atomically(path, messages.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
  print_remark(count_text(messages.size(), "message") + " saved to " + path.string());
  return ChatAction::go_on;
}

ChatAction load(ChatSession& session, const std::string& argument) {
  const std::filesystem::path path = user_path(argument);
  session.from_json(read_chat(path));
  print_remark(count_text(session.to_json().size(), "message") + " loaded from " + path.string());
  const auto& messages = session.messages();
  if (!messages.empty() && messages.back().role == "user") print_remark("/retry answers the last one.");
  return ChatAction::go_on;
}

ChatAction stats(ChatSession& session, const std::string&) {
  const EngineInfo& info = session.info();
  const ChatTotals& totals = session.totals();
  const int64_t tokens = session.num_tokens();
  const auto number = [](int64_t value) { return std::to_string(value); };
  print_remark("model     " + info.model_name + ", kernels " + info.isa + ", " +
               count_text(static_cast<size_t>(info.num_threads), "thread"));
  print_remark("chat      " + count_text(session.num_turns(), "turn") + ", " + number(tokens) + " of " +
               number(info.context_length) + " tokens, KV " +
               bytes_text(static_cast<uint64_t>(tokens) * info.kv_bytes_per_token));
  print_remark("so far    " + count_text(static_cast<size_t>(totals.answers), "answer") + " of " +
               number(totals.answer_tokens) + " tokens; prompts of " + number(totals.prompt_tokens) + " tokens, " +
               number(totals.cached_tokens) + " of them were still in memory");
  return ChatAction::go_on;
}

ChatAction leave(ChatSession&, const std::string&) { return ChatAction::leave; }

ChatAction help(ChatSession& session, const std::string& argument);

constexpr Command kCommands[] = {
    {"/new", "/clear", "", "begin a new chat", clear},
    {"/system", "", "TEXT", "change the system message; without TEXT show it, \"none\" removes it", system},
    {"/set", "", "NAME VALUE", "change a sampling parameter; without NAME show them", set},
    {"/retry", "", "", "answer the last message again, with the next seed", retry},
    {"/undo", "", "", "take back the last message and its answer", undo},
    {"/save", "", "FILE", "write the chat as JSON messages", save},
    {"/load", "", "FILE", "go on with a saved chat", load},
    {"/stats", "", "", "what the chat holds and has cost", stats},
    {"/help", "/?", "", "this list", help},
    {"/quit", "/exit", "", "leave, as Ctrl-D does", leave},
};

ChatAction help(ChatSession& session, const std::string&) {
  std::string text;
  for (const Command& command : kCommands) {
    const std::string name = std::string(command.name) + (*command.argument ? " " : "") + command.argument;
    text += name + std::string(name.size() < 20 ? 20 - name.size() : 1, ' ') + command.help +
            (*command.alias ? std::string(" (or ") + command.alias + ")" : "") + "\n";
  }
  text +=
      "\nCtrl-C stops an answer; what was written stays. At the prompt it clears the line.\n"
      "Several lines: paste them, end a line with \\, press Alt-Enter, or put them between \"\"\" and \"\"\".\n"
      "A message that begins with a slash: put a space before it.\n";
  const std::string context = std::to_string(session.info().context_length);
  text += session.info().attention.forgets()
              ? "The window lets the chat go on for ever: what has left it is no longer seen."
              : "The context holds " + context +
                    " tokens. When less than an eighth of it is left for an answer, the oldest\n"
                    "turns are forgotten until half of it is free; the system message stays.";
  print_remark(text);
  return ChatAction::go_on;
}

}  // namespace

bool is_chat_command(const std::string& line) {
  return line.size() > 1 && line[0] == '/' && (line[1] == '?' || std::isalpha(static_cast<unsigned char>(line[1]))) &&
         line.find('\n') == line.npos;
}

ChatAction run_chat_command(ChatSession& session, const std::string& line) {
  const size_t name_end = std::min(line.find_first_of(" \t"), line.size());
  const std::string name = line.substr(0, name_end);
  const size_t begin = line.find_first_not_of(" \t", name_end);
  std::string argument = begin == line.npos ? "" : line.substr(begin);
  argument.erase(argument.find_last_not_of(" \t") + 1);
  try {
    for (const Command& command : kCommands) {
      if (name == command.name || (*command.alias && name == command.alias)) return command.run(session, argument);
    }
    print_remark("There is no command " + printable(name) + "; /help lists them.");
  } catch (const Error& error) {
    print_remark(one_line(error.what()));
  } catch (const std::filesystem::filesystem_error& error) {
    print_remark(one_line(error.what()));
  }
  return ChatAction::go_on;
}

}  // namespace qwin
