#pragma once
// Text for HTML and SVG.

#include <string>
#include <string_view>

namespace artel {

/// `text` with &, <, >, " and ' as entities, safe in HTML and SVG text and in quoted attributes.
std::string escape_html(std::string_view text);

/// JSON text that cannot end the script element it stands in: < is written as \u003c.
std::string script_safe(std::string_view json);

/// A coordinate in pixels with one digit after the point.
std::string pixels(double value);

/// At most six significant digits, for data that scripts read; "null" when not finite.
std::string data_number(double value);

/// About how wide `text` is at the 12 px of the figures, in pixels.
double text_width(std::string_view text);

enum class Anchor { start, middle, end };

/// Builds one SVG element. Classes are those of page_style.cpp; all text is escaped here.
class SvgWriter {
 public:
  /// Opens an image of `width` x `height` px that scales with its box. `css_class` tells the page when to show it.
  SvgWriter(double width, double height, std::string_view css_class, std::string_view label,
            std::string_view extra_attributes = {});

  void text(double x, double y, std::string_view text, std::string_view css_class = {}, Anchor anchor = Anchor::start);
  void line(double x1, double y1, double x2, double y2, std::string_view css_class);
  void rect(double x, double y, double width, double height, std::string_view css_class);
  /// A path of SVG path data.
  void path(std::string_view data, std::string_view css_class);
  /// The shape that stands for a series: disc, square, triangle, diamond, …, centred.
  void marker(size_t style, double x, double y, double radius, std::string_view css_class);
  /// Opens a clipped area with coordinates of its own, from 0, 0.
  void open_area(double x, double y, double width, double height);
  void close_area();
  /// Markup of the caller's own.
  void raw(std::string_view markup) { out_ += markup; }
  /// Closes the image and returns it.
  std::string finish();

 private:
  std::string out_;
};

/// The class of series number `style`: colour and dash.
std::string series_class(size_t style);

/// Colours and dashes repeat after this many series.
constexpr size_t kNumSeriesStyles = 8;

}  // namespace artel
