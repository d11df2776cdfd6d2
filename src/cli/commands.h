#pragma once

#include <memory>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace artel {

/// Parses the command line and runs one command. Returns the exit code: 0, or 1 after one line on standard error that
/// says what was wrong; a command may document other codes (`checkpoint diff`).
int run_cli(int argc, const char* const* argv);

// Each adds its subcommand, with help text, to the program.
void add_train_command(CLI::App& app, std::string command_line);
void add_eval_command(CLI::App& app);
void add_compare_command(CLI::App& app);
void add_sweep_command(CLI::App& app, std::string command_line);
void add_describe_command(CLI::App& app);
void add_checkpoint_command(CLI::App& app);
void add_bench_command(CLI::App& app);
void add_inspect_command(CLI::App& app);
void add_generate_command(CLI::App& app);
void add_tokenizer_command(CLI::App& app);
/// Of `artel data`.
void add_data_tokenize_command(CLI::App& data);
void add_data_command(CLI::App& app);
void add_data_inspect_command(CLI::App& data);
void add_export_command(CLI::App& app);
void add_import_command(CLI::App& app);

/// Writes `text` as one line "artel: …" to standard error.
void report_error(const std::string& text);

/// Prints to standard output, which belongs to results.
void print(const std::string& text);

}  // namespace artel
