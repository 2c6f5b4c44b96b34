// Draws the charts of a page from the JSON beside it: lines and areas by dygraphs, heat maps and timelines on canvases.
(function () {
  'use strict';
  const page = JSON.parse(document.getElementById('page-data').textContent);
  const root = document.documentElement;
  const drawn = [];  // {redraw(), recolor()}
  const state = {axis: '', smoothing: page.smoothing};

  // ---- colours -----------------------------------------------------------------------------------------------------
  const css = name => getComputedStyle(root).getPropertyValue(name).trim();
  const channels = hex => [1, 3, 5].map(at => parseInt(hex.slice(at, at + 2), 16));
  const mixed = (a, b, share) => channels(a).map((v, i) => Math.round(v * share + channels(b)[i] * (1 - share)));
  function color(index) {  // beyond the palette its lighter half
    const base = css('--c' + index % 8);
    return index < 8 ? base : 'rgb(' + mixed(base, css('--paper'), 0.5).join(',') + ')';
  }
  function faint(index) { return 'rgb(' + mixed(css('--c' + index % 8), css('--panel'), 0.42).join(',') + ')'; }
  const kScale = [[68, 1, 84], [65, 68, 135], [42, 120, 142], [34, 168, 132], [122, 209, 81], [253, 231, 37]];
  function heat(share) {  // dark to light, and evenly so for every kind of sight
    const at = Math.max(0, Math.min(1, share)) * (kScale.length - 1), i = Math.min(kScale.length - 2, Math.floor(at));
    return kScale[i].map((v, c) => Math.round(v + (kScale[i + 1][c] - v) * (at - i)));
  }

  // ---- numbers -----------------------------------------------------------------------------------------------------
  function short(v, digits) {
    if (v === 0) return '0';
    const size = Math.abs(v);
    if (size < 1e-3 || size >= 1e15) return v.toExponential(Math.max(0, digits - 2)).replace(/\.?0+e/, 'e').replace('e+', 'e');
    return String(+v.toPrecision(digits));
  }
  function scaled(v, step, suffixes, digits) {
    let i = 0;
    for (; Math.abs(v) >= step && i + 1 < suffixes.length; ++i) v /= step;
    return short(v, digits) + suffixes[i];
  }
  function text(v, unit, digits) {
    if (v === null || v === undefined || !isFinite(v)) return '–';
    digits = digits || 4;
    if (unit === 'bytes') return scaled(v, 1024, [' B', ' KiB', ' MiB', ' GiB', ' TiB', ' PiB'], digits);
    if (unit === 'count') return scaled(v, 1000, ['', 'k', 'M', 'G', 'T', 'P'], digits);
    if (unit === 'percent') return short(v * 100, digits) + ' %';
    if (unit === 'ms') return Math.abs(v) >= 1e4 ? short(v / 1e3, digits) + ' s' : short(v, digits) + ' ms';
    return Math.abs(v) >= 1e6 ? scaled(v, 1000, ['', 'k', 'M', 'G', 'T', 'P'], digits) : short(v, digits);
  }
  const axisText = (v, name) => (name === 'tokens' ? text(v, 'count') : name === 'step' && v === Math.round(v) ? v.toLocaleString('en') : short(v, 5));

  // ---- elements ----------------------------------------------------------------------------------------------------
  function element(kind, parent, className, content) {
    const e = document.createElement(kind);
    if (className) e.className = className;
    if (content !== undefined) e.textContent = content;
    if (parent) parent.appendChild(e);
    return e;
  }
  function swatch(key, kind, index) {
    const i = element('i', key, kind);
    const paint = () => { i.style.color = i.style.borderColor = color(index); if (kind === 'area') i.style.background = color(index); };
    paint();
    return paint;
  }

  // ---- lines and areas ---------------------------------------------------------------------------------------------
  const axisValues = (axis, name) => (page.axes[axis].find(c => c[0] === name) || page.axes[axis][0])[1];
  function choicesOf(chart) {
    const used = chart.series.map(s => page.axes[s.axis].map(c => c[0]));
    return used[0].filter(name => used.every(names => names.includes(name)));
  }
  // Exponential moving average, without the bias of its beginning; a value that stands for n counts as n of them.
  function smooth(y, count, weight) {
    if (!(weight > 0)) return y;
    let sum = 0, total = 0;
    return y.map((v, i) => {
      if (v === null) return null;
      const keep = Math.pow(weight, count ? count[i] : 1);
      sum = sum * keep + v * (1 - keep);
      total = total * keep + (1 - keep);
      return sum / total;
    });
  }
  function tableOf(chart, columns, axisName) {
    const bands = columns.some(c => c.low);
    const cell = (c, i) => {
      const v = c.y[i] === null ? NaN : c.y[i];
      return !bands ? v : c.low && c.low[i] !== null ? [c.low[i], v, c.high[i]] : [v, v, v];
    };
    const axes = new Set(columns.map(c => c.axis));
    if (axes.size === 1) {
      const x = axisValues(columns[0].axis, axisName);
      return x.map((at, i) => [at].concat(columns.map(c => cell(c, i))));
    }
    const rows = new Map();
    const empty = columns.map(() => null);
    columns.forEach((c, k) => axisValues(c.axis, axisName).forEach((at, i) => {
      let row = rows.get(at);
      if (!row) rows.set(at, row = [at].concat(empty));
      row[k + 1] = cell(c, i);
    }));
    return [...rows.values()].sort((a, b) => a[0] - b[0]);
  }
  // Fingers scroll the page; a tap shows the values there.
  const byMouse = Object.assign({}, Dygraph.defaultInteractionModel);
  delete byMouse.touchstart; delete byMouse.touchmove; delete byMouse.touchend;

  function lines(chart, figure) {
    const plot = figure.querySelector('.plot'), legend = element('div', null, 'legend'), axisName = element('div', null, 'axis-name');
    plot.before(legend);
    plot.after(axisName);
    const choices = choicesOf(chart);
    const chosen = () => (choices.includes(state.axis) ? state.axis : choices[0]);
    let next = 0;
    const shown = chart.series.map(s => Object.assign({}, s, {color: s.color < 0 ? next++ : s.color}));
    const smoothed = !!chart.smoothed;
    // Of a series that can be smoothed the raw one lies below, pale.
    const columns = [];
    shown.forEach((s, i) => { if (smoothed) columns.push(Object.assign({of: i, raw: true}, s)); });
    shown.forEach((s, i) => columns.push(smoothed ? {of: i, axis: s.axis, count: s.count, raw_y: s.y, y: s.y, color: s.color, style: s.style} : Object.assign({of: i}, s)));
    if (chart.stacked) columns.reverse();  // the last lies at the bottom
    const rows = () => {
      columns.forEach(c => { if (c.raw_y) c.y = c.style === 'points' ? c.raw_y : smooth(c.raw_y, c.count, state.smoothing); });
      return tableOf(chart, columns, chosen());
    };
    const colorOf = c => (c.raw || c.style === 'faint' ? faint(c.color) : color(c.color));
    const keys = [], painters = [], readout = element('div', null, 'readout');
    const visible = shown.map(() => true);
    shown.forEach((s, i) => {
      const key = element('button', legend, 'key');
      key.type = 'button';
      key.setAttribute('aria-pressed', 'true');
      painters.push(swatch(key, chart.stacked ? 'area' : s.style, s.color));
      element('span', key, '', s.name);
      keys[i] = element('b', key);
      key.onclick = () => {
        visible[i] = !visible[i];
        key.setAttribute('aria-pressed', String(visible[i]));
        columns.forEach((c, k) => { if (c.of === i) graph.setVisibility(k, visible[i]); });
      };
    });
    (chart.marks || []).forEach(m => {
      const key = element('span', legend, 'key');
      painters.push(swatch(key, 'mark', m.color));
      element('span', key, '', m.name);
    });
    const series = {};
    columns.forEach((c, k) => {
      const points = c.style === 'points';
      const few = axisValues(c.axis, chosen()).length <= 24;
      series['s' + k] = {strokeWidth: points ? 0 : chart.stacked ? 0.6 : c.raw ? 1 : 1.7, drawPoints: points || (few && !c.raw && !chart.stacked), pointSize: points ? 2.6 : 2.2,
        strokePattern: c.style === 'dashed' ? [6, 4] : null, highlightCircleSize: c.raw ? 0 : 3.5};
    });
    const theme = () => ({colors: columns.map(colorOf), gridLineColor: css('--grid'), axisLineColor: css('--rule')});
    const options = Object.assign(theme(), {
      labels: ['x'].concat(columns.map((_, k) => 's' + k)), series, customBars: columns.some(c => c.low), connectSeparatedPoints: true,
      stackedGraph: !!chart.stacked, fillAlpha: chart.stacked ? 0.75 : 0.22, logscale: !!chart.log_y, includeZero: !!chart.from_zero, legend: 'never',
      axisLabelFontSize: 12, gridLineWidth: 1, xRangePad: 2, yRangePad: 6, interactionModel: byMouse, animatedZooms: false, highlightCircleSize: 3,
      axes: {x: {axisLabelFormatter: v => axisText(v, chosen()), logscale: !!chart.log_x, pixelsPerLabel: 64, axisLabelWidth: 70},
        y: {labelsKMG2: chart.unit === 'bytes', axisLabelFormatter: v => text(v, chart.unit), axisLabelWidth: 58, pixelsPerLabel: 34}},
      underlayCallback: (context, area, g) => {
        (chart.marks || []).forEach(m => {
          context.save();
          context.strokeStyle = color(m.color);
          context.globalAlpha = 0.75;
          context.setLineDash([2, 3]);
          axisValues(m.axis, chosen()).forEach(at => {
            const x = Math.round(g.toDomXCoord(at)) + 0.5;
            if (x < area.x || x > area.x + area.w) return;
            context.beginPath(); context.moveTo(x, area.y); context.lineTo(x, area.y + area.h); context.stroke();
          });
          context.restore();
        });
      },
      highlightCallback: (event, at, points) => {
        keys.forEach(k => { k.textContent = ''; });
        points.forEach(p => {
          const k = +p.name.slice(1), c = columns[k];
          if (c && !c.raw && isFinite(p.yval)) keys[c.of].textContent = text(p.yval, chart.unit, 5);
        });
        const near = [];
        (chart.marks || []).forEach(m => axisValues(m.axis, chosen()).forEach((x, i) => {
          if (near.length < 4 && Math.abs(graph.toDomXCoord(x) - graph.toDomXCoord(at)) < 6) near.push(m.texts[i]);
        }));
        readout.textContent = [axisText(at, chosen()) + (chosen() === 'step' ? '' : ' ' + chosen())].concat(near).join('\n');
        if (chosen() === 'step') readout.textContent = 'step ' + readout.textContent;
      },
      unhighlightCallback: () => { keys.forEach(k => { k.textContent = ''; }); readout.textContent = ''; },
    });
    const graph = new Dygraph(plot, rows(), options);
    plot.appendChild(readout);
    axisName.textContent = chosen();
    const log = figure.querySelector('.switch');
    if (log) {
      log.onclick = () => {
        const on = log.getAttribute('aria-pressed') !== 'true';
        log.setAttribute('aria-pressed', String(on));
        graph.updateOptions({logscale: on});
      };
    }
    drawn.push({
      recolor: () => { painters.forEach(paint => paint()); graph.updateOptions(theme()); },
      redraw: () => { axisName.textContent = chosen(); graph.updateOptions({file: rows(), dateWindow: null, valueRange: null}); },
      resmooth: smoothed ? () => graph.updateOptions({file: rows()}) : null,
    });
    return choices;
  }

  // ---- canvases ----------------------------------------------------------------------------------------------------
  function canvasOf(plot, draw) {
    const canvas = element('canvas', plot), context = canvas.getContext('2d');
    const paint = () => {
      const w = plot.clientWidth, h = plot.clientHeight, ratio = window.devicePixelRatio || 1;
      canvas.width = w * ratio; canvas.height = h * ratio;
      canvas.style.width = w + 'px'; canvas.style.height = h + 'px';
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      context.clearRect(0, 0, w, h);
      context.font = '11.5px system-ui, sans-serif';
      draw(context, w, h);
    };
    let width = 0;
    new ResizeObserver(() => { if (plot.clientWidth !== width) { width = plot.clientWidth; paint(); } }).observe(plot);
    return {canvas, paint};
  }
  function rowLabels(context, names, left, top, h) {
    context.fillStyle = css('--quiet');
    context.textAlign = 'right';
    context.textBaseline = 'middle';
    const every = Math.max(1, Math.ceil(names.length * 14 / h));
    names.forEach((name, i) => {
      if (i % every) return;
      let label = name;
      while (label.length > 1 && context.measureText(label).width > left - 8) label = label.slice(0, -2) + '…';
      context.fillText(label, left - 6, top + (i + 0.5) * h / names.length);
    });
  }
  const widest = (context, names, most) => Math.min(most, 12 + Math.max(...names.map(n => context.measureText(n).width)));

  function heatMap(chart, figure) {
    const plot = figure.querySelector('.plot'), num = chart.rows.length;
    plot.style.height = Math.max(110, Math.min(420, num * Math.max(6, Math.min(20, 360 / num)) + 26)) + 'px';
    const finite = chart.values.filter(v => v !== null);
    const low = finite.reduce((a, b) => Math.min(a, b), Infinity), high = finite.reduce((a, b) => Math.max(a, b), -Infinity);
    const scale = element('div', null, 'scale');
    plot.before(scale);
    element('span', scale, '', finite.length ? text(low, chart.unit) : '');
    const ramp = element('canvas', scale);
    ramp.width = 120; ramp.height = 1;
    for (let x = 0; x < 120; ++x) {
      ramp.getContext('2d').fillStyle = 'rgb(' + heat(x / 119).join(',') + ')';
      ramp.getContext('2d').fillRect(x, 0, 1, 1);
    }
    element('span', scale, '', finite.length ? text(high, chart.unit) : '');
    const readout = element('div', plot, 'readout'), axisName = element('div', null, 'axis-name');
    plot.after(axisName);
    const choices = page.axes[chart.axis].map(c => c[0]);
    const chosen = () => (choices.includes(state.axis) ? state.axis : choices[0]);
    const columns = page.axes[chart.axis][0][1].length;
    const picture = document.createElement('canvas');
    picture.width = columns; picture.height = num;
    const image = picture.getContext('2d').createImageData(columns, num);
    chart.values.forEach((v, i) => {
      if (v !== null) image.data.set(heat(high > low ? (v - low) / (high - low) : 0.5).concat(255), 4 * i);
    });
    picture.getContext('2d').putImageData(image, 0, 0);
    let box = null;
    const {canvas, paint} = canvasOf(plot, (context, w, h) => {
      const left = widest(context, chart.rows, w / 3), bottom = 22;
      box = {x: left, y: 6, w: w - left - 4, h: h - bottom - 6};
      context.imageSmoothingEnabled = false;
      context.drawImage(picture, box.x, box.y, box.w, box.h);
      rowLabels(context, chart.rows, left, box.y, box.h);
      const x = axisValues(chart.axis, chosen()), ticks = Math.max(2, Math.floor(box.w / 110));
      context.textBaseline = 'top';
      for (let t = 0; t <= ticks; ++t) {
        context.textAlign = t === 0 ? 'left' : t === ticks ? 'right' : 'center';
        context.fillText(axisText(x[Math.round(t / ticks * (columns - 1))], chosen()), box.x + t / ticks * box.w, box.y + box.h + 6);
      }
      axisName.textContent = chosen();
    });
    canvas.onmousemove = event => {
      const c = Math.floor((event.offsetX - box.x) / box.w * columns), r = Math.floor((event.offsetY - box.y) / box.h * num);
      const inside = c >= 0 && c < columns && r >= 0 && r < num;
      readout.textContent = inside ? chart.rows[r] + ', ' + chosen() + ' ' + axisText(axisValues(chart.axis, chosen())[c], chosen()) + ': ' + text(chart.values[r * columns + c], chart.unit) : '';
    };
    canvas.onmouseleave = () => { readout.textContent = ''; };
    drawn.push({recolor: prints => prints || paint(), redraw: paint});
    return choices;
  }

  function timeline(chart, figure) {
    const plot = figure.querySelector('.plot'), legend = element('div', null, 'legend'), readout = element('div', plot, 'readout');
    plot.before(legend);
    const painters = [];
    chart.kinds.forEach((name, i) => {
      const key = element('span', legend, 'key');
      painters.push(swatch(key, 'area', i));
      element('span', key, '', name);
    });
    plot.style.height = Math.max(90, Math.min(640, chart.rows.length * 26 + 28)) + 'px';
    const [row, kind, begin, length] = chart.spans;
    const whole = [begin.reduce((a, b) => Math.min(a, b), Infinity), begin.reduce((a, b, i) => Math.max(a, b + length[i]), -Infinity)];
    let window_ = whole.slice(), box = null, from = null;
    const at = x => window_[0] + (x - box.x) / box.w * (window_[1] - window_[0]);
    const {canvas, paint} = canvasOf(plot, (context, w, h) => {
      const left = widest(context, chart.rows, w / 3);
      box = {x: left, y: 2, w: w - left - 6, h: h - 26};
      const each = box.h / chart.rows.length, perMs = box.w / (window_[1] - window_[0]);
      const colors = chart.kinds.map((_, i) => color(i));
      context.fillStyle = css('--grid');
      chart.rows.forEach((_, i) => context.fillRect(box.x, box.y + i * each + 1, box.w, each - 2));
      context.save();
      context.beginPath(); context.rect(box.x, box.y, box.w, box.h); context.clip();
      for (let i = 0; i < row.length; ++i) {
        context.fillStyle = colors[kind[i]];
        context.fillRect(box.x + (begin[i] - window_[0]) * perMs, box.y + row[i] * each + 1, Math.max(0.35, length[i] * perMs), each - 2);
      }
      context.restore();
      rowLabels(context, chart.rows, left, box.y, box.h);
      context.textBaseline = 'top';
      const ticks = Math.max(2, Math.floor(box.w / 90));
      for (let t = 0; t <= ticks; ++t) {
        context.textAlign = t === 0 ? 'left' : t === ticks ? 'right' : 'center';
        context.fillText(text(window_[0] + t / ticks * (window_[1] - window_[0]), 'ms', 4), box.x + t / ticks * box.w, box.y + box.h + 6);
      }
    });
    canvas.onmousedown = event => { from = event.offsetX; };
    canvas.onmouseup = event => {
      if (from !== null && Math.abs(event.offsetX - from) > 4) { window_ = [at(Math.min(from, event.offsetX)), at(Math.max(from, event.offsetX))]; paint(); }
      from = null;
    };
    canvas.ondblclick = () => { window_ = whole.slice(); paint(); };
    canvas.onmousemove = event => {
      const t = at(event.offsetX), r = Math.floor((event.offsetY - box.y) / box.h * chart.rows.length), slack = 2 * (window_[1] - window_[0]) / box.w;
      let best = -1;
      for (let i = 0; i < row.length; ++i) if (row[i] === r && t >= begin[i] - slack && t <= begin[i] + length[i] + slack && (best < 0 || length[i] < length[best])) best = i;
      readout.textContent = best < 0 ? '' : chart.texts[best] + ' ' + text(length[best], 'ms') + ' at ' + text(begin[best], 'ms');
    };
    canvas.onmouseleave = () => { readout.textContent = ''; from = null; };
    drawn.push({recolor: prints => { painters.forEach(p => p()); prints || paint(); }, redraw: () => {}});
    return [];
  }

  // ---- the page ----------------------------------------------------------------------------------------------------
  const names = [];
  let can_smooth = false;
  page.charts.forEach(chart => {
    const figure = document.getElementById(chart.id);
    const choices = {lines, heat_map: heatMap, timeline}[chart.kind](chart, figure);
    if (choices.length > 1) choices.forEach(name => { if (!names.includes(name)) names.push(name); });
    can_smooth = can_smooth || !!chart.smoothed;
    figure.dataset.drawn = 'yes';
  });
  const controls = document.querySelector('.controls');
  if (names.length > 1) {
    controls.hidden = false;
    const label = element('label', controls, '', 'x axis'), select = element('select', label);
    names.forEach(name => element('option', select, '', name));
    select.onchange = () => { state.axis = select.value; drawn.forEach(d => d.redraw()); };
  }
  if (can_smooth) {
    controls.hidden = false;
    const label = element('label', controls, '', 'smoothing'), slider = element('input', label), shown = element('output', label);
    Object.assign(slider, {type: 'range', min: 0, max: 1, step: 0.005});
    const weightOf = share => (share <= 0 ? 0 : 1 - Math.pow(10, -3 * share));  // fine where it matters: 0.9, 0.99, 0.999
    slider.value = state.smoothing > 0 ? -Math.log10(1 - state.smoothing) / 3 : 0;
    shown.textContent = state.smoothing.toFixed(3);
    slider.oninput = () => {
      state.smoothing = weightOf(+slider.value);
      shown.textContent = state.smoothing.toFixed(3);
      drawn.forEach(d => d.resmooth && d.resmooth());
    };
  }
  const recolor = prints => drawn.forEach(d => d.recolor(prints));
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => recolor(false));
  // A canvas whose size changes now would be printed blank: plots are scaled as they are.
  const plots = [...document.querySelectorAll('.plot')];
  addEventListener('beforeprint', () => {
    const widths = plots.map(p => p.clientWidth);
    root.classList.add('print');
    plots.forEach((p, i) => {
      const room = p.parentElement.clientWidth - 2 * parseFloat(getComputedStyle(p.parentElement).paddingLeft);
      p.style.width = widths[i] + 'px';
      p.style.zoom = Math.min(1, room / widths[i]);
    });
    document.querySelectorAll('details').forEach(d => { d.dataset.was = d.open ? 'open' : ''; d.open = true; });
    recolor(true);
  });
  addEventListener('afterprint', () => {
    root.classList.remove('print');
    plots.forEach(p => { p.style.width = p.style.zoom = ''; });
    document.querySelectorAll('details').forEach(d => { d.open = d.dataset.was === 'open'; });
    recolor(false);
  });
  root.dataset.ready = String(Math.round(performance.now()));
})();
