#include "report/text_table.h"

#include <algorithm>

#include "report/format.h"
#include "util/text.h"

namespace artel {
namespace {

constexpr size_t kMinNameWidth = 10;
constexpr size_t kGap = 2;

}  // namespace

std::string TextTable::render() const {
  const std::vector<size_t> widths = fitted_widths();
  std::vector<std::string> titles;
  for (const Column& column : columns_) titles.push_back(column.title);
  std::string out = line(titles, widths);
  for (const auto& row : rows_) out += line(row, widths);
  return out;
}

std::vector<size_t> TextTable::fitted_widths() const {
  std::vector<size_t> widths;
  size_t total = kGap * (columns_.size() - 1);
  for (size_t i = 0; i < columns_.size(); ++i) {
    size_t width = display_width(columns_[i].title);
    for (const auto& row : rows_) width = std::max(width, display_width(row[i]));
    widths.push_back(width);
    total += width;
  }
  while (total > kMaxColumns) {
    size_t widest = columns_.size();
    for (size_t i = 0; i < columns_.size(); ++i) {
      const bool wider = widest == columns_.size() || widths[i] > widths[widest];
      if (columns_[i].may_shrink && widths[i] > kMinNameWidth && wider) widest = i;
    }
    if (widest == columns_.size()) break;
    --widths[widest];
    --total;
  }
  return widths;
}

std::string TextTable::line(const std::vector<std::string>& cells, const std::vector<size_t>& widths) const {
  std::string out;
  for (size_t i = 0; i < columns_.size(); ++i) {
    const std::string cell = shortened(cells[i], widths[i]);
    const std::string padding(widths[i] - display_width(cell), ' ');
    if (i > 0) out += std::string(kGap, ' ');
    out += columns_[i].align == Align::right ? padding + cell : cell + padding;
  }
  out.erase(out.find_last_not_of(' ') + 1);
  return out + '\n';
}

}  // namespace artel
