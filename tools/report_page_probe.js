// Runs inside the page under test (tools/check_report_page.py) and leaves what it found in an element of its own.
(() => {
  'use strict';
  const problems = [];
  const note = text => { if (problems.length < 40) problems.push(text); };
  addEventListener('error', event => note('script error: ' + event.message));
  const shown = element => element.getClientRects().length > 0;
  const figures = [...document.querySelectorAll('figure')];

  const overflow = document.documentElement.scrollWidth - innerWidth;
  if (overflow > 0) note(`the page is ${overflow} px wider than the window`);

  // Texts of a drawing: inside it, and no two over one another.
  const checkTexts = (name, svg) => {
    const frame = svg.getBoundingClientRect();
    const boxes = [...svg.querySelectorAll('text')].filter(text => text.textContent.trim())
      .map(text => ({text: text.textContent, box: text.getBoundingClientRect()}));
    boxes.forEach(({text, box}, i) => {
      if (/NaN|undefined|Infinity|\binf\b/.test(text)) note(`${name}: the text "${text}"`);
      const out = Math.max(frame.left - box.left, box.right - frame.right, frame.top - box.top,
        box.bottom - frame.bottom);
      if (out > 1.5) note(`${name}: "${text}" leaves the drawing by ${out.toFixed(1)} px`);
      for (const other of boxes.slice(i + 1)) {
        const wide = Math.min(box.right, other.box.right) - Math.max(box.left, other.box.left);
        const high = Math.min(box.bottom, other.box.bottom) - Math.max(box.top, other.box.top);
        if (wide > 1 && high > 0.35 * Math.min(box.height, other.box.height)) {
          note(`${name}: "${text}" and "${other.text}" lie over one another`);
        }
      }
    });
  };

  const point = (name, figure, svg) => {
    const box = svg.getBoundingClientRect();
    const [left, , width] = svg.dataset.plot.split(' ').map(Number);
    const scale = box.width / svg.viewBox.baseVal.width;
    svg.dispatchEvent(new PointerEvent('pointermove',
      {bubbles: true, clientX: box.left + (left + 0.6 * width) * scale, clientY: box.top + box.height / 2}));
    const tip = figure.querySelector('.tip');
    if (!tip) return note(`${name}: pointing at it shows nothing`);
    if (!/\d/.test(tip.textContent) || /NaN|undefined/.test(tip.textContent)) {
      note(`${name}: the tip says "${tip.textContent}"`);
    }
    svg.dispatchEvent(new PointerEvent('pointerleave'));
    if (figure.querySelector('.tip')) note(`${name}: the tip stays`);
  };

  // What would be saved is looked at instead.
  const saved = [];
  const RealBlob = Blob;
  window.Blob = function (parts, options) { saved.push(parts.join('')); return new RealBlob(parts, options); };
  const names = [];
  HTMLAnchorElement.prototype.click = function () { names.push(this.download); };
  const save = (name, figure) => {
    for (const button of figure.querySelectorAll('.save-svg, .save-csv')) {
      saved.length = 0;
      button.click();
      if (saved.length !== 1) { note(`${name}: "${button.textContent}" saves nothing`); continue; }
      const text = saved[0];
      if (button.className === 'save-svg') {
        const parsed = new DOMParser().parseFromString(text, 'image/svg+xml');
        if (parsed.querySelector('parsererror')) note(`${name}: the saved SVG does not parse`);
        if (/var\(--|NaN/.test(text)) note(`${name}: the saved SVG holds a variable or NaN`);
      } else if (text.trim().split('\n').length < 2 || /NaN|undefined/.test(text)) {
        note(`${name}: the saved CSV holds no rows, or NaN`);
      }
    }
  };

  const look = () => {
    for (const axis of document.querySelectorAll('.choice')) {
      axis.click();
      for (const figure of figures) {
        const name = `${figure.id} against ${axis.value}`;
        const drawings = [...figure.querySelectorAll('svg')]
          .filter(svg => shown(svg) && !svg.parentElement.closest('svg'));
        if (drawings.length !== 1) { note(`${name}: ${drawings.length} drawings are shown`); continue; }
        checkTexts(name, drawings[0]);
        if (drawings[0].dataset.plot) point(name, figure, drawings[0]);
        save(name, figure);
      }
    }
    if (new Set(names).size < figures.length) note('figures are saved under one name');
  };

  const report = () => {
    const result = document.createElement('pre');
    result.id = 'probe';
    result.textContent = JSON.stringify({
      problems, width: innerWidth, dark: matchMedia('(prefers-color-scheme: dark)').matches,
    });
    document.body.append(result);
  };
  try {
    look();
  } catch (error) {
    note('the probe failed: ' + error);
  }
  report();
})();
