#pragma once
// Numbers as the tables and the page show them.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "report/stats.h"

namespace artel {

/// Three significant digits with a decimal unit: "12.3 M", "1.77 G", "4.50 P"; "?" when not finite.
std::string format_flops(double flops);

/// A loss in nats with four digits; "-" for none.
std::string format_loss(const std::optional<double>& loss);

/// Like format_loss with the sign always shown.
std::string format_delta(const std::optional<double>& delta);

/// "[-0.0312, -0.0101]"; "-" for none.
std::string format_interval(const std::optional<Interval>& interval);

/// "0.034", "< 0.001"; "-" for none.
std::string format_p(const std::optional<double>& p_value);

/// "1.8123 ± 0.0031", without the deviation when there is none.
std::string format_mean(const std::optional<double>& mean, const std::optional<double>& deviation);

/// A share of `whole`: "83 %"; "?" when that is no number.
std::string format_share(double part, double whole);

/// Columns that UTF-8 `text` takes in a terminal, one per code point.
size_t display_width(std::string_view text);

/// Names without the words, ending in - or _, with which all of them begin.
std::vector<std::string> without_common_words(const std::vector<std::string>& names);

/// `text` cut to `width` columns, the last of them "…", if it is longer.
std::string shortened(const std::string& text, size_t width);

}  // namespace artel
