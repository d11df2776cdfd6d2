#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.h"
#include "support/temporary_directory.h"
#include "util/files.h"
#include "util/json.h"

// The executable as its users run it.

namespace artel {

struct ProgramOutcome {
  int exit_code = -1;  ///< 1000 + signal when one ended it
  std::string output;  ///< standard output
  std::string errors;  ///< standard error
};

/// Runs artel with a shell's idea of these arguments and waits for its end.
inline ProgramOutcome run(const std::string& arguments) {
  const TemporaryDirectory scratch;
  const std::string error_file = scratch.file("stderr");
  const std::string command = std::string(ARTEL_EXECUTABLE) + " " + arguments + " 2>" + error_file;
  ProgramOutcome outcome;
  FILE* pipe = popen(command.c_str(), "r");
  REQUIRE(pipe != nullptr);
  char buffer[4096];
  for (std::size_t count = 0; (count = fread(buffer, 1, sizeof buffer, pipe)) > 0;)
    outcome.output.append(buffer, count);
  const int status = pclose(pipe);
  outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  outcome.errors = read_file(error_file);
  return outcome;
}

/// All of a file; empty when it is not there.
inline std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// artel in the background, standard error in a file.
class Program {
 public:
  Program(const std::vector<std::string>& arguments, const std::string& error_file) : error_file_(error_file) {
    std::vector<std::string> words = {ARTEL_EXECUTABLE};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> pointers;
    for (std::string& word : words) pointers.push_back(word.data());
    pointers.push_back(nullptr);
    child_ = fork();
    if (child_ != 0) return;
    if (freopen(error_file_.c_str(), "w", stderr) == nullptr) _exit(127);
    execv(ARTEL_EXECUTABLE, pointers.data());
    _exit(127);
  }
  ~Program() {
    if (child_ <= 0) return;
    kill(child_, SIGKILL);
    waitpid(child_, nullptr, 0);
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  void signal(int number) const { kill(child_, number); }
  /// Waits for the end; the exit code, or 1000 + signal.
  int wait() {
    int status = 0;
    waitpid(child_, &status, 0);
    child_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  }
  std::string errors() const { return contents(error_file_); }

 private:
  std::string error_file_;
  pid_t child_ = -1;
};

/// Asks every few milliseconds, for half a minute at most, whether `condition` holds.
inline bool wait_until(const std::function<bool()>& condition) {
  for (int i = 0; i < 6000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

/// Writes a config of a model that trains eight steps in a moment, and its data. Returns the path of the config.
inline std::string tiny_config(const TemporaryDirectory& directory, const std::string& extra = "",
                               const std::string& name = "tiny", const std::string& routing = "uoe") {
  std::ofstream tokens(directory.file("tokens.bin"), std::ios::binary);
  for (int i = 0; i < 3000; ++i) tokens.put(static_cast<char>('a' + (i * i + i / 7) % 26));
  const std::string path = directory.file(name + ".yaml");
  std::ofstream(path)
      << "run: {name: " << name << ", directory: " << directory.path() << "}\n"
      << "model: {hidden_size: 32, num_hidden_layers: 1, num_attention_heads: 2, num_key_value_heads: 2, "
         "max_position_embeddings: 16, num_experts: 4, num_experts_per_tok: 2, moe_intermediate_size: 16, "
         "shared_expert_intermediate_size: 8, routing: {type: "
      << routing << "}}\n"
      << "data: {train: [{path: " << directory.file("tokens.bin")
      << "}], validation: [{path: " << directory.file("tokens.bin") << "}]}\n"
      << "train: {steps: 8, global_batch_size: 2, micro_batch_size: 2, threads: 1}\n"
      << "validation: {every: 4, batches: 2}\ncheckpoint: {every: 4}\n"
      << extra;
  return path;
}

inline std::size_t num_lines(const std::string& text) {
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

}  // namespace artel
