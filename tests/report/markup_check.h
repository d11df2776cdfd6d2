#pragma once
// A strict look at HTML and SVG: tags nest, attributes are quoted, no stray angle brackets in text.

#include <algorithm>
#include <string>
#include <vector>

namespace artel {

/// "" when every element of `markup` is closed in order, otherwise what is wrong and where. The contents of style and
/// script elements are skipped.
inline std::string markup_error(const std::string& markup) {
  const std::vector<std::string> never_closed = {"meta", "input", "br", "!DOCTYPE"};
  std::vector<std::string> open;
  size_t at = 0;
  const auto near = [&](const std::string& what) { return what + " near: " + markup.substr(at, 80); };
  while (at < markup.size()) {
    if (markup[at] == '>') return near("stray >");
    if (markup[at] != '<') {
      ++at;
      continue;
    }
    const bool closing = markup[at + 1] == '/';
    const size_t name_begin = at + (closing ? 2 : 1);
    const size_t name_end = markup.find_first_of(" \n/>", name_begin);
    const std::string name = markup.substr(name_begin, name_end - name_begin);
    if (name.empty()) return near("stray <");
    size_t end = name_end;
    bool quoted = false;
    while (end < markup.size() && (quoted || markup[end] != '>')) {
      if (markup[end] == '"') quoted = !quoted;
      if (markup[end] == '<') return near("< inside a tag");
      ++end;
    }
    if (end == markup.size()) return near("tag without end");
    if (closing) {
      if (open.empty() || open.back() != name) return near("unexpected closing tag");
      open.pop_back();
    } else if (markup[end - 1] != '/' && std::count(never_closed.begin(), never_closed.end(), name) == 0) {
      open.push_back(name);
      if (name == "style" || name == "script") {
        end = markup.find("</" + name + ">", end) - 1;
      }
    }
    at = end + 1;
  }
  return open.empty() ? "" : "unclosed " + open.back();
}

/// The text of `markup` with tags removed and entities resolved; style is left out, script too.
inline std::string text_of(const std::string& markup) {
  std::string out;
  for (size_t at = 0; at < markup.size(); ++at) {
    if (markup[at] != '<') {
      out += markup[at];
      continue;
    }
    for (const std::string name : {"style", "script"}) {
      if (markup.compare(at + 1, name.size(), name) == 0) at = markup.find("</" + name + ">", at);
    }
    at = markup.find('>', at);
    out += ' ';
  }
  const std::vector<std::pair<std::string, std::string>> entities = {
      {"&lt;", "<"}, {"&gt;", ">"}, {"&quot;", "\""}, {"&#39;", "'"}, {"&amp;", "&"}};
  for (const auto& entity : entities) {
    for (size_t at = out.find(entity.first); at != std::string::npos; at = out.find(entity.first, at + 1)) {
      out.replace(at, entity.first.size(), entity.second);
    }
  }
  return out;
}

}  // namespace artel
