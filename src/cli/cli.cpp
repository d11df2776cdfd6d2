#include <CLI/CLI.hpp>
#include <cstdio>

#include "cli/commands.h"
#include "cli/resume_command.h"
#include "cli/usage_error.h"
#include "comm/launch.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cuda_device.h"
#include "util/error.h"
#include "util/one_line.h"
#include "util/text.h"

namespace artel {
namespace {

std::string version_text() {
  return concat("artel ", ARTEL_VERSION, "\n", "device cpu: yes, kernels for ", cpu::isa_name(cpu::detect_isa()),
                " on this processor\n",
                "device cuda: ", cuda_build_text().empty() ? "not in this build" : cuda_build_text(), "\n",
                "MPI: ", mpi_version().empty() ? "not in this build" : mpi_version(), "\n");
}

int report(const std::string& text) {
  report_error(text);
  return 1;
}

}  // namespace

// The first line only: CLI11 adds a hint at --help on a second one.
void report_error(const std::string& text) {
  std::fprintf(stderr, "artel: %s\n", text.substr(0, text.find('\n')).c_str());
}

void print(const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    fail("output", "required to write to standard output, found it closed or full");
  }
}

int run_cli(int argc, const char* const* argv) {
  CLI::App app(
      "Trains Mixture-of-Experts language models and compares ways of routing: Union-of-Experts and its baselines.",
      "artel");
  app.require_subcommand(1);
  app.set_version_flag("--version", version_text());
  add_train_command(app, resume_command(argc, argv));
  add_eval_command(app);
  add_compare_command(app);
  add_sweep_command(app, resume_command(argc, argv));
  add_describe_command(app);
  add_checkpoint_command(app);
  add_bench_command(app);
  add_inspect_command(app);
  add_generate_command(app);
  add_tokenizer_command(app);
  add_data_command(app);
  add_export_command(app);
  add_import_command(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {
    return app.exit(success);
  } catch (const CLI::RuntimeError& outcome) {
    return outcome.get_exit_code();  // a command whose answer is its exit code
  } catch (const CLI::ParseError& error) {
    return report(usage_error(app, error));
  } catch (const Error& error) {
    return report(one_line(error.what()));
  } catch (const std::exception& error) {
    return report(concat("unexpected failure: ", error.what()));
  }
  return 0;
}

}  // namespace artel
