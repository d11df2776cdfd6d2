#include "report/svg.h"

#include <cmath>
#include <cstdio>
#include <cstring>

#include "report/format.h"
#include "util/text.h"

namespace artel {

std::string escape_html(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char letter : text) {
    switch (letter) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += letter;
    }
  }
  return out;
}

std::string script_safe(std::string_view json) {
  std::string out;
  out.reserve(json.size());
  for (const char letter : json) {
    if (letter == '<') {
      out += "\\u003c";
    } else {
      out += letter;
    }
  }
  return out;
}

std::string pixels(double value) {
  std::string text = format_fixed(value, 1);
  if (text.size() > 2 && text.substr(text.size() - 2) == ".0") text.erase(text.size() - 2);
  return text == "-0" ? "0" : text;
}

std::string data_number(double value) {
  if (!std::isfinite(value)) return "null";
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", value);
  return text;
}

double text_width(std::string_view text) {
  // Of DejaVu Sans, the widest of the fonts that browsers fall back to.
  double width = 0.0;
  for (const char letter : text) {
    if ((static_cast<unsigned char>(letter) & 0xC0U) == 0x80U) continue;  // inside a UTF-8 character
    if (std::strchr("ijl.,:;'|! ", letter) != nullptr) {
      width += 3.9;
    } else if (std::strchr("frtI()[]-/\"", letter) != nullptr) {
      width += 5.1;
    } else if (std::strchr("mwMW@%", letter) != nullptr) {
      width += 11.7;
    } else {
      width += letter >= 'A' && letter <= 'Z' ? 9.0 : 7.7;
    }
  }
  return width;
}

std::string series_class(size_t style) {
  return concat('s', style % kNumSeriesStyles);
}

SvgWriter::SvgWriter(double width, double height, std::string_view css_class, std::string_view label,
                     std::string_view extra_attributes) {
  out_ = concat("<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"", css_class, "\" viewBox=\"0 0 ", pixels(width),
                ' ', pixels(height), "\" width=\"", pixels(width), "\" height=\"", pixels(height),
                "\" role=\"img\" aria-label=\"", escape_html(label), '"', extra_attributes, '>');
}

void SvgWriter::text(double x, double y, std::string_view text, std::string_view css_class, Anchor anchor) {
  out_ += concat("<text x=\"", pixels(x), "\" y=\"", pixels(y), '"');
  if (!css_class.empty()) out_ += concat(" class=\"", css_class, '"');
  if (anchor != Anchor::start) {
    out_ += concat(" text-anchor=\"", anchor == Anchor::middle ? "middle" : "end", '"');
  }
  out_ += concat('>', escape_html(text), "</text>");
}

void SvgWriter::line(double x1, double y1, double x2, double y2, std::string_view css_class) {
  out_ += concat("<line x1=\"", pixels(x1), "\" y1=\"", pixels(y1), "\" x2=\"", pixels(x2), "\" y2=\"", pixels(y2),
                 "\" class=\"", css_class, "\"/>");
}

void SvgWriter::rect(double x, double y, double width, double height, std::string_view css_class) {
  out_ += concat("<rect x=\"", pixels(x), "\" y=\"", pixels(y), "\" width=\"", pixels(width), "\" height=\"",
                 pixels(height), "\" class=\"", css_class, "\"/>");
}

void SvgWriter::path(std::string_view data, std::string_view css_class) {
  out_ += concat("<path d=\"", data, "\" class=\"", css_class, "\"/>");
}

void SvgWriter::marker(size_t style, double x, double y, double radius, std::string_view css_class) {
  const auto polygon = [&](std::initializer_list<std::pair<double, double>> corners) {
    std::string data;
    for (const auto& corner : corners) {
      data +=
          concat(data.empty() ? 'M' : 'L', pixels(x + radius * corner.first), ' ', pixels(y + radius * corner.second));
    }
    path(data + 'Z', css_class);
  };
  switch (style % 5) {
    case 0:
      out_ += concat("<circle cx=\"", pixels(x), "\" cy=\"", pixels(y), "\" r=\"", pixels(radius), "\" class=\"",
                     css_class, "\"/>");
      break;
    case 1:
      polygon({{-0.9, -0.9}, {0.9, -0.9}, {0.9, 0.9}, {-0.9, 0.9}});
      break;
    case 2:
      polygon({{0.0, -1.2}, {1.1, 0.8}, {-1.1, 0.8}});
      break;
    case 3:
      polygon({{0.0, -1.3}, {1.2, 0.0}, {0.0, 1.3}, {-1.2, 0.0}});
      break;
    default:
      polygon({{0.0, 1.2}, {1.1, -0.8}, {-1.1, -0.8}});
  }
}

void SvgWriter::open_area(double x, double y, double width, double height) {
  out_ += concat("<svg x=\"", pixels(x), "\" y=\"", pixels(y), "\" width=\"", pixels(width), "\" height=\"",
                 pixels(height), "\" overflow=\"hidden\">");
}

void SvgWriter::close_area() {
  out_ += "</svg>";
}

std::string SvgWriter::finish() {
  return std::move(out_) + "</svg>";
}

}  // namespace artel
