// SPDX-License-Identifier: Apache-2.0
// The chat's /commands.
#pragma once

#include <string>

#include "cli/chat_session.h"

namespace qwin {

enum class ChatAction { go_on, answer, leave };

// True for a line that is a command rather than a message: a slash and a letter.
bool is_chat_command(const std::string& line);

// Runs a command and says what comes next; what it has to say goes to stderr. Faults of the user are remarks, too.
ChatAction run_chat_command(ChatSession& session, const std::string& line);

}  // namespace qwin
