#include "report/page.h"

#include "report/svg.h"
#include "util/text.h"

namespace artel {

std::string page_start(const std::string& title) {
  return concat(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
      // Nothing is loaded from anywhere; the browser is told to keep it so.
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
      "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n<title>",
      escape_html(title), "</title>\n<style>", page_style(), "</style>\n<style id=\"figure-style\">", figure_style(),
      "</style>\n</head>\n<body>\n");
}

std::string page_end() {
  return concat("<script>", page_script(), "</script>\n</body></html>\n");
}

std::string figure_html(const Figure& figure, size_t number) {
  const bool has_numbers = figure.body.find("application/json") != std::string::npos;
  return concat("<figure id=\"", escape_html(figure.id), "\"", figure.full_width ? " class=\"full\"" : "", ">\n",
                figure.body, "\n<figcaption><b>Figure ", number, ". ", escape_html(figure.title), ".</b> ",
                escape_html(figure.caption),
                "<span class=\"tools\"><button type=\"button\" class=\"save-svg\">Save SVG</button>",
                has_numbers ? "<button type=\"button\" class=\"save-csv\">Save CSV</button>" : "",
                "</span></figcaption>\n</figure>\n");
}

PageColumn text_column(std::string title) {
  return {std::move(title), true};
}

PageColumn number_column(std::string title) {
  return {std::move(title), false};
}

std::string table_html(const std::vector<PageColumn>& columns, const std::vector<std::vector<std::string>>& rows) {
  const auto side = [&](size_t i) { return columns[i].is_text ? " class=\"left\"" : ""; };
  std::string out = "<div class=\"table\"><table><thead><tr>";
  for (size_t i = 0; i < columns.size(); ++i) {
    out += concat("<th scope=\"col\"", side(i), ">", columns[i].title, "</th>");
  }
  out += "</tr></thead><tbody>";
  for (const auto& row : rows) {
    out += "<tr>";
    for (size_t i = 0; i < row.size(); ++i) out += concat("<td", side(i), ">", row[i], "</td>");
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

std::string json_section(const Json& json) {
  return concat("<section id=\"numbers\"><h2>Numbers</h2>\n<details><summary>Everything as JSON</summary><pre>",
                escape_html(dump_json(json, 1)), "</pre></details></section>\n");
}

}  // namespace artel
