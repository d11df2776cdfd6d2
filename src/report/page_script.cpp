#include "report/page.h"

namespace artel {

std::string_view page_script() {
  return R"js(
(() => {
  'use strict';
  const root = document.documentElement;
  root.classList.add('script');
  const svgNamespace = 'http://www.w3.org/2000/svg';

  const shown = (figure, selector) =>
    [...figure.querySelectorAll(selector)].find(element => element.getClientRects().length > 0);
  const axis = () => document.querySelector('.choice:checked').value;
  const dataOf = figure => {
    const holder = shown(figure, '.variant') || figure;
    const script = holder.querySelector('script[type="application/json"]');
    return script ? JSON.parse(script.textContent) : null;
  };
  const fileName = (figure, suffix) =>
    figure.id + (figure.querySelector('.variant') ? '-' + axis() : '') + suffix;
  const save = (name, type, text) => {
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob([text], {type}));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };

  // A saved figure is for paper: light colours, with the style inside and no variables left.
  const lightStyle = () => {
    const before = root.dataset.theme;
    root.dataset.theme = 'light';
    const computed = getComputedStyle(root);
    const style = document.getElementById('figure-style').textContent
      .replace(/var\((--[a-z0-9]+)\)/g, (_, name) => computed.getPropertyValue(name).trim());
    if (before === undefined) delete root.dataset.theme; else root.dataset.theme = before;
    return style;
  };
  const saveFigure = figure => {
    const copy = shown(figure, 'svg').cloneNode(true);
    copy.querySelectorAll('.guide').forEach(guide => guide.remove());
    const style = document.createElementNS(svgNamespace, 'style');
    style.textContent = lightStyle();
    copy.insertBefore(style, copy.firstChild);
    save(fileName(figure, '.svg'), 'image/svg+xml', new XMLSerializer().serializeToString(copy));
  };

  const cell = text => /[",\n]/.test(text) ? '"' + text.replace(/"/g, '""') + '"' : text;
  const saveNumbers = figure => {
    const data = dataOf(figure);
    const rows = [['series', data.x, data.y, 'low', 'high'].map(cell).join(',')];
    for (const series of data.series) {
      series.x.forEach((x, i) => rows.push([cell(series.name), x, series.y[i],
        series.low && series.low[i] !== undefined ? series.low[i] : '',
        series.high && series.high[i] !== undefined ? series.high[i] : ''].join(',')));
    }
    save(fileName(figure, '.csv'), 'text/csv', rows.join('\n') + '\n');
  };

  const digits = value => value === null ? '-' :
    Math.abs(value) < 100 ? value.toFixed(4) : Number(value.toPrecision(6)).toString();
  const nearest = (values, x) => {
    let best = 0;
    values.forEach((value, i) => { if (Math.abs(value - x) < Math.abs(values[best] - x)) best = i; });
    return best;
  };

  const tip = document.createElement('div');
  tip.className = 'tip';
  const guide = document.createElementNS(svgNamespace, 'line');
  guide.setAttribute('class', 'guide');
  const hide = () => { tip.remove(); guide.remove(); };

  const fillTip = (data, x) => {
    tip.textContent = '';
    const head = document.createElement('div');
    head.textContent = data.x + ': ' + digits(x);
    tip.append(head);
    for (const series of data.series) {
      const i = nearest(series.x, x);
      const line = document.createElement('div');
      const dot = document.createElement('span');
      dot.className = series.style;
      dot.textContent = '\u25cf ';
      const range = series.low && series.low.length
        ? ' [' + digits(series.low[i]) + ', ' + digits(series.high[i]) + ']' : '';
      line.append(dot, series.name + ' ' + digits(series.y[i]) + range);
      tip.append(line);
    }
  };

  const follow = (figure, svg, event) => {
    const [left, top, width, height] = svg.dataset.plot.split(' ').map(Number);
    const [low, high] = svg.dataset.domain.split(' ').map(Number);
    const box = svg.getBoundingClientRect();
    const scale = svg.viewBox.baseVal.width / box.width;
    const share = ((event.clientX - box.left) * scale - left) / width;
    if (share < 0 || share > 1) return hide();
    const data = dataOf(figure);
    const candidates = data.series.flatMap(series => series.x).filter(value => value !== null);
    if (!candidates.length) return hide();
    const x = candidates[nearest(candidates, low + share * (high - low))];
    fillTip(data, x);
    const at = left + (x - low) / (high - low) * width;
    for (const [name, value] of [['x1', at], ['x2', at], ['y1', top], ['y2', top + height]]) {
      guide.setAttribute(name, value);
    }
    svg.append(guide);
    figure.append(tip);
    const outer = figure.getBoundingClientRect();
    const pixel = box.left - outer.left + at / scale;
    const flip = pixel + tip.offsetWidth + 14 > outer.width;
    tip.style.left = Math.max(0, flip ? pixel - tip.offsetWidth - 10 : pixel + 10) + 'px';
    tip.style.top = (box.top - outer.top + (top + 8) / scale) + 'px';
  };

  for (const figure of document.querySelectorAll('figure')) {
    figure.querySelector('.save-svg').addEventListener('click', () => saveFigure(figure));
    const numbers = figure.querySelector('.save-csv');
    if (numbers) numbers.addEventListener('click', () => saveNumbers(figure));
    for (const svg of figure.querySelectorAll('svg[data-plot]')) {
      svg.addEventListener('pointermove', event => follow(figure, svg, event));
      svg.addEventListener('pointerdown', event => follow(figure, svg, event));
      svg.addEventListener('pointerleave', hide);
    }
  }
})();
)js";
}

}  // namespace artel
