#pragma once
// Tables for the terminal.

#include <string>
#include <vector>

namespace artel {

/// Width that text for the terminal keeps to.
constexpr size_t kMaxColumns = 100;

enum class Align { left, right };

/// A text table of at most 100 columns; the columns of names give way when a row would be wider.
class TextTable {
 public:
  void add_column(std::string title, Align align, bool may_shrink = false) {
    columns_.push_back({std::move(title), align, may_shrink});
  }
  void add_row(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }

  /// With a newline at the end of each line.
  std::string render() const;

 private:
  struct Column {
    std::string title;
    Align align;
    bool may_shrink;
  };

  std::vector<size_t> fitted_widths() const;
  std::string line(const std::vector<std::string>& cells, const std::vector<size_t>& widths) const;

  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace artel
