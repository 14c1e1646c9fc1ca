// A head, or a difference of two, on one canvas. Two pictures side by side share view and cursor.

const pictures = [];

class Picture {
  constructor(id, words) {
    this.canvas = el("canvas", { class: "picture", id, "data-picture": "", tabindex: 0, role: "application", "aria-roledescription": "picture of weights", "aria-label": words });
    this.context = this.canvas.getContext("2d");
    this.source = null;
    this.redraw = oncePerFrame(() => this.draw());
    new ResizeObserver(() => this.resize()).observe(this.canvas);
    followPointer(this);
  }

  show(source) {
    this.source = source;
    this.width = 0;
    this.resize();
  }

  resize() {
    const width = this.canvas.clientWidth;
    const ratio = window.devicePixelRatio || 1;
    if (!this.source || !width || (width === this.width && ratio === this.ratio && window.innerHeight === this.screen)) return;
    Object.assign(this, { width, ratio, screen: window.innerHeight });
    this.box = plotBox(this.source.call, width, axisMargins(this.context, this.source.call, this.source.place.batch, width));
    const height = Math.ceil(this.box.y + this.box.h + BOTTOM);
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.canvas.style.height = `${height}px`;
    Object.assign(this.canvas.dataset, this.box); // where the cells are, for whoever asks from outside
    this.draw();
    if (this === first) refreshChart(); // its keys stand below the picture's
  }

  draw() {
    const { context, box, source, ratio } = this;
    if (!source || !this.width) return;
    const view = windowOf(source.call);
    const colours = pictureColours();
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, this.width, this.canvas.height);
    context.imageSmoothingEnabled = false;
    drawAxes(context, source, box, view, colours);
    this.clipped(box.x, box.w, () => this.drawPlot(view, colours));
    if (box.sink) this.clipped(box.sinkX, box.sink, () => this.drawSink(view, colours));
    drawFrame(context, box, colours);
    drawCursor(this, view, colours);
    this.tellPlace(view);
  }

  // Where on the canvas which weights are, for programs that read the page.
  tellPlace(view) {
    const { x, y, w, h } = this.box;
    Object.assign(this.canvas.dataset, { drawn: true, firstRow: view.q0, firstKey: view.k0, shownRows: view.rows, shownKeys: view.keys, left: x, top: y, width: w, height: h });
  }

  clipped(x, w, work) {
    const { context, box } = this;
    context.save();
    context.beginPath();
    context.rect(x, box.y, w, box.h);
    context.clip();
    work();
    context.restore();
  }

  drawPlot(view, colours) {
    const { context, box, source } = this;
    context.fillStyle = hatch(context, colours, this.ratio);
    context.fillRect(box.x, box.y, box.w, box.h);
    drawPart(context, source, box, view, this.ratio);
    drawGrid(context, box, view, colours, [source.queryPool, source.keyPool], { query: 0, key: 0, rows: source.call.queries, columns: source.call.keys });
    drawPatches(context, source, box, view, colours);
    const [high, wide] = [box.h / view.rows, box.w / view.keys];
    if (source.hasNan) drawNanMarks(context, source, box, view);
    if (Math.min(high, wide / 1.4) >= 22) drawNumbers(context, source, box, view);
  }

  drawSink(view, colours) {
    const { context, box, source } = this;
    context.fillStyle = hatch(context, colours, this.ratio);
    context.fillRect(box.sinkX, box.y, box.sink, box.h);
    if (!source.sinkLevels) return;
    const down = poolingFor((box.h / view.rows) * source.sinkPool * this.ratio);
    const level = source.sinkLevels.canvas(down, 1);
    const step = source.sinkPool * down;
    context.drawImage(level, 0, view.q0 / step, 1, view.rows / step, box.sinkX, box.y, box.sink, box.h);
    if (down === 1) drawNanInSink(context, source, box, view);
  }

  // The weight under a point of the canvas, or null beside the plot.
  cellAt(x, y) {
    const { box, source } = this;
    if (!source || y < box.y || y >= box.y + box.h) return null;
    const view = windowOf(source.call);
    const row = clamp(Math.floor(view.q0 + ((y - box.y) / box.h) * view.rows), 0, source.call.queries - 1);
    if (box.sink && x >= box.sinkX && x < box.sinkX + box.sink) return { row, key: -1 };
    if (x < box.x || x >= box.x + box.w) return null;
    return { row, key: clamp(Math.floor(view.k0 + ((x - box.x) / box.w) * view.keys), 0, source.call.keys - 1) };
  }

  pointAt(x, y) {
    const view = windowOf(this.source.call);
    const share = (value, from, size) => clamp((value - from) / size, 0, 1);
    return { row: view.q0 + share(y, this.box.y, this.box.h) * view.rows, key: view.k0 + share(x, this.box.x, this.box.w) * view.keys };
  }
}

function redrawPictures() {
  for (const picture of pictures) picture.redraw();
}
