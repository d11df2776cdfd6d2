#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "util/files.h"
#include "util/json.h"

namespace artel {

/// The rows of a run for TensorBoard: event files in one directory, a new one for every attempt. Their names sort in
/// the order of writing, whatever the clock does, and the first file of an attempt tells readers to forget the steps
/// that the attempt does again: after a kill and a resume every step appears once.
///
/// Numbers of a row become scalars of their own name; "sets" becomes val_loss/NAME; the numbers of "moe" become
/// NAME/layer_00 and so on, its "load" the histogram expert_load/layer_00, in which expert i is from i to i + 1.
class TensorBoardFile {
 public:
  /// Seconds since 1970.
  using Clock = std::function<double()>;

  /// `first_step`: of the first row that this attempt can write. Nothing is opened before the first row.
  TensorBoardFile(FileLayer& files, std::string directory, std::int64_t first_step, Clock clock = system_clock());

  /// Writes a row of metrics.jsonl; rows of events have nothing to show. A full disk must not end the run: returns the
  /// error text of the first write that fails, then nothing until a write succeeds again. The rows between are lost.
  std::string write(const Json& row);

 private:
  static Clock system_clock();
  void append(const std::string& record);
  void open_next_file();

  FileLayer& files_;
  std::string directory_;
  std::int64_t first_step_;
  Clock clock_;
  OutputFile file_;
  bool started_ = false;
  bool failing_ = false;
};

}  // namespace artel
