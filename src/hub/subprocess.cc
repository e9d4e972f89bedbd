// SPDX-License-Identifier: Apache-2.0
#include "hub/subprocess.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <thread>

#include "hub/files.h"
#include "hub/interrupt.h"
#include "qwin/error.h"

extern char** environ;

namespace qwin {
namespace {

constexpr size_t kMaxErrors = 8192;

std::vector<char*> pointers(const std::vector<std::string>& words) {
  std::vector<char*> result;
  for (const std::string& word : words) result.push_back(const_cast<char*>(word.c_str()));
  result.push_back(nullptr);
  return result;
}

// Ours with every name in `changes` replaced.
std::vector<std::string> merged_environment(const std::vector<std::string>& changes) {
  std::vector<std::string> result = changes;
  for (char** entry = environ; *entry; ++entry) {
    const std::string_view text = *entry;
    const std::string_view name = text.substr(0, text.find('=') + 1);
    bool replaced = false;
    for (const std::string& change : changes) replaced |= change.starts_with(name);
    if (!replaced) result.emplace_back(text);
  }
  return result;
}

void drain(int fd, std::string& text, bool shows) {
  char buffer[4096];
  ssize_t got;
  while ((got = read(fd, buffer, sizeof buffer)) > 0) {
    text.append(buffer, static_cast<size_t>(got));
    if (shows) std::fwrite(buffer, 1, static_cast<size_t>(got), stderr);
    if (text.size() > kMaxErrors) text.erase(0, text.size() - kMaxErrors);
  }
}

void end_program(pid_t pid) {
  kill(pid, SIGTERM);
  for (int i = 0; i < 20; ++i) {
    if (waitpid(pid, nullptr, WNOHANG) == pid) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
}

}  // namespace

CommandResult run_command(const std::vector<std::string>& arguments, const std::vector<std::string>& environment,
                          const std::function<void()>& tick, bool shows_errors) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw Error(ErrorCode::io, "cannot open a pipe");
  const FileHandle read_end(ends[0]);
  FileHandle write_end(ends[1]);
  fcntl(read_end.fd(), F_SETFL, O_NONBLOCK);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, write_end.fd(), 2);
  const std::vector<std::string> variables = merged_environment(environment);
  pid_t pid = 0;
  const int failed = posix_spawnp(&pid, arguments[0].c_str(), &actions, nullptr, pointers(arguments).data(),
                                  pointers(variables).data());
  posix_spawn_file_actions_destroy(&actions);
  if (failed) return {127, std::strerror(failed)};
  write_end = FileHandle();

  CommandResult result;
  int status = 0;
  while (waitpid(pid, &status, WNOHANG) == 0) {
    if (is_interrupted()) {
      end_program(pid);
      throw_if_interrupted();
    }
    pollfd waiting{read_end.fd(), POLLIN, 0};
    if (poll(&waiting, 1, 100) > 0) {
      drain(read_end.fd(), result.errors, shows_errors);
      // Closed by a program that goes on running: poll would return at once from here on.
      if (waiting.revents & POLLHUP) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    if (tick) tick();
  }
  drain(read_end.fd(), result.errors, shows_errors);
  result.exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

}  // namespace qwin
